"""The lock of shared memory, and what follows when its holder fails."""

from __future__ import annotations

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


def is_free_for_others(memory: SharedMemory) -> bool:
    """Can another process take the lock at this moment?"""
    script = f"import fcntl; fcntl.lockf({memory.file}, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    tried = subprocess.run(
        [sys.executable, "-S", "-c", script],
        pass_fds=[memory.file],
        stderr=subprocess.DEVNULL,
        timeout=20,
    )
    return tried.returncode == 0


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
