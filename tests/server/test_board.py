"""What the parent sees of its workers, while rows come and go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.server.board import _PID, _ROW_WORDS, Board, Seen, State
from tests.served.process import ROOT


def test_a_worker_is_seen_from_its_signature_to_its_end() -> None:
    board = Board(2)
    board.announce(1, 5.0)
    assert board.look(1) is None
    board.sign(1, 77)
    assert board.workers() == [Seen(1, 77, State.STARTING, 5.0, 5.0)]
    board.enter(1, State.READY)
    board.beat(1, 6.0)
    assert board.workers() == [Seen(1, 77, State.READY, 5.0, 6.0)]
    board.wipe(1)
    assert board.workers() == []


@pytest.mark.parametrize("wiped", range(_ROW_WORDS - _PID))
def test_a_row_that_is_being_wiped_is_whole_or_none(wiped: int) -> None:
    board = Board(1)
    board.announce(1, 5.0)
    board.sign(1, 77)
    # A reader that had the process id already sees the words behind it go, one by one.
    for word in range(_PID + 1, _PID + 1 + wiped):
        board._words[_ROW_WORDS + word] = 0
    assert board.look(1) == (Seen(1, 77, State.STARTING, 5.0, 5.0) if wiped == 0 else None)


# One process has a worker come and go on the board, the other looks at it.
READ_AND_WIPE = """
import os, signal, time
from proxy.server.board import Board, State

board = Board(1)
child = os.fork()
if child == 0:
    while True:
        board.announce(1, 5.0)
        board.sign(1, 77)
        board.wipe(1)
seen = set()
end = time.monotonic() + 0.5
try:
    while time.monotonic() < end:
        found = board.look(1)
        seen.add(found and found.state)
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
assert seen == {None, State.STARTING}, seen
"""


def test_a_board_is_read_at_any_moment() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", READ_AND_WIPE], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 0, ran.stderr
