"""The keys that requests to the origin are signed with, and where they come from."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from proxy.origin.blocking import Shared
from proxy.origin.errors import Failure, OriginError

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials


logger = logging.getLogger("s3proxy.origin")

# Keys close to their expiry, or that S3 refused, are looked up again no more often than this:
# where new ones are not to be had yet, each request would otherwise wait for the look-up.
_RENEWAL_SECONDS = 10.0
# For how long a look-up that failed speaks for the next.
_FAILURE_SECONDS = 1.0


class CredentialSource(Protocol):
    """Gives the keys for one request, None for an unsigned one.

    ``variable`` is the one to look at where keys are refused; None: S3_ACCESS_KEY and its like.
    """

    variable: str | None

    async def current(self) -> ReadOnlyCredentials | None:
        """Raises OriginError where there should be keys and are none."""

    def rejected(self, keys: ReadOnlyCredentials | None) -> bool:
        """S3 takes these keys for outdated; may current() have others by now?"""

    def close(self) -> None:
        """Wait for nothing any more."""


class FixedCredentials:
    """The same keys for ever; None signs nothing."""

    variable: str | None = None

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = None if credentials is None else credentials.get_frozen_credentials()

    async def current(self) -> ReadOnlyCredentials | None:
        return self._credentials

    def rejected(self, keys: ReadOnlyCredentials | None) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def close(self) -> None:
        pass


class ChainCredentials:
    """boto3's default chain: profile, web identity, container, instance metadata.

    Looking them up and renewing them talks to files and networks, so it happens in a thread, once
    for all requests that wait; in between a request costs no more than a comparison of dates.
    """

    variable: str | None = "S3_CREDENTIALS"

    def __init__(self) -> None:
        self._credentials: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._renewed_at = -math.inf
        self._failed_at = -math.inf
        self._failure = ""
        self._renewal = Shared(self._renew)

    async def current(self) -> ReadOnlyCredentials | None:
        if self._renewal_due():
            if time.monotonic() - self._failed_at < _FAILURE_SECONDS:
                raise _without_keys(self._failure)
            await self._renewal.result()
        return self._frozen

    def rejected(self, keys: ReadOnlyCredentials | None) -> bool:
        if keys is not self._frozen:
            return True
        if time.monotonic() - self._renewed_at < _RENEWAL_SECONDS:
            return False
        # Not those that botocore holds to be good: the chain is asked from its beginning.
        self._credentials = None
        return True

    def close(self) -> None:
        self._renewal.close()

    def _renewal_due(self) -> bool:
        if self._credentials is None or self._expire_within(0):
            return True
        soon = self._expire_within(None)
        return soon and time.monotonic() - self._renewed_at >= _RENEWAL_SECONDS

    def _expire_within(self, seconds: int | None) -> bool:
        """None: as many as botocore takes for a renewal in time."""
        # Only keys that expire know the question.
        needed = getattr(self._credentials, "refresh_needed", None)
        return needed is not None and bool(needed(seconds))

    def _renew(self) -> None:
        self._renewed_at = time.monotonic()
        try:
            found = self._credentials or boto3.Session().get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError, OSError, ValueError, KeyError) as exc:
            # RuntimeError is botocore's for keys that are expired still after a renewal; the last
            # three come from sources that answer nonsense, or not at all.
            self._failure = f"credentials could not be renewed ({type(exc).__name__})"
            if self._credentials is not None and not self._expire_within(0):
                logger.warning("%s; those in use expire soon", self._failure)
                return
            self._failed_at = time.monotonic()
            raise _without_keys(self._failure) from exc
        if found is None:
            self._failure = "boto3's credential chain found no keys"
            self._failed_at = time.monotonic()
            raise _without_keys(self._failure)
        self._credentials, self._frozen = found, frozen


def _without_keys(reason: str) -> OriginError:
    return OriginError(
        Failure.MISCONFIGURED, f"{reason}; look at S3_CREDENTIALS", variable="S3_CREDENTIALS"
    )
