"""When the process asks glibc to give back what was freed."""

from __future__ import annotations

import os
import subprocess
import sys

from proxy.server.heap import Heap, resident_bytes

MIB = 2**20


class Process:
    """A process whose memory is ``live`` and what was freed since the last trim."""

    def __init__(self) -> None:
        self.live = 50 * MIB
        self.freed = 0
        self.trims = 0
        self.heap = Heap(lambda: self.live + self.freed, self._trim)

    def _trim(self, _: int) -> int:
        self.trims += 1
        self.freed = 0
        return 1


def test_a_process_that_has_not_grown_is_left_alone() -> None:
    process = Process()
    process.freed = 8 * MIB
    process.heap.look(1.0)
    assert process.trims == 0


def test_what_was_freed_is_given_back_at_the_next_look() -> None:
    process = Process()
    process.freed = 100 * MIB
    process.heap.look(1.0)
    assert process.trims == 1


def test_a_process_that_needs_its_memory_is_looked_at_ever_less_often() -> None:
    process = Process()
    process.live += 100 * MIB
    for second in range(600):
        process.heap.look(float(second))
    assert 5 <= process.trims <= 20


def test_what_is_freed_late_is_given_back_in_the_end() -> None:
    process = Process()
    process.live += 100 * MIB
    for second in range(600):
        process.heap.look(float(second))
    process.live -= 100 * MIB
    process.freed = 100 * MIB
    for second in range(600, 700):
        process.heap.look(float(second))
    assert process.freed == 0


def test_growth_ends_a_long_pause() -> None:
    process = Process()
    process.live += 100 * MIB
    for second in range(600):
        process.heap.look(float(second))
    process.freed = 100 * MIB
    process.heap.look(600.0)
    process.heap.look(601.0)
    assert process.freed == 0


_FREED_BELOW_A_SURVIVOR = """
import time
from proxy.server.heap import Heap, map_large_blocks, resident_bytes
map_large_blocks()
heap = Heap()
blocks = [bytes(range(256)) * 1000 for _ in range(256)]
grown = resident_bytes()
survivors = blocks[::16]
del blocks
held = resident_bytes()
heap.look(time.monotonic())
print(grown, held, resident_bytes())
"""


def test_memory_below_a_survivor_leaves_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FREED_BELOW_A_SURVIVOR],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    grown, held, after = map(int, done.stdout.split())
    assert grown - after > 40 * MIB, held


def test_resident_memory_grows_with_what_is_held() -> None:
    before = resident_bytes()
    held = b"x" * (64 * MIB)
    assert resident_bytes() - before > len(held) // 2
