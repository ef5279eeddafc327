"""Which workers there are, for those who report on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.server.board import Board, Seen

_boards: list[Board] = []


def use(board: Board) -> None:
    """Report what this board says."""
    _boards[:] = [board]


def workers() -> list[Seen]:
    """Every worker of this server; none outside ``serve``."""
    return [seen for board in _boards for seen in board.workers()]
