"""The lock of shared memory, and what follows when its holder fails."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from proxy.cache.shared_memory import SharedMemory

if TYPE_CHECKING:
    from collections.abc import Callable


class Repaired:
    """Memory that counts how often it was found damaged."""

    def __init__(self) -> None:
        self.memory = SharedMemory("test", 64)
        self.memory.on_damage = self._repair
        self.times = 0

    def _repair(self) -> None:
        self.times += 1


def test_memory_is_zero_at_first() -> None:
    memory = SharedMemory("test", 100_000)
    assert not any(memory.view)
    assert len(memory.view) >= 100_000


def test_words_and_halves_are_views_of_the_same_bytes() -> None:
    memory = SharedMemory("test", 64)
    memory.words(8, 2)[1] = 2**40 + 7
    assert list(memory.halves(16, 2)) == [7, 256]


def test_a_lock_released_in_order_means_no_damage() -> None:
    repaired = Repaired()
    for _ in range(3):
        with repaired.memory, repaired.memory:
            pass
    assert repaired.times == 0


def test_an_exception_in_the_lock_means_damage_to_the_next() -> None:
    repaired = Repaired()
    with pytest.raises(KeyError), repaired.memory:
        raise KeyError
    with repaired.memory:
        assert repaired.times == 1
    with repaired.memory:
        assert repaired.times == 1


def test_an_exception_caught_inside_the_lock_means_damage_too() -> None:
    repaired = Repaired()
    with repaired.memory, pytest.raises(KeyError), repaired.memory:
        raise KeyError
    with repaired.memory:
        assert repaired.times == 1


def test_the_lock_excludes_threads_until_it_is_wholly_released() -> None:
    memory = SharedMemory("test", 64)
    inside = threading.Event()

    def enter() -> None:
        with memory:
            inside.set()

    thread = threading.Thread(target=enter)
    with memory:
        with memory:
            thread.start()
        assert not inside.wait(0.05)
    assert inside.wait(5)
    thread.join(5)


def test_a_finaliser_gets_the_lock_only_if_nobody_holds_it() -> None:
    memory = SharedMemory("test", 64)
    with memory:
        assert not memory.try_enter()
    assert memory.try_enter()
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(memory.try_enter()))
    thread.start()
    thread.join(5)
    assert got == [False]
    memory.__exit__(None, None, None)
    with memory:
        pass


def other_process(memory: SharedMemory, script: str) -> subprocess.Popen[bytes]:
    """A process that has the memory's file as `file`."""
    program = f"import fcntl, sys, time\nfile = int(sys.argv[1])\n{script}"
    return subprocess.Popen(
        [sys.executable, "-S", "-c", program, str(memory._file)],
        pass_fds=[memory._file],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def is_free_for_others(memory: SharedMemory) -> bool:
    """Can another process take the lock at this moment?"""
    with other_process(memory, "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)") as other:
        return other.wait(20) == 0


def by_statement(memory: SharedMemory) -> None:
    memory.__enter__()


def as_finalisers_do(memory: SharedMemory) -> None:
    assert memory.try_enter()


@pytest.mark.parametrize("enter", [by_statement, as_finalisers_do])
def test_a_finaliser_that_runs_while_the_lock_is_taken_neither_takes_nor_releases_it(
    enter: Callable[[SharedMemory], None],
) -> None:
    memory = SharedMemory("test", 64)
    with pytest.raises(KeyError), memory:
        raise KeyError
    told: list[bool] = []

    def finalise() -> None:
        # On the way in, with the lock there and nothing said of it yet.
        if not told:
            told.append(memory.try_enter())
            if told == [True]:
                memory.__exit__(None, None, None)

    memory.on_damage = finalise
    enter(memory)
    try:
        assert told == [False]
        assert not is_free_for_others(memory)
    finally:
        memory.__exit__(None, None, None)
    assert is_free_for_others(memory)


def test_a_finaliser_that_runs_while_the_lock_is_released_leaves_it_alone() -> None:
    memory = SharedMemory("test", 64)
    told: list[bool] = []
    memory.on_release = lambda: told.append(memory.try_enter())
    with memory:
        pass
    assert told == [False]
    assert is_free_for_others(memory)


def test_garbage_that_is_collected_while_the_lock_is_waited_for_leaves_it_alone() -> None:
    memory = SharedMemory("test", 64)
    told: list[bool] = []

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            told.append(memory.try_enter())

    def collect(*_: object) -> None:
        gc.collect()

    held = "fcntl.lockf(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(0.3)"
    before = signal.signal(signal.SIGALRM, collect)
    try:
        with other_process(memory, held) as other:
            assert other.stdout is not None
            other.stdout.readline()
            Garbage()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with memory:
                assert told == [False]
                assert not is_free_for_others(memory)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
