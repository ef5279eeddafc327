"""Checks what is read of real processes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bench.errors import BenchError
from bench.machine import cores
from bench.processes import Process

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
# A parent whose memory its child has too, both busy for as long as they live.
SHARING = """
import mmap, os
memory = mmap.mmap(-1, 64 << 20)
memory.write(b"x" * len(memory))
if os.fork() == 0:
    memory.find(b"y", 0)
while True:
    pass
"""


def sharing(folder: Path, code: str = SHARING) -> Process:
    command = [sys.executable, "-c", code]
    return Process(command, cores=(cores().server,), log=folder / "log")


def test_memory_that_processes_share_counts_once(tmp_path: Path) -> None:
    with sharing(tmp_path) as process:
        process.wait_for_children(1)
        while process.resident() < 128 * MIB:
            assert len(process.pids) == 2
        assert 64 * MIB <= process.memory() < 100 * MIB


def test_processor_time_is_that_of_each_process(tmp_path: Path) -> None:
    with sharing(tmp_path) as process:
        process.wait_for_children(1)
        while not all(process.cpu_seconds_by_pid().values()):
            assert len(process.pids) == 2
        assert len(process.cpu_seconds_by_pid()) == 2


def test_workers_that_do_not_come_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.processes._CHILDREN_SECONDS", 0.2)
    with (
        sharing(tmp_path, "while True: pass") as process,
        pytest.raises(BenchError, match="0 worker processes instead of 2"),
    ):
        process.wait_for_children(2)
