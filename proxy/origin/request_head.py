"""A request to S3 as it goes over the connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from proxy.origin.errors import Failure, OriginError
from proxy.origin.sigv4 import signature

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

    from proxy.origin.exchange import Ask
    from proxy.origin.location import Location

# RFC 9110 §5.5: with any of these in a value the head might become another, or two.
_FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


def request_head(
    location: Location, key: str, ask: Ask, credentials: ReadOnlyCredentials | None
) -> bytes:
    """A signed GET, which has no body: the head is all.

    Raises OriginError where the keys cannot be sent, ValueError where an entity tag cannot.
    """
    if credentials is not None and _FORBIDDEN.search(
        f"{credentials.access_key}{credentials.token}"
    ):
        raise OriginError(
            Failure.MISCONFIGURED,
            "a line break or the like in the keys; look at S3_ACCESS_KEY and S3_SESSION_TOKEN",
            variable="S3_ACCESS_KEY",
        )
    asked = ask.field_lines()
    if asked and _FORBIDDEN.search(f"{ask.etag}{ask.etag_of_whole}"):
        raise ValueError("a control character in an entity tag")
    target, host = location.target(key), location.host
    # As stored, or not at all: nobody on the way may encode the object anew.
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        f"Via: 1.1 s3proxy\r\n{asked}{signature(host, target, credentials, location.region)}\r\n"
    ).encode("latin-1")
