"""Where a server is in the stream of purges, as all of its processes see it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from proxy import processes
from proxy.fleet.position import SharedPosition
from proxy.fleet.stream_id import BEGINNING, StreamId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EARLY, LATE = StreamId(1000, 0), StreamId(1000, 1)


@pytest.fixture(autouse=True)
def _back_to_the_first_process() -> Iterator[None]:
    yield
    processes.become(0)


def in_a_child(work: Callable[[], object], index: int = 1) -> int:
    """Does it in a fork; what that was ended by, as os.waitstatus_to_exitcode tells it."""
    pid = os.fork()
    if pid == 0:
        try:
            processes._index = index
            work()
        except BaseException:  # noqa: BLE001 - nothing may go on in the fork
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_begins_at_the_beginning() -> None:
    position = SharedPosition()
    assert (position.get(), position.known, position.owes) == (BEGINNING, BEGINNING, False)


def test_what_one_process_applied_the_others_know() -> None:
    position = SharedPosition()
    assert in_a_child(lambda: (position.set(EARLY), position.hear(LATE))) == 0
    assert (position.get(), position.known) == (EARLY, LATE)


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


def test_a_purge_is_finished_in_all_processes_and_no_other_is() -> None:
    position = SharedPosition()
    first, second = position.begin(), position.begin()
    assert not position.is_finished(first)
    assert in_a_child(lambda: position.finish(first)) == 0
    assert (position.is_finished(first), position.is_finished(second)) == (True, False)


def test_numbers_are_given_once_whoever_asks() -> None:
    position = SharedPosition()
    first = position.begin()
    assert in_a_child(position.begin) == 0
    assert position.begin() == first + 2


def test_of_too_many_the_oldest_is_carried_out_once_more() -> None:
    position = SharedPosition()
    numbers = [position.begin() for _ in range(257)]
    for number in numbers:
        position.finish(number)
    assert [position.is_finished(number) for number in (numbers[0], numbers[-1])] == [False, True]


def test_what_one_process_owes_all_processes_know() -> None:
    position = SharedPosition()
    assert in_a_child(lambda: position.owe(now=True), index=3) == 0
    assert position.owes
    position.owe(now=False)
    assert position.owes, "this process never owed anything"
    assert in_a_child(lambda: position.owe(now=False), index=3) == 0
    assert not position.owes


def test_what_a_dead_process_owed_one_of_the_others_takes_over() -> None:
    position = SharedPosition()
    assert in_a_child(lambda: position.owe(now=True), index=3) == 0
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


def test_a_process_killed_in_the_middle_leaves_an_unknown_position() -> None:
    position = SharedPosition()
    number = position.begin()
    position.set(EARLY)
    position.hear(LATE)

    def die_holding_it() -> None:
        with position._memory:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(die_holding_it) == -signal.SIGKILL
    assert position.get() == BEGINNING
    assert position.known == LATE, "nobody is to use the second tier for knowing less"
    assert position.begin() == number + 1
