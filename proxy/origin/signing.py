"""AWS Signature Version 4 for requests that go out without boto3."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from proxy.origin.blocking import in_thread
from proxy.origin.errors import Failure, OriginError

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials


# Keys close to their expiry are looked up again no more often than this: where new ones are not
# to be had yet, each request would otherwise wait for the look-up.
_RENEWAL_SECONDS = 10.0


class CredentialSource(Protocol):
    """Gives the keys for one request, None for an unsigned one."""

    async def current(self) -> ReadOnlyCredentials | None:
        """Raises OriginError where there should be keys and are none."""


class FixedCredentials:
    """The same keys for ever; None signs nothing."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = None if credentials is None else credentials.get_frozen_credentials()

    async def current(self) -> ReadOnlyCredentials | None:
        return self._credentials


class ChainCredentials:
    """boto3's default chain: profile, web identity, container, instance metadata.

    Looking them up and renewing them talks to files and networks, so it happens in a thread;
    in between a request costs no more than a comparison of dates.
    """

    def __init__(self) -> None:
        self._credentials: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._renewed_at = -math.inf
        self._lock = asyncio.Lock()

    async def current(self) -> ReadOnlyCredentials | None:
        if self._renewal_due():
            async with self._lock:
                if self._renewal_due():
                    await in_thread(self._renew)
        return self._frozen

    def _renewal_due(self) -> bool:
        credentials = self._credentials
        if credentials is None:
            return True
        # Only keys that expire know the question.
        needed = getattr(credentials, "refresh_needed", None)
        if needed is None or not needed():
            return False
        expired = needed(0)
        return expired or time.monotonic() - self._renewed_at >= _RENEWAL_SECONDS

    def _renew(self) -> None:
        try:
            found = self._credentials or boto3.Session().get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
        except (BotoCoreError, RuntimeError) as exc:
            # RuntimeError is botocore's for keys that are expired still after a renewal.
            raise OriginError(
                Failure.MISCONFIGURED,
                f"credentials could not be renewed ({type(exc).__name__}); look at S3_CREDENTIALS",
                variable="S3_CREDENTIALS",
            ) from exc
        if found is None:
            raise OriginError(
                Failure.MISCONFIGURED,
                "boto3's credential chain found no keys; look at S3_CREDENTIALS",
                variable="S3_CREDENTIALS",
            )
        self._credentials, self._frozen = found, frozen
        self._renewed_at = time.monotonic()


def signature(url: str, credentials: ReadOnlyCredentials | None, region: str) -> dict[str, str]:
    """The header fields that authorize a GET of ``url``; none for an unsigned request.

    Only Host and S3's own fields are signed: what a forward proxy on the way may change
    (Via, Accept-Encoding) must not make the signature wrong. ``url`` is signed as it is: its
    path must already be percent-encoded as S3 wants it.
    """
    if credentials is None:
        return {}
    request = AWSRequest(method="GET", url=url)
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())
