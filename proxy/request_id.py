"""Ids that tell one request from any other."""

from __future__ import annotations

import itertools
import os

# Unique without asking for random bytes each time.
_process = os.urandom(8).hex()
_counter = itertools.count(1)


def _begin_anew() -> None:
    global _process  # noqa: PLW0603 - no two processes may have the same
    _process = os.urandom(8).hex()


os.register_at_fork(after_in_child=_begin_anew)


def new_request_id() -> str:
    """An id for one request, unlike any other."""
    return f"{_process}-{next(_counter):x}"
