"""The binary form of a stored response's head.

Version 1, integers little-endian:

    magic "S3PR", version u8, flags u8 (has_length, no_cache, must_revalidate, has_vary)
    status u16, origin status u16, length u64 (0 without has_length)
    last_modified f64 (NaN: none), date, initial_age, response_time f64
    lifetime, stale_while_revalidate, stale_if_error f64
    counts: fields u32, Vary's names u16, Vary's selections u16
    a table of u32 chunk lengths (2**32 - 1: None), then the chunks one after the other:
    ETag as UTF-8, each field's name and value, Vary's names, each selection's values

The body is not part of it, so that a response can be freshened without touching its body.
Reading executes nothing, allocates no more than a few times what it was given, and checks
everything that can be checked: what has been to a network may be anything.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from proxy.core.freshness import Freshness
from proxy.core.messages import StoredResponse
from proxy.core.vary import Vary

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAGIC = b"S3PR"
_VERSION = 1
_FIXED = struct.Struct("<4sBBHHQ7dIHH")
_LENGTH_BYTES = 4
_NONE = 2**32 - 1

_HAS_LENGTH, _NO_CACHE, _MUST_REVALIDATE, _HAS_VARY = 1, 2, 4, 8
_ALL_FLAGS = 15

_STATUSES = range(100, 1000)


def encode_head(response: StoredResponse) -> bytes:
    """All of a response but its body. Raises ValueError for what the format has no room for."""
    freshness, vary = response.freshness, response.vary
    chunks: list[bytes | None] = [
        # Lone surrogates are no UTF-8, yet a str may hold them.
        None if response.etag is None else response.etag.encode("utf-8", "surrogatepass")
    ]
    for field in response.fields:
        chunks += field
    flags = _NO_CACHE * freshness.no_cache | _MUST_REVALIDATE * freshness.must_revalidate
    if response.length is not None:
        flags |= _HAS_LENGTH
    names = answered = 0
    if vary is not None:
        flags |= _HAS_VARY
        names, answered = len(vary.names), len(vary.answered)
        chunks += vary.names
        for selection in vary.answered:
            if len(selection) != names:
                raise ValueError(f"a selection of {len(selection)} values for {names} names")
            chunks += selection
    _check(response)
    try:
        fixed = _FIXED.pack(
            _MAGIC,
            _VERSION,
            flags,
            response.status,
            response.origin_status,
            response.length or 0,
            math.nan if response.last_modified is None else response.last_modified,
            response.date,
            response.initial_age,
            response.response_time,
            freshness.lifetime,
            freshness.stale_while_revalidate,
            freshness.stale_if_error,
            len(response.fields),
            names,
            answered,
        )
        table = struct.pack(
            f"<{len(chunks)}I", *(_NONE if chunk is None else len(chunk) for chunk in chunks)
        )
    except struct.error as error:
        raise ValueError(f"the stored response does not fit the format: {error}") from error
    return fixed + table + b"".join([chunk for chunk in chunks if chunk])


def decode_head(data: bytes, body: bytes | memoryview | None) -> StoredResponse:
    """What encode_head() wrote, with this body. Raises ValueError for anything else."""
    if len(data) < _FIXED.size:
        raise ValueError(f"a stored response's head of {len(data)} bytes is cut off")
    (
        magic,
        version,
        flags,
        status,
        origin_status,
        length,
        last_modified,
        date,
        initial_age,
        response_time,
        lifetime,
        stale_while_revalidate,
        stale_if_error,
        fields,
        names,
        answered,
    ) = _FIXED.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError(f"no stored response's head begins with {magic!r}")
    if version != _VERSION:
        raise ValueError(f"a stored response's head of version {version}, not {_VERSION}")
    if flags & ~_ALL_FLAGS:
        raise ValueError(f"unknown flags {flags:#x} in a stored response's head")
    if not flags & _HAS_LENGTH and length:
        raise ValueError(f"a length of {length} that is said to be none")
    if not flags & _HAS_VARY and (names or answered):
        raise ValueError("names of a Vary that is said to be none")

    chunks = _chunks(data, 1 + 2 * fields + names * (1 + answered))
    etag = chunks[0]
    end = 1 + 2 * fields
    response = StoredResponse(
        status=status,
        fields=tuple(zip(_present(chunks[1:end:2]), _present(chunks[2:end:2]), strict=True)),
        body=body,
        length=length if flags & _HAS_LENGTH else None,
        etag=None if etag is None else etag.decode("utf-8", "surrogatepass"),
        last_modified=None if math.isnan(last_modified) else last_modified,
        date=date,
        initial_age=initial_age,
        response_time=response_time,
        freshness=Freshness(
            lifetime,
            stale_while_revalidate,
            stale_if_error,
            no_cache=bool(flags & _NO_CACHE),
            must_revalidate=bool(flags & _MUST_REVALIDATE),
        ),
        origin_status=origin_status,
        vary=_vary(chunks[end:], names, answered) if flags & _HAS_VARY else None,
    )
    _check(response)
    return response


def _chunks(data: bytes, count: int) -> list[bytes | None]:
    position = _FIXED.size + _LENGTH_BYTES * count
    if position > len(data):
        raise ValueError(f"{count} lengths do not fit a stored response's head of {len(data)}")
    chunks: list[bytes | None] = []
    for length in struct.unpack_from(f"<{count}I", data, _FIXED.size):
        if length == _NONE:
            chunks.append(None)
            continue
        chunks.append(data[position : position + length])
        position += length
    if position != len(data):
        raise ValueError(f"a stored response's head of {len(data)} bytes instead of {position}")
    return chunks


def _present(chunks: Sequence[bytes | None]) -> list[bytes]:
    present = [chunk for chunk in chunks if chunk is not None]
    if len(present) != len(chunks):
        raise ValueError("a name or a field without a value in a stored response's head")
    return present


def _vary(chunks: Sequence[bytes | None], names: int, answered: int) -> Vary:
    selections = (chunks[names * turn : names * (turn + 1)] for turn in range(1, answered + 1))
    return Vary(tuple(_present(chunks[:names])), tuple(map(tuple, selections)))


def _check(response: StoredResponse) -> None:
    """Raises ValueError for a response with which no arithmetic or answer would make sense."""
    if response.status not in _STATUSES or response.origin_status not in _STATUSES:
        raise ValueError(f"no HTTP status: {response.status}, {response.origin_status}")
    # An infinite lifetime is one; a moment that is infinite is none.
    moments = (response.date, response.initial_age, response.response_time)
    if not all(map(math.isfinite, moments)) or math.isinf(response.last_modified or 0.0):
        raise ValueError(f"no moments: {moments}, {response.last_modified}")
    freshness = response.freshness
    durations = (freshness.lifetime, freshness.stale_while_revalidate, freshness.stale_if_error)
    if any(map(math.isnan, durations)):
        raise ValueError(f"no durations: {durations}")
