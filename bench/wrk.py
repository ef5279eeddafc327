"""Drives a server with wrk."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.machine import listed, program
from bench.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.processes import Process

# What a browser sends for an image of a page, beside Host. No Cookie: Varnish as it comes would
# not answer from its cache.
BROWSER_FIELDS: Mapping[str, str] = {
    "Connection": "keep-alive",
    "sec-ch-ua-platform": '"Linux"',
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Safari/537.36",
    "sec-ch-ua": '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Dest": "image",
    "Referer": "https://www.example.com/gallery/index.html",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
}

_REPORT = "BENCH "
_DONE = """
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '%s{"requests":%%d,"microseconds":%%d,"bytes":%%d,"p50":%%d,"p99":%%d,"p999":%%d,' ..
        '"connect":%%d,"read":%%d,"write":%%d,"status":%%d,"timeout":%%d}\\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50),
        latency:percentile(99), latency:percentile(99.9),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """These targets in this order, again and again."""

    targets: tuple[str, ...]

    def lua(self) -> str:
        """A script's part that says what is asked for."""
        listed = ",\n".join(f"    {_quoted(target)}" for target in self.targets)
        return f"""
local targets = {{
{listed}
}}
local whole, at = {{}}, 0
function init(args)
    for i, target in ipairs(targets) do whole[i] = wrk.format("GET", target) end
end
function request()
    at = at % #whole + 1
    return whole[at]
end
"""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always this target, in a request that wrk builds once."""

    target: str

    def lua(self) -> str:
        """A script's part that says what is asked for."""
        return f"\nwrk.path = {_quoted(self.target)}\n"


@dataclass(frozen=True, slots=True)
class Numbered:
    """``prefix`` with a number: a random one below ``count``, or always the next."""

    prefix: str
    count: int | None = None

    def lua(self) -> str:
        """A script's part that says what is asked for."""
        number = "at" if self.count is None else f"math.random(0, {self.count - 1})"
        # The request is the same but for the number, and formatting it anew would cost wrk more
        # than some servers need to answer it.
        return f"""
local head, tail, at = nil, nil, 0
function init(args)
    local whole = wrk.format("GET", {_quoted(self.prefix + "@")})
    local place = whole:find("@", 1, true)
    head, tail = whole:sub(1, place - 1), whole:sub(place + 1)
end
function request()
    at = at + 1
    return head .. {number} .. tail
end
"""


Asked = Fixed | Listed | Numbered


@dataclass(frozen=True, slots=True)
class Wrk:
    """A script for wrk, and how it is run."""

    script: Path
    cores: Sequence[int]
    connections: int = 64
    threads: int = 1

    def drive(self, port: int, server: Process, seconds: int) -> Measurement:
        """Send requests for a while, one at a time on each connection.

        Raises BenchError where any of them failed.
        """
        command = [
            program("taskset"), "-c", listed(self.cores), program("wrk"),
            "--threads", str(self.threads), "--connections", str(self.connections),
            "--duration", f"{seconds}s", "--timeout", "10s", "--latency",
            "--script", str(self.script), f"http://127.0.0.1:{port}",
        ]  # fmt: skip
        before = server.cpu_seconds()
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=seconds + 30, check=False
        )
        cpu = server.cpu_seconds() - before
        if done.returncode:
            raise BenchError(f"wrk exited with {done.returncode}: {done.stderr.strip()}")
        return measurement(done.stdout, cpu_seconds=cpu, memory=server.memory())


def script(asked: Asked, fields: Mapping[str, str]) -> str:
    """A wrk script that sends ``fields`` with every request."""
    lines = [f"wrk.headers[{_quoted(name)}] = {_quoted(fields[name])}" for name in fields]
    return "\n".join(lines) + asked.lua() + _DONE % _REPORT


def measurement(output: str, *, cpu_seconds: float, memory: int) -> Measurement:
    """What a run's output says; raises BenchError where it says nothing or reports errors."""
    report = _report(output.splitlines())
    errors = {
        name: report[name]
        for name in ("connect", "read", "write", "status", "timeout")
        if report[name]
    }
    if errors:
        raise BenchError(f"wrk saw errors: {errors}")
    if not report["requests"]:
        raise BenchError("wrk had no answer at all")
    seconds = report["microseconds"] / 1e6
    return Measurement(
        requests=report["requests"],
        seconds=seconds,
        received=report["bytes"],
        p50=report["p50"] / 1e6,
        p99=report["p99"] / 1e6,
        p999=report["p999"] / 1e6,
        cpu=cpu_seconds / seconds,
        memory=memory,
    )


def _report(lines: Sequence[str]) -> dict[str, Any]:
    for line in reversed(lines):
        if line.startswith(_REPORT):
            found = json.loads(line.removeprefix(_REPORT))
            if isinstance(found, dict):
                return found
    raise BenchError("wrk's output has no report: " + " / ".join(lines[-5:]))


def _quoted(text: str) -> str:
    """A Lua string; the texts are ours, without line ends."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
