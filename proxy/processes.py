"""Which of the server's processes this one is.

`serve` runs workers, each a fork of the same parent. A worker has an index that nobody else alive
has; one that takes a dead worker's place may be given its index. The parent, and every process
outside `serve`, is 0.

What is kept for all processes hangs itself into the lists below, at import or when it is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STANDARD_ERROR = 2

_index = 0

# Called in the parent before the first fork, with the highest index that there will be: the
# moment to make memory that all workers share.
before_fork: list[Callable[[int], object]] = []
# Called in a worker with its index, before it does anything else.
on_become: list[Callable[[int], object]] = []
# Called in the parent with a dead worker's index, before another worker may take it.
on_death: list[Callable[[int], object]] = []


def index() -> int:
    """This process's index: a worker's is 1 or more."""
    return _index


def become(new_index: int) -> None:
    """Take an index; a worker does so first of all."""
    global _index  # noqa: PLW0603 - what a process is holds for all of it
    _index = new_index
    for call in on_become:
        call(new_index)


def open_standard_streams() -> None:
    """See to it that what is written to standard streams that are closed goes nowhere.

    Else the next file opened would get their numbers: the shared memory, for one.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)
