"""AWS Signature Version 4 of the one shape of request that goes to S3: a GET without a body."""

from __future__ import annotations

import hmac
import time
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.credentials import ReadOnlyCredentials

_NO_BODY = sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"
_SIGNED_WITH_TOKEN = f"{_SIGNED};x-amz-security-token"
# Days, regions and keys that are of use at one time: there is one, and two around midnight.
_REMEMBERED = 16


def signature(
    host: str,
    target: str,
    credentials: ReadOnlyCredentials | None,
    region: str,
    clock: Callable[[], float] = time.time,
) -> str:
    """The field lines that authorize a GET of ``target`` at ``host``; none where unsigned.

    Only Host and S3's own fields are signed: what a forward proxy on the way may change
    (Via, Accept-Encoding) must not make the signature wrong. Host and target are signed as they
    are: a target has no query, and its path must already be percent-encoded as S3 wants it.
    ``clock`` is in seconds since the epoch.
    """
    if credentials is None:
        return ""
    now, today = _moment(int(clock()))
    scope = f"{today}/{region}/s3/aws4_request"
    token = credentials.token
    if token:
        signed = _SIGNED_WITH_TOKEN
        token_line = f"x-amz-security-token:{_trimmed(token)}\n"
        token_field = f"X-Amz-Security-Token: {token}\r\n"
    else:
        signed, token_line, token_field = _SIGNED, "", ""
    # The empty line is the query.
    canonical = (
        f"GET\n{target}\n\nhost:{host}\nx-amz-content-sha256:{_NO_BODY}\n"
        f"x-amz-date:{now}\n{token_line}\n{signed}\n{_NO_BODY}"
    )
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = _key(credentials.secret_key, today, region)
    signed_with = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return (
        f"X-Amz-Date: {now}\r\nX-Amz-Content-SHA256: {_NO_BODY}\r\n{token_field}"
        f"Authorization: AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed}, Signature={signed_with}\r\n"
    )


@lru_cache(_REMEMBERED)
def _key(secret: str, today: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (today, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(_REMEMBERED)
def _moment(second: int) -> tuple[str, str]:
    """The time and the date as they are signed."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
    return now, now[:8]


def _trimmed(value: str) -> str:
    """A field's value with the runs of spaces that SigV4 does not count."""
    return " ".join(value.split())
