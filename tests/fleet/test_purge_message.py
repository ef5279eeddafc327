"""Purges as entries of the stream."""

from __future__ import annotations

import pytest

from proxy.fleet import purge_message


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"1", b"{}", b"\xff", b'{"keys":1,"prefixes":[],"all":false,"soft":false}',
     b'{"keys":[],"prefixes":[1],"all":false,"soft":false}',
     b'{"keys":[],"prefixes":[],"all":0,"soft":false}', b"[" * 100_000],
)  # fmt: skip
def test_a_malformed_purge_is_none(content: bytes) -> None:
    assert purge_message.decode({b"v": b"1", b"purge": content}) is None
