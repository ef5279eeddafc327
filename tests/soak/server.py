"""A proxy under test: `manage.py serve`, its ends by every signal, its numbers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from itertools import count
from typing import TYPE_CHECKING

from tests.served.process import Served
from tests.soak import accounts, processes
from tests.soak.clients import Seen
from tests.soak.judge import CACHE_TTL_SECONDS, NEGATIVE_TTL_SECONDS, STALE_TTL_SECONDS
from tests.soak.objects import MAX_OBJECT_SIZE
from tests.soak.troubles import Kill

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from tests.soak.origin import SoakOrigin
    from tests.soak.troubles import Troubles

REPLACED_SECONDS = 20.0
_starts = count(1)


class Server:
    """One `serve` from its start to its end; of replicas, the one with a ``number``."""

    def __init__(self, number: int, served: Served, sent: Counter[str], troubles: Troubles) -> None:
        self.number = number
        self.served = served
        # What the origin sent to it, and what clients received of it.
        self.sent = sent
        self.seen = Seen()
        # Requests that were in flight on its workers as they were killed.
        self.lost = 0
        # Bytes that clients had of them, which they may not have counted yet.
        self.lost_bytes = 0
        self._troubles = troubles
        self.pid = served.process.pid
        self.samples: list[processes.Usage] = []
        self.quiet: list[processes.Usage] = []
        # Body bytes of answers to us, which the server counts as it does the clients'.
        self.admin_bytes = 0
        self.last: accounts.Metrics = {}

    @classmethod
    async def start(
        cls,
        number: int,
        origin: SoakOrigin,
        workers: int,
        temporary: Path,
        troubles: Troubles,
        redis_url: str | None = None,
    ) -> Server:
        """Raises RuntimeError if it does not answer."""
        # Another one for each, so that the origin can tell them apart.
        access_key = f"key-{next(_starts)}"
        environ = origin.environ(access_key) | {
            "WEB_CONCURRENCY": str(workers),
            "CACHE_TTL": f"{CACHE_TTL_SECONDS}s",
            "CACHE_STALE_TTL": f"{STALE_TTL_SECONDS}s",
            "CACHE_NEGATIVE_TTL": f"{NEGATIVE_TTL_SECONDS}s",
            "CACHE_CAPACITY": "150",
            "CACHE_MAX_BYTES": "24MiB",
            "MAX_OBJECT_SIZE": str(MAX_OBJECT_SIZE),
            "REQUEST_TIMEOUT": "3s",
            "ACCESS_LOG": "off",
            "LOG_LEVEL": "error",
        }
        if redis_url is not None:
            environ["REDIS_URL"] = redis_url
        served = await asyncio.to_thread(Served, environ, temporary=temporary)
        return cls(number, served, origin.sent[access_key], troubles)

    @property
    def port(self) -> int:
        return self.served.port

    def sample(self) -> processes.Usage:
        return processes.usage(self.pid, time.monotonic())

    async def metrics(self) -> accounts.Metrics:
        """Raises httpx.HTTPError, AssertionError."""
        response = await asyncio.to_thread(self.served.admin, "GET", "/metrics")
        assert response.status_code == 200, response.text
        self.admin_bytes += len(response.content)
        return accounts.parse(response.text)

    async def is_well(self) -> bool:
        """Do all its workers follow the stream of purges, and ask Valkey?"""
        found = await self.metrics()
        return found["proxy_fleet_following"] == 1 and not any(
            value for name, value in found.items() if name.startswith("proxy_fleet_breaker_state")
        )

    async def workers(self) -> set[int]:
        """The process ids of the workers; raises httpx.HTTPError."""
        response = await asyncio.to_thread(self.served.admin, "GET", "/cache/stats")
        assert response.status_code == 200, response.text
        self.admin_bytes += len(response.content)
        return {worker["pid"] for worker in response.json()["workers"]}

    def kill_worker(self, pid: int) -> frozenset[int]:
        """End a worker with SIGKILL; the clients' ports whose connections it held."""
        # Stopped first, so that it accepts nothing between the look at what it holds and its end.
        os.kill(pid, signal.SIGSTOP)
        others = [each for each in processes.tree(self.pid) if each != pid]
        ports = processes.client_ports(pid, self.port, others)
        self._troubles.kills.append(Kill(time.monotonic(), ports))
        os.kill(pid, signal.SIGKILL)
        return ports

    async def replaced(self, gone: set[int], count: int) -> bool:
        """Are there `count` workers, none of `gone`, within the time for it?"""
        deadline = time.monotonic() + REPLACED_SECONDS
        while time.monotonic() < deadline:
            alive = set(processes.tree(self.pid))
            if not gone & alive and len(await self.workers() & alive - gone) == count:
                return True
            await asyncio.sleep(0.1)
        return False

    def tracebacks(self) -> list[str]:
        """Lines of the log that show a defect."""
        return [
            line[:3000]
            for line in self.served.lines
            if "Traceback" in line or "exc_info" in line or "defect of the proxy" in line
        ]
