"""Lines and records of one process, on one stream."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.log_stream import LineHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def handler(path: Path) -> Iterator[LineHandler]:
    with path.open("w") as stream:
        handler = LineHandler(stream)
        yield handler
        handler.close()


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("n", logging.INFO, "f.py", 1, message, (), None)


async def test_lines_are_written_together_after_a_while(handler: LineHandler, path: Path) -> None:
    handler.add_line(b"one\n")
    handler.add_line(b"two\n")
    assert path.read_text() == ""
    async with asyncio.timeout(5):
        while not path.read_text():
            await asyncio.sleep(0.01)
    assert path.read_text() == "one\ntwo\n"
    handler.add_line(b"three\n")
    async with asyncio.timeout(5):
        while "three" not in path.read_text():
            await asyncio.sleep(0.01)


async def test_a_record_comes_after_the_lines_before_it(handler: LineHandler, path: Path) -> None:
    handler.add_line(b"one\n")
    handler.emit(record("two"))
    handler.add_line(b"three\n")
    handler.emit(record("four"))
    assert path.read_text() == "one\ntwo\nthree\nfour\n"


async def test_closing_writes_what_is_left(handler: LineHandler, path: Path) -> None:
    handler.add_line(b"one\n")
    handler.close()
    assert path.read_text() == "one\n"


def test_without_an_event_loop_nothing_waits(handler: LineHandler, path: Path) -> None:
    handler.add_line(b"one\n")
    assert path.read_text() == "one\n"


async def test_a_stream_that_is_no_file_will_do() -> None:
    stream = io.StringIO()
    handler = LineHandler(stream)
    handler.add_line("ü\n".encode())
    handler.emit(record("two"))
    assert stream.getvalue() == "ü\ntwo\n"


async def test_writes_to_a_pipe_are_whole_lines_that_do_not_mix(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream:
        handler = LineHandler(stream)
        lines = [b"%04d " % number + b"x" * (number % 700) + b"\n" for number in range(60)]
        received: list[bytes] = []
        for line in lines:
            handler.add_line(line)
        handler.flush()
        while sum(map(len, received)) < sum(map(len, lines)):
            received.append(reader.read(65536))
        assert b"".join(received) == b"".join(lines)


async def test_no_write_to_a_pipe_is_larger_than_is_atomic(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "w") as stream:
        handler = LineHandler(stream)
        written: list[bytes] = []

        def write(_fd: int, data: memoryview) -> int:
            written.append(bytes(data))
            return len(data)

        monkeypatch.setattr(os, "write", write)
        for number in range(100):
            handler.add_line(b"%04d " % number + b"x" * 300 + b"\n")
        handler._lines += [b"y" * 1000 + b"\n"] * 9
        handler.flush()
    assert all(len(batch) <= 4096 and batch.endswith(b"\n") for batch in written)
    assert len(written) < 20
    assert b"".join(written).count(b"\n") == 109


async def test_a_full_pipe_that_does_not_block_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    total = 3000 * 101
    received = bytearray()

    def read() -> None:
        while len(received) < total:
            received.extend(os.read(reading, 4096))

    with os.fdopen(writing, "w") as stream:
        handler = LineHandler(stream)
        for _ in range(600):
            handler.add_line(b"z" * 100 + b"\n")
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for _ in range(2400):
            handler.add_line(b"z" * 100 + b"\n")
        handler.flush()
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
    os.close(reading)
    assert received.count(b"\n") == 3000


async def test_records_of_other_threads_lose_no_line(handler: LineHandler, path: Path) -> None:
    stop = threading.Event()

    def write_records() -> None:
        while not stop.is_set():
            handler.emit(record("record"))

    thread = threading.Thread(target=write_records)
    thread.start()
    for number in range(5000):
        handler.add_line(b"line %d\n" % number)
    stop.set()
    await asyncio.to_thread(thread.join, 10)
    handler.flush()
    lines = [line for line in path.read_text().splitlines() if line != "record"]
    assert lines == [f"line {number}" for number in range(5000)]


async def test_lines_that_cannot_be_written_are_told_of(
    handler: LineHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        broken = LineHandler(stream)
        broken.add_line(b"one\n")
        broken.flush()
    assert "access lines lost, 1" in capsys.readouterr().err


def test_the_end_of_the_process_writes_what_is_left() -> None:
    program = """
import asyncio, logging, sys
from proxy.log_stream import LineHandler
handler = LineHandler(sys.stdout)
async def main():
    handler.add_line(b"left\\n")
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("left\n", "")
