"""Where a server is in the stream of purges, as all of its processes see it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from proxy import processes
from proxy.fleet.shared_position import SharedPosition
from proxy.fleet.stream_id import BEGINNING, StreamId
from tests.served.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    AsProcess: TypeAlias = Callable[[int, Callable[[], object]], None]

EARLY, LATE = StreamId(1000, 0), StreamId(1000, 1)

# Forks, which a process with threads, as that of the tests, should not.
_FAMILY = """
import json, os, signal
from proxy.fleet.shared_position import SharedPosition
from proxy.fleet.stream_id import StreamId

position = SharedPosition()
first = position.begin()
if os.fork() == 0:
    position.hear(StreamId(1000, 1))
    position.set(StreamId(1000, 0))
    position.finish(first)
    position.begin()
    os._exit(0)
os.wait()
seen = [position.get(), position.known, position.is_finished(first), position.begin() - first]
if os.fork() == 0:
    with position._memory:
        os.kill(os.getpid(), signal.SIGKILL)
os.wait()
left = [position.get(), position.known, position.begin() - first]
print(json.dumps([seen, left]))
"""


@pytest.fixture
def as_process(monkeypatch: pytest.MonkeyPatch) -> AsProcess:
    """Does something under another process's index: `as_process(3, work)`."""

    def do(index: int, work: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(processes, "_index", index)
            work()

    return do


@pytest.fixture(scope="module")
def family() -> Any:
    """What a parent saw of a child's doings, and then of one that was killed holding the lock."""
    done = subprocess.run(
        [sys.executable, "-c", _FAMILY], cwd=ROOT, capture_output=True, timeout=20, check=True
    )
    return json.loads(done.stdout)


def test_processes_share_it(family: Any) -> None:
    assert family[0] == [[1000, 0], [1000, 1], True, 2]


def test_a_process_killed_in_the_middle_leaves_an_unknown_position(family: Any) -> None:
    # What is known stays: nobody is to use the second tier for knowing less.
    assert family[1] == [[0, 0], [1000, 1], 3]


def test_it_begins_at_the_beginning() -> None:
    position = SharedPosition()
    assert (position.get(), position.known, position.owes) == (BEGINNING, BEGINNING, False)


def test_what_is_known_does_not_go_back() -> None:
    position = SharedPosition()
    position.hear(LATE)
    position.hear(EARLY)
    assert position.known == LATE


def test_of_another_stream_nothing_is_known() -> None:
    position = SharedPosition()
    position.hear(LATE)
    position.set(BEGINNING)
    assert position.known == BEGINNING


def test_own_purges_are_told_from_others() -> None:
    position, other = SharedPosition(), SharedPosition()
    number = position.begin()
    sender = position.name_of(number)
    assert position.number_of(sender) == number
    assert other.number_of(sender) is None
    assert position.number_of(b"") is None
    assert position.number_of(sender + b"x") is None


def test_a_purge_is_finished_and_no_other_is() -> None:
    position = SharedPosition()
    first, second = position.begin(), position.begin()
    assert not position.is_finished(first)
    position.finish(first)
    assert (position.is_finished(first), position.is_finished(second)) == (True, False)


def test_of_too_many_the_oldest_is_carried_out_once_more() -> None:
    position = SharedPosition()
    numbers = [position.begin() for _ in range(257)]
    for number in numbers:
        position.finish(number)
    assert [position.is_finished(number) for number in (numbers[0], numbers[-1])] == [False, True]


def test_what_one_process_owes_all_processes_know(as_process: AsProcess) -> None:
    position = SharedPosition()
    as_process(3, lambda: position.owe(now=True))
    assert position.owes
    position.owe(now=False)
    assert position.owes, "this process never owed anything"
    as_process(3, lambda: position.owe(now=False))
    assert not position.owes


def test_what_a_dead_process_owed_one_of_the_others_takes_over(as_process: AsProcess) -> None:
    position = SharedPosition()
    as_process(3, lambda: position.owe(now=True))
    assert not position.inherit(), "it lives"
    position.forget_process(3)
    assert position.owes
    assert [position.inherit(), position.inherit()] == [True, False]
    assert position.owes
    position.owe(now=False)
    assert not position.owes


def test_a_process_that_owed_nothing_leaves_nothing() -> None:
    position = SharedPosition()
    position.forget_process(3)
    assert not position.owes
    assert not position.inherit()
