"""Which request heads are refused, though the parser lets them pass: RFC 9112 §3, §6."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEAD_BYTES = 32 * 1024

BAD_REQUEST, HEAD_TOO_LARGE, NOT_IMPLEMENTED, VERSION_NOT_SUPPORTED = 400, 431, 501, 505

FRAMING_FIELDS = frozenset({b"host", b"content-length", b"transfer-encoding"})

Field = tuple[bytes, bytes]

# Beside method, target, names and values: " ", " HTTP/1.1" CRLF and the last CRLF; ": " CRLF.
_LINE_OVERHEAD = 14
_FIELD_OVERHEAD = 4
# RFC 3986 §3.2.2 with a port; as in §3.2 of RFC 9112, without userinfo. It may be empty.
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
# RFC 9112 §3 with the token of RFC 9110 §5.6.2, behind line ends that §2.2 lets pass.
_REQUEST_LINE = re.compile(rb"(?:\r\n)*[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[0-9]\r\n")


def is_request_line(data: bytes) -> bool:
    """Does it begin with a whole request line of HTTP/1, whatever the method?"""
    return _REQUEST_LINE.match(data) is not None


def head_bytes(method: bytes, target: bytes, fields: Iterable[Field]) -> int:
    """The size of a request head on the wire."""
    size = len(method) + len(target) + _LINE_OVERHEAD
    return size + sum([len(name) + len(value) + _FIELD_OVERHEAD for name, value in fields])


def fault(method: bytes, target: bytes, version: str, fields: Iterable[Field]) -> int | None:
    """The status to refuse a head with; None where it is sound.

    Of ``fields``, whose names are lower-case, only FRAMING_FIELDS count.
    """
    hosts = lengths = codings = 0
    unclear = b"#" in target or (
        target.startswith(b"*") and (target != b"*" or method != b"OPTIONS")
    )
    for name, value in fields:
        if name == b"host":
            hosts += 1
            unclear |= _HOST.fullmatch(value) is None
        elif name == b"content-length":
            lengths += 1
        elif name == b"transfer-encoding":
            codings += 1
            # §6.3: the length of a body whose last coding is another cannot be told.
            unclear |= value.lower() != b"chunked"
    if version not in ("1.1", "1.0"):
        # What the parser takes for HTTP/0.9 is a line without a version.
        return BAD_REQUEST if version == "0.9" else VERSION_NOT_SUPPORTED
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return BAD_REQUEST
    # §6.1: HTTP/1.0 has no codings, so somebody on the way got the framing wrong.
    if lengths > 1 or codings > 1 or (codings and (lengths or version == "1.0")):
        return BAD_REQUEST
    return BAD_REQUEST if unclear else None
