"""The binary form of a stored response's head.

Version 2, integers little-endian:

    magic "S3PR", version u8, flags u8 (has_length, no_cache, must_revalidate, has_vary)
    status u16, origin status u16, length u64 (0 without has_length)
    last_modified f64 (NaN: none), date, initial_age, response_time f64
    lifetime, stale_while_revalidate, stale_if_error f64
    counts: fields u32, Vary's names u16, Vary's selections u16; where the lines begin u32
    a table of u32 chunk lengths (2**32 - 1: None): ETag's, Vary's names', each selection's values',
    each field's name's and value's
    the chunks one after the other: ETag as UTF-8, Vary's names, each selection's values
    the fields as lines, each a name, a colon, a space, a value, CR and LF (RFC 9112 §5)

The body is not part of it, so that a response can be freshened without touching its body. The
lines come last as they go out, for who needs no more of the fields than to send them.
Reading executes nothing, allocates no more than a few times what it was given, and checks
everything that can be checked: what has been to a network may be anything.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.freshness import Freshness
from proxy.core.messages import StoredResponse
from proxy.core.vary import Vary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.messages import Fields

_MAGIC = b"S3PR"
_VERSION = 2
_FIXED = struct.Struct("<4sBBHHQ7dIHHI")
_LENGTH_BYTES = 4
_NONE = 2**32 - 1

_HAS_LENGTH, _NO_CACHE, _MUST_REVALIDATE, _HAS_VARY = 1, 2, 4, 8
_ALL_FLAGS = 15

_STATUSES = range(100, 1000)

_COLON, _LINE_END = b": ", b"\r\n"
# Most responses have fields of lengths that others had as well; of so many a table is at most.
_SHAPES_KEPT, _LONGEST_TABLE = 1024, 256

# Many share the same few numbers; nobody can alter one.
_freshness = lru_cache(maxsize=1024)(Freshness)


class Sketch(NamedTuple):
    """What of a stored response's head an answer with the whole of it takes.

    ``lines`` are its fields as they go out; for the rest see StoredResponse.
    """

    status: int
    length: int | None
    varies: bool
    initial_age: float
    response_time: float
    freshness: Freshness
    lines: bytes


def encode_head(response: StoredResponse) -> bytes:
    """All of a response but its body. Raises ValueError for what the format has no room for."""
    freshness, vary = response.freshness, response.vary
    chunks: list[bytes | None] = [
        # Lone surrogates are no UTF-8, yet a str may hold them.
        None if response.etag is None else response.etag.encode("utf-8", "surrogatepass")
    ]
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
    before_lines = b"".join([chunk for chunk in chunks if chunk])
    for field in response.fields:
        chunks += field
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
            _FIXED.size + _LENGTH_BYTES * len(chunks) + len(before_lines),
        )
        table = struct.pack(
            f"<{len(chunks)}I", *(_NONE if chunk is None else len(chunk) for chunk in chunks)
        )
    except struct.error as error:
        raise ValueError(f"the stored response does not fit the format: {error}") from error
    lines = [b"%b: %b\r\n" % field for field in response.fields]
    return b"".join((fixed, table, before_lines, *lines))


def sketch_head(data: bytes) -> Sketch:
    """Of what encode_head() wrote, and nobody else, as much as a Sketch has."""
    (
        _,
        _,
        flags,
        status,
        _,
        length,
        _,
        _,
        initial_age,
        response_time,
        lifetime,
        stale_while_revalidate,
        stale_if_error,
        _,
        _,
        _,
        lines_at,
    ) = _FIXED.unpack_from(data)
    return Sketch(
        status,
        length if flags & _HAS_LENGTH else None,
        flags & _HAS_VARY != 0,
        initial_age,
        response_time,
        _freshness(
            lifetime,
            stale_while_revalidate,
            stale_if_error,
            flags & _NO_CACHE != 0,
            flags & _MUST_REVALIDATE != 0,
        ),
        data[lines_at:],
    )


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
        lines_at,
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

    chunks = _chunks(data, 1 + names * (1 + answered), fields, lines_at)
    etag = chunks[0]
    response = StoredResponse(
        status=status,
        fields=_fields(data, fields, len(chunks), lines_at),
        body=body,
        length=length if flags & _HAS_LENGTH else None,
        etag=None if etag is None else etag.decode("utf-8", "surrogatepass"),
        last_modified=None if math.isnan(last_modified) else last_modified,
        date=date,
        initial_age=initial_age,
        response_time=response_time,
        freshness=_freshness(
            lifetime,
            stale_while_revalidate,
            stale_if_error,
            flags & _NO_CACHE != 0,
            flags & _MUST_REVALIDATE != 0,
        ),
        origin_status=origin_status,
        vary=_vary(chunks[1:], names, answered) if flags & _HAS_VARY else None,
    )
    _check(response)
    return response


def _chunks(data: bytes, count: int, fields: int, lines_at: int) -> list[bytes | None]:
    """The chunks before the lines."""
    position = _FIXED.size + _LENGTH_BYTES * (count + 2 * fields)
    if position > len(data):
        raise ValueError(f"{fields} fields do not fit a stored response's head of {len(data)}")
    chunks: list[bytes | None] = []
    for length in struct.unpack_from(f"<{count}I", data, _FIXED.size):
        if length == _NONE:
            chunks.append(None)
            continue
        chunks.append(data[position : position + length])
        position += length
    if position != lines_at:
        raise ValueError(f"lines of a stored response's head at {lines_at} instead of {position}")
    return chunks


def _fields(data: bytes, count: int, chunks: int, lines_at: int) -> Fields:
    """The fields, of which there are lengths behind those of so many chunks."""
    table_at = _FIXED.size + _LENGTH_BYTES * chunks
    table = data[table_at : table_at + _LENGTH_BYTES * 2 * count]
    shape = _shape_kept if len(table) <= _LONGEST_TABLE else _shape
    parts = shape(table, len(data) - lines_at).unpack_from(data, lines_at)
    if parts[1::4].count(_COLON) != count or parts[3::4].count(_LINE_END) != count:
        raise ValueError("no lines in a stored response's head")
    return tuple(zip(parts[::4], parts[2::4], strict=True))


def _shape(table: bytes, size: int) -> struct.Struct:
    """What reads lines with names and values of these lengths, together of so many bytes."""
    lengths = struct.unpack(f"<{len(table) // _LENGTH_BYTES}I", table)
    whole = sum(lengths) + 2 * len(lengths)
    if whole != size:
        raise ValueError(f"lines of {size} bytes instead of {whole} in a stored response's head")
    return struct.Struct("".join([f"{length}s2s" for length in lengths]))


_shape_kept = lru_cache(maxsize=_SHAPES_KEPT)(_shape)


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
