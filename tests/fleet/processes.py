"""Three replicas as real processes, on one Valkey and in front of one bucket."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Self

from tests.admin_api.test_metrics import samples
from tests.fleet.crowd import Floor, Seen, ask
from tests.fleet.forwarder import Forwarder
from tests.fleet.versions import Bucket
from tests.origins import ScriptedOrigin
from tests.origins.valkey_site import ValkeySite
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

_CACHE_STATUSES = ("hits", "misses", "stale", "revalidated")


class ReplicaFleet:
    """``replicas``, of which the last reaches Valkey through ``forwarder``."""

    def __init__(self, count: int = 3, workers: int = 2, **environ: str) -> None:
        self._open = contextlib.ExitStack()
        self.workers = workers
        self._environ = environ
        try:
            self.valkey = self._open.enter_context(ValkeySite())
            self.origin = self._open.enter_context(ScriptedOrigin())
            self.forwarder = self._open.enter_context(Forwarder(self.valkey.port))
            self.bucket = Bucket(self.origin)
            urls = [self.valkey.url] * (count - 1) + [self.forwarder.url]
            with ThreadPoolExecutor(count) as pool:
                starting = [pool.submit(self.start, url) for url in urls]
            self.replicas = [each.result() for each in starting]
            self.settle()
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start(self, url: str | None = None) -> Served:
        """One more replica."""
        environ = {
            "WEB_CONCURRENCY": str(self.workers),
            "REDIS_URL": url or self.valkey.url,
            # Nothing stale may be sent, so that what is sent is known to be allowed.
            "CACHE_STALE_TTL": "0s",
            "ACCESS_LOG": "off",
        }
        served = Served(self.origin.environ() | environ | self._environ)
        self._open.callback(served.close)
        return served

    def settle(self, replicas: Sequence[Served] | None = None) -> None:
        """Wait until every worker follows the stream and asks Redis."""
        for replica in self.replicas if replicas is None else replicas:
            eventually(partial(self._is_well, replica), 20)

    def _is_well(self, replica: Served) -> bool:
        found = samples(replica)
        states = [row["state"] for row in replica.admin("GET", "/cache/stats").json()["workers"]]
        return (
            states == ["ready"] * self.workers
            and found["proxy_fleet_following", ()] == 1
            and found["proxy_fleet_breaker_state", (("calls", "all"),)] == 0
        )

    def ask_all(
        self, key: str, each: int = 1, replicas: Sequence[Served] | None = None
    ) -> list[Seen]:
        """So many GETs to each replica, all at once, each on a connection of its own."""
        targets = list(self.replicas if replicas is None else replicas) * each
        with ThreadPoolExecutor(len(targets)) as pool:
            return list(pool.map(lambda replica: ask(replica, key), targets))

    def gives(self, key: str, version: int, replicas: Sequence[Served]) -> bool:
        """Do these replicas give this version of a key, and no other?"""
        return {seen.version for seen in self.ask_all(key, 2, replicas)} == {version}

    def warm(self, *keys: str) -> None:
        """Every replica has the keys in its own memory, and so has the second tier."""
        for key in keys:
            for replica in self.replicas:
                ask(replica, key)
                eventually(partial(_has, replica, key))


def _has(replica: Served, key: str) -> bool:
    return ask(replica, key).x_cache == "HIT"


def purge(replica: Served, key: str, **options: object) -> httpx.Response:
    """The answer to a purge of a key."""
    return replica.admin("POST", "/cache/purge", json={"keys": [key], **options})


def floors(replicas: Sequence[Served], key: str, version: int, since: float) -> list[Floor]:
    """No replica may give an older version to requests that begin later."""
    return [Floor(replica.port, key, version, since) for replica in replicas]


def counted(replica: Served) -> dict[str, float]:
    """How many answers for objects the replica says it has given, by cache status."""
    found = samples(replica)
    return {status: found[f"proxy_cache_{status}_total", ()] for status in _CACHE_STATUSES}


def eventually(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Waits for a condition that nobody announces; raises AssertionError if it does not come."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.02)
