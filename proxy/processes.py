"""Which of the server's processes this one is.

`serve` runs workers, each a fork of the same parent. A worker has an index that nobody else alive
has; one that takes a dead worker's place may be given its index. The parent, and every process
outside `serve`, is 0.
"""

from __future__ import annotations

_index = 0


def index() -> int:
    """This process's index: a worker's is 1 or more."""
    return _index


def become(new_index: int) -> None:
    """Take an index; a worker does so first of all."""
    global _index  # noqa: PLW0603 - what a process is holds for all of it
    _index = new_index
