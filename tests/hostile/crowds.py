"""Crowds of clients that do nothing, or little, and what they cost everybody else.

The full counts need some minutes and RLIMIT_NOFILE above 10,500, in the client and in the proxy:

    python -m tests.hostile.crowds --idle 10000 --half 10000 --slow 2000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import select
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests import environment
from tests.raw_http import RawConnection
from tests.server.conversation import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.served.process import Served

LARGE = 16 * 2**20  # MAX_OBJECT_SIZE
_ROUNDS = 400
_PIECE = 16 * 1024
_SIPS = 4
_RECEIVE_BUFFER = 16 * 1024
# Files that are open anyway.
_SPARE = 300


@dataclass(frozen=True, slots=True)
class Cost:
    """What a crowd cost: latencies of a hit in seconds, memory of the proxy in bytes.

    ``held`` are the seconds for which its members were left alone after they had last done
    something, the shortest and the longest.
    """

    members: int
    latency_before: float
    latency_meanwhile: float
    memory_before: int
    memory_meanwhile: int
    memory_after: int
    held: tuple[float, float]

    @property
    def slowdown(self) -> float:
        return self.latency_meanwhile / self.latency_before

    @property
    def bytes_each(self) -> float:
        return (self.memory_meanwhile - self.memory_before) / self.members

    def __str__(self) -> str:
        return (
            f"{self.members} members: hits {self.latency_before * 1e6:.0f} us before, "
            f"{self.latency_meanwhile * 1e6:.0f} us meanwhile (x{self.slowdown:.2f}); "
            f"{self.bytes_each / 1024:.1f} KiB each, {self.memory_before >> 20} MiB before, "
            f"{self.memory_meanwhile >> 20} meanwhile, {self.memory_after >> 20} after; "
            f"closed after {self.held[0]:.2f} to {self.held[1]:.2f} s"
        )


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    with open(f"/proc/{pid}/statm") as statm:  # noqa: PTH123 - no path, a question
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def median_latency(served: Served, rounds: int = _ROUNDS) -> float:
    """Of hits over one connection, in seconds."""
    with RawConnection("127.0.0.1", served.port, timeout=30) as client:
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            client.send(request("/small"))
            assert client.read_response().status == 200
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def idle(client: RawConnection) -> None:
    """Asks once, then nothing more."""
    client.send(request("/small"))
    assert client.read_response().status == 200


def half(client: RawConnection) -> None:
    """Begins a head."""
    client.send(request("/small")[:-3])


def slow(client: RawConnection) -> None:
    """Asks for a large object, and takes its beginning."""
    client.send(request("/large"))
    client.read_head()


def sip(client: RawConnection) -> None:
    """Takes some of what is there, so that the kernel asks the proxy for as much again at once."""
    client.sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(_SIPS):
            client.sock.recv(_PIECE)


def gather(
    served: Served,
    members: int,
    join: Callable[[RawConnection], None],
    *,
    go_on: Callable[[RawConnection], None] | None = None,
    within: float = 120.0,
) -> Cost:
    """Let a crowd come, look at it, and wait until the proxy is rid of it.

    ``go_on`` is what each member does once more while the others are served. Raises
    AssertionError if somebody is still there after ``within`` seconds.
    """
    before, memory_before = median_latency(served), resident_bytes(served.process.pid)
    with contextlib.ExitStack() as stack, _watching() as (watch, closed):
        last_did: dict[int, float] = {}
        crowd: list[RawConnection] = []
        for _ in range(members):
            client = RawConnection(
                "127.0.0.1", served.port, timeout=30, receive_buffer=_RECEIVE_BUFFER
            )
            stack.callback(client.close)
            join(client)
            last_did[client.sock.fileno()] = time.monotonic()
            crowd.append(client)
            watch(client)
        for client in crowd if go_on is not None else ():
            assert go_on is not None
            go_on(client)
            last_did[client.sock.fileno()] = time.monotonic()
        meanwhile, memory_meanwhile = median_latency(served), resident_bytes(served.process.pid)
        ended = closed(members, within)
        held = sorted(ended[number] - last_did[number] for number in last_did)
    # What they asked for last is answered, and their memory given back.
    median_latency(served, 10)
    memory_after = resident_bytes(served.process.pid)
    span = (held[0], held[-1])
    return Cost(members, before, meanwhile, memory_before, memory_meanwhile, memory_after, span)


@contextlib.contextmanager
def _watching() -> Iterator[
    tuple[Callable[[RawConnection], None], Callable[[int, float], dict[int, float]]]
]:
    """Tells when the other end closes or resets, without reading anything."""
    with select.epoll() as poll:

        def watch(client: RawConnection) -> None:
            poll.register(client.sock.fileno(), select.EPOLLRDHUP | select.EPOLLONESHOT)

        def closed(members: int, within: float) -> dict[int, float]:
            ended: dict[int, float] = {}
            deadline = time.monotonic() + within
            while len(ended) < members:
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"{members - len(ended)} are still there after {within} s"
                for number, _ in poll.poll(remaining, maxevents=1024):
                    ended.setdefault(number, time.monotonic())
            return ended

        yield watch, closed


def main() -> int:
    """Prints a line a crowd."""
    environment.apply(os.environ)
    from tests.origins import ScriptedOrigin, respond
    from tests.served.process import Served

    arguments = argparse.ArgumentParser(prog="python -m tests.hostile.crowds")
    arguments.add_argument("--idle", type=int, default=10_000)
    arguments.add_argument("--half", type=int, default=10_000)
    arguments.add_argument("--slow", type=int, default=2_000)
    counts = arguments.parse_args()
    files = max(counts.idle, counts.half, counts.slow) + _SPARE
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < files:
        print(f"{files} open files are needed, {most} are allowed: ulimit -Hn")  # noqa: T201
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    # Long enough that nobody is closed before the last has come.
    patience = {"IDLE_TIMEOUT": "30s", "READ_TIMEOUT": "30s", "WRITE_TIMEOUT": "20s"}
    quiet = {"ACCESS_LOG": "off"}
    with ScriptedOrigin() as origin:
        origin.on("small", respond(200, b"hello"))
        origin.on("large", respond(200, b"x" * LARGE))
        with Served(origin.environ() | patience | quiet) as served:
            served.get("/large").raise_for_status()
            for name, members, join, go_on in (
                ("idle", counts.idle, idle, None),
                ("half a head", counts.half, half, None),
                ("slow readers", counts.slow, slow, sip),
            ):
                if members:
                    cost = gather(served, members, join, go_on=go_on)
                    print(f"{name}: {cost}", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
