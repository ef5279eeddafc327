"""The binary form of the second tier's entries."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.freshness import Freshness
from proxy.fleet.entry import PART_BYTES, decode, encode
from proxy.fleet.stream_id import StreamId
from tests.fleet.replica import response

MARK, TOKEN = StreamId(7, 8), b"12345678"
MOST = 2**22


def encoded(body: bytes | None = b"hello") -> bytes:
    return encode("ключ/a b", response(body or b""), MARK, 12.5, 3.5, TOKEN)[0]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_it_says_what_was_written(size: int) -> None:
    stored = response(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    data, parts = encode("ключ/a b", stored, MARK, 12.5, 3.5, TOKEN)
    entry = decode(data, MOST)
    assert (entry.key, entry.mark, entry.written, entry.age) == ("ключ/a b", MARK, 12.5, 3.5)
    assert (entry.with_parts(parts) if parts else entry.response) == stored
    assert all(len(part) <= PART_BYTES + 8 for part in parts)


@given(st.integers(0, 7), st.data())
def test_any_changed_byte_is_noticed(bit: int, data: st.DataObject) -> None:
    entry = bytearray(encoded())
    entry[data.draw(st.integers(0, len(entry) - 1))] ^= 1 << bit
    with pytest.raises(ValueError, match=r"."):
        decode(bytes(entry), MOST)


@given(st.integers(0, 300))
def test_what_is_cut_off_or_too_long_is_refused(length: int) -> None:
    entry = encoded()
    data = entry[:length] if length < len(entry) else entry + b"x"
    with pytest.raises(ValueError, match=r"."):
        decode(data, MOST)


@given(st.binary(max_size=400))
def test_nothing_else_is_an_entry(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data, MOST)
    with pytest.raises(ValueError, match=r"."):
        decode(b"S3FT\x01" + data, MOST)


def test_a_body_larger_than_may_be_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="a body of"):
        decode(encoded(b"x" * 100), 99)


def test_parts_of_another_entry_are_refused() -> None:
    data, _ = encode("k", response(b"x" * (PART_BYTES + 1)), MARK, 1.0, 1.0, TOKEN)
    _, others = encode("k", response(b"x" * (PART_BYTES + 1)), MARK, 1.0, 1.0, b"another.")
    with pytest.raises(ValueError, match="another entry"):
        decode(data, MOST).with_parts(others)


@pytest.mark.parametrize("damage", [lambda p: p[:1], lambda p: p[::-1], lambda p: [*p, p[0]]])
def test_missing_or_mixed_up_parts_are_refused(damage: object) -> None:
    data, parts = encode("k", response(b"x" * PART_BYTES + b"y"), MARK, 1.0, 1.0, TOKEN)
    with pytest.raises(ValueError, match="not what was written"):
        decode(data, MOST).with_parts(damage(parts))  # type: ignore[operator]


@pytest.mark.parametrize(
    "change",
    [
        {"fields": ((b"x-amz-meta-a", b"1\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK"),)},
        {"fields": ((b"transfer-encoding", b"chunked"),)},
        {"fields": ((b"content-length", b"1"),)},
        {"fields": ((b"set-cookie", b"a=b"),)},
        {"fields": ((b"", b"a"),)},
        {"fields": ((b"etag", b'"1"'), (b"etag", b'"2"'))},
        {"etag": '"a"\r\nx: y'},
        {"etag": '"\u2603"'},
        {"status": 101},
        {"status": 204},
        {"status": 299},
        {"status": 304},
        {"freshness": Freshness(math.inf, 0.0, 0.0)},
        {"freshness": Freshness(10.0, math.inf, 0.0)},
    ],
    ids=str,
)
def test_what_no_origin_request_would_have_brought_is_refused(change: dict[str, Any]) -> None:
    """The checksum keeps nobody from writing what he likes."""
    data, _ = encode("k", replace(response(b"hello"), **change), MARK, 12.5, 3.5, TOKEN)
    with pytest.raises(ValueError, match="no origin request"):
        decode(data, MOST)
