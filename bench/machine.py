"""What the measurements are made on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]

_PACKAGES = ("django", "uvicorn", "uvloop", "httptools", "aiohttp", "botocore")
# Debian's package by program, and what makes the program say its version.
_PROGRAMS = {
    "nginx": ("nginx", "-v"),
    "varnishd": ("varnish", "-V"),
    "wrk": ("wrk", "-v"),
    "taskset": ("util-linux", "-V"),
}
_BUSY_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for whoever is measured, one for everything else.

    ``servers`` are for whoever needs several, ``clients`` for everything else then. Below four
    cores both are all there are: see ``apart``.
    """

    server: int
    client: int
    servers: tuple[int, ...]
    clients: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Has nobody but the servers a part in ``servers``?"""
        return not set(self.servers) & set(self.clients)


def cores() -> Cores:
    """How the cores that we may use are divided; raises BenchError where there is one only."""
    return divided(sorted(os.sched_getaffinity(0)))


def divided(allowed: Sequence[int]) -> Cores:
    """The last half for servers, the first for clients; raises BenchError for less than two."""
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the server, one for the client")
    half = len(allowed) // 2
    enough = len(allowed) >= 4
    return Cores(
        server=allowed[-1],
        client=allowed[0],
        servers=tuple(allowed[half:] if enough else allowed),
        clients=tuple(allowed[:half] if enough else allowed),
    )


def listed(cores: Sequence[int]) -> str:
    """Cores as taskset takes them."""
    return ",".join(map(str, cores))


def program(name: str) -> str:
    """The path of a program; raises BenchError that names its package."""
    # Where Debian keeps servers, which is not on every user's PATH.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        package = _PROGRAMS[name][0]
        raise BenchError(f"{name} is not installed: apt-get install {package}")
    return found


def missing(names: list[str]) -> list[str]:
    """What there is to say about programs that are not there."""
    said = []
    for name in names:
        try:
            program(name)
        except BenchError as exc:
            said.append(str(exc))
    return said


def warnings() -> list[str]:
    """What makes the numbers of this run doubtful before it began."""
    load = os.getloadavg()[0]
    if load < _BUSY_LOAD:
        return []
    return [f"the machine was not idle when the run began (load average {load:.2f})"]


def description(names: list[str]) -> dict[str, str]:
    """Processor, system and versions, for the record."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
    }
    found |= {package: version(package) for package in _PACKAGES}
    found |= {name: _output(program(name), _PROGRAMS[name][1]) for name in names}
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    """The first line that a command writes; some write their version to standard error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except OSError:
        return "unknown"
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0].strip() if lines else "unknown"
