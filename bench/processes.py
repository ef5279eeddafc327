"""Child processes on cores of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench import machine
from bench.errors import BenchError
from bench.machine import ROOT, program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_CHILDREN_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environ(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """What a child inherits: nothing that could configure it, then ``extra``."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | dict(extra)


class Process:
    """A process with its children, all on ``cores``; ends with its ``with`` block.

    What it writes goes to ``log``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: Sequence[int],
        log: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [program("taskset"), "-c", machine.listed(cores), *command],
                cwd=ROOT,
                env=clean_environ() if environ is None else dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, so that `close` reaches its children.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """This process and all below it."""
        found = [self._process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                found += [int(child) for child in children.split()]
        return found

    def wait_for_port(self, port: int, seconds: float = START_SECONDS) -> None:
        """Until somebody accepts; raises BenchError with the log where nobody does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"exited with {self._process.returncode}: {self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.005)
            else:
                return
        raise BenchError(f"nobody listens after {seconds:g} s: {self.log_tail()}")

    def wait(self, seconds: float) -> None:
        """Until it ends by itself; raises BenchError where it fails or goes on."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"still running after {seconds} s: {self.log_tail()}") from None
        if status:
            raise BenchError(f"exited with {status}: {self.log_tail()}")

    def log_tail(self) -> str:
        """The end of what it wrote."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 2000))
            return log.read().decode(errors="replace").strip()

    def wait_for_children(self, count: int) -> None:
        """Until it has so many processes below it; raises BenchError where it does not."""
        deadline = time.monotonic() + _CHILDREN_SECONDS
        while len(self.pids) <= count:
            if time.monotonic() > deadline:
                raise BenchError(f"{len(self.pids) - 1} worker processes instead of {count}")
            time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """Processor time used so far, in user and system mode."""
        return sum(self.cpu_seconds_by_pid().values())

    def cpu_seconds_by_pid(self) -> dict[int, float]:
        """The same for each process."""
        found = {}
        for pid in self.pids:
            with contextlib.suppress(OSError):
                # The second field may hold spaces, and ends with the last parenthesis.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                found[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
        return found

    def memory(self) -> int:
        """Bytes resident, a page that several of its processes share counted once.

        A page that is shared with other programs too (a library's) counts in part.
        """
        return self._sum("smaps_rollup", "Pss")

    def resident(self) -> int:
        """Bytes resident, a shared page counted for each process: see `peak_resident`."""
        return self._sum("status", "VmRSS")

    def peak_resident(self) -> int:
        """`resident`, at most since the start or `forget_peak`."""
        return self._sum("status", "VmHWM")

    def forget_peak(self) -> None:
        """Begin anew with `peak_memory`."""
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def close(self) -> None:
        """Ask it to end, then make it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        # The group exists for as long as any of its members does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_STOP_SECONDS)

    def _sum(self, file: str, field: str) -> int:
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
                    if line.startswith(f"{field}:"):
                        total += int(line.split()[1]) * 1024
        return total
