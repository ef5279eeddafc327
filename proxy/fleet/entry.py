"""The binary form of an entry in the second tier.

Version 1, integers little-endian:

    magic "S3FT", version u8, flags u8 (1: has a body, 2: the body is in parts), parts u16
    purge mark u64 + u64, time of writing f64 (the server's clock), age then f64
    key length u32, head length u32, body length u64, token of 8 bytes
    CRC-32 u32 of all before it, then of key, head and body
    the S3 key as UTF-8, the head as `proxy.cache.encoding` has it, the body unless it is in parts

A part is the entry's token with at most PART_BYTES of the body behind it: another entry's part
has another token. A body is in parts so that no single answer keeps the server from other
clients for long, and because memcached takes no values over 1 MiB.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.cache.encoding import decode_head, encode_head
from proxy.core.storability import is_sound
from proxy.fleet.stream_id import StreamId

if TYPE_CHECKING:
    from proxy.core.messages import StoredResponse

PART_BYTES = 512 * 1024
TOKEN_BYTES = 8

_MAGIC = b"S3FT"
_VERSION = 1
_FIXED = struct.Struct("<4sBBHQQddIIQ8s")
_CRC = struct.Struct("<I")
_HAS_BODY, _IN_PARTS = 1, 2
# The S3 limit on keys, and more header fields than S3 sends.
_MOST_KEY_BYTES = 1024
_MOST_HEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored response as the tier has it.

    ``written`` is in seconds since the epoch on the server's clock, ``age`` what the response's
    age was then. ``response`` has its times as its writer's clock had them, and no body while
    that is in ``parts`` still to come.
    """

    key: str
    mark: StreamId
    written: float
    age: float
    response: StoredResponse
    token: bytes
    parts: int = 0
    body_length: int = 0
    crc: int = 0
    crc_before_body: int = 0

    def with_parts(self, parts: list[bytes]) -> StoredResponse:
        """The response with its body; raises ValueError if these are not its parts."""
        crc, length, bodies = self.crc_before_body, 0, []
        for part in parts:
            if part[:TOKEN_BYTES] != self.token:
                raise ValueError("a part of another entry")
            body = memoryview(part)[TOKEN_BYTES:]
            crc = zlib.crc32(body, crc)
            length += len(body)
            bodies.append(body)
        if length != self.body_length or crc != self.crc:
            raise ValueError("the parts are not what was written")
        return replace(self.response, body=b"".join(bodies))


def encode(
    key: str, response: StoredResponse, mark: StreamId, written: float, age: float, token: bytes
) -> tuple[bytes, list[bytes]]:
    """(entry, parts) for the tier. Raises ValueError for what the format has no room for."""
    encoded_key = key.encode("utf-8")
    head = encode_head(response)
    if len(encoded_key) > _MOST_KEY_BYTES or len(head) > _MOST_HEAD_BYTES:
        raise ValueError("a key or head too long for the tier")
    body = memoryview(response.body or b"")
    flags = _HAS_BODY if response.body is not None else 0
    slices = []
    if len(body) > PART_BYTES:
        flags |= _IN_PARTS
        slices = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]
    try:
        fixed = _FIXED.pack(
            _MAGIC, _VERSION, flags, len(slices), *mark, written, age,
            len(encoded_key), len(head), len(body), token,
        )  # fmt: skip
    except struct.error as error:
        raise ValueError(f"the response does not fit the format: {error}") from error
    crc = zlib.crc32(head, zlib.crc32(encoded_key, zlib.crc32(fixed)))
    crc = zlib.crc32(body, crc)
    inline = b"" if slices else body
    entry = b"".join((fixed, _CRC.pack(crc), encoded_key, head, inline))
    return entry, [token + part for part in slices]


def decode(data: bytes, most_bytes: int) -> Entry:
    """What encode() wrote of a body of ``most_bytes`` at most; raises ValueError for all else."""
    beginning = _FIXED.size + _CRC.size
    if len(data) < beginning:
        raise ValueError(f"an entry of {len(data)} bytes is cut off")
    (
        magic, version, flags, parts, milliseconds, sequence, written, age,
        key_length, head_length, body_length, token,
    ) = _FIXED.unpack_from(data)  # fmt: skip
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("no entry of this version")
    if not (math.isfinite(written) and math.isfinite(age) and age >= 0):
        raise ValueError(f"no times: {written}, {age}")
    in_parts = bool(flags & _IN_PARTS)
    _check_lengths(flags, parts, body_length, most_bytes)
    body_at = beginning + key_length + head_length
    if len(data) != body_at + (0 if in_parts else body_length):
        raise ValueError(f"an entry of {len(data)} bytes has another length")
    [crc] = _CRC.unpack_from(data, _FIXED.size)
    before_body = zlib.crc32(
        memoryview(data)[beginning:body_at], zlib.crc32(memoryview(data)[: _FIXED.size])
    )
    body = None
    if flags & _HAS_BODY and not in_parts:
        body = data[body_at:]
    if not in_parts and zlib.crc32(body or b"", before_body) != crc:
        raise ValueError("an entry that is not what was written")
    key_end = beginning + key_length
    response = decode_head(data[key_end:body_at], body)
    if not is_sound(response):
        # Whoever may write to the tier is trusted with bodies, not with the framing of answers.
        raise ValueError("a response as no origin request would have brought it")
    if flags & _HAS_BODY and response.length != body_length:
        raise ValueError("a body of another length than its head says")
    return Entry(
        key=data[beginning:key_end].decode("utf-8"),
        mark=StreamId(milliseconds, sequence),
        written=written,
        age=age,
        response=response,
        token=token,
        parts=parts,
        body_length=body_length,
        crc=crc,
        crc_before_body=before_body,
    )


def _check_lengths(flags: int, parts: int, body_length: int, most_bytes: int) -> None:
    """Raises ValueError for what contradicts itself, or would take too much memory."""
    if flags & ~(_HAS_BODY | _IN_PARTS):
        raise ValueError(f"unknown flags {flags:#x}")
    if body_length > most_bytes:
        raise ValueError(f"a body of {body_length} bytes")
    in_parts = bool(flags & _IN_PARTS)
    if in_parts != (body_length > PART_BYTES):
        raise ValueError(f"a body of {body_length} bytes, in parts or not")
    if parts != (-(-body_length // PART_BYTES) if in_parts else 0):
        raise ValueError(f"{parts} parts of {body_length} bytes")
    if not flags & _HAS_BODY and body_length:
        raise ValueError("a body that is said to be none")
