"""Ids that tell one request from any other."""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Counting in the digits of these makes ids without a line of Python being run for each.
_DIGITS = tuple(b"%03x" % number for number in range(4096))
_PLACES = 4


def _count() -> Iterator[bytes]:
    # Unique without asking for random bytes each time.
    process = b"%b-" % os.urandom(8).hex().encode("ascii")
    return map(b"".join, product((process,), *[_DIGITS] * _PLACES))


def _count_anew() -> None:
    global _ids  # noqa: PLW0603 - two processes must not go on from the same number
    _ids = _count()


_ids = _count()
os.register_at_fork(after_in_child=_count_anew)


def next_id() -> bytes:
    """An id for one request, unlike any other, as it is sent: hexadecimal digits and a dash."""
    return next(_ids)


def new_request_id() -> str:
    """An id for one request, unlike any other."""
    return next(_ids).decode("ascii")
