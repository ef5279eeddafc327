"""Clients of all replicas, which write down what each of them was given, and when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from tests.background import Background
from tests.fleet import versions
from tests.raw_http import RawConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.served.process import Served


@dataclass(frozen=True, slots=True)
class Seen:
    """One response; times are those of time.monotonic()."""

    port: int
    key: str
    version: int
    x_cache: str
    began: float
    ended: float


def ask(served: Served, key: str, timeout: float = 20.0) -> Seen:
    """GET on a connection of its own, so that any worker may get it; raises AssertionError."""
    with RawConnection("127.0.0.1", served.port, timeout=timeout) as connection:
        return ask_on(connection, served.port, key)


def ask_on(connection: RawConnection, port: int, key: str) -> Seen:
    """GET; raises AssertionError for anything but a whole object."""
    began = time.monotonic()
    connection.get(f"/{key}")
    response = connection.read_response()
    ended = time.monotonic()
    assert response.complete
    assert response.status == 200, (response.status, response.headers, response.body)
    told = versions.read(response.body)
    assert told.key == key
    x_cache = response.header("X-Cache")
    assert x_cache is not None
    return Seen(port, key, told.version, x_cache.decode(), began, ended)


class Crowd(Background):
    """Threads that ask for some keys of some replicas in turn until the block is left.

    Every other one keeps its connection; the others open one for each request. A short pause
    between requests leaves the machine to the servers.
    """

    def __init__(
        self, replicas: Sequence[Served], keys: Sequence[str], *, each: int = 2, pause: float = 0.01
    ) -> None:
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self._keys = list(keys)
        self._pause = pause
        targets = [
            partial(self._until_over, replica, number)
            for replica in replicas
            for number in range(each)
        ]
        super().__init__(targets, join_seconds=30)

    @property
    def slowest(self) -> float:
        """Seconds that the slowest response took."""
        with self.lock:
            return max((seen.ended - seen.began for seen in self.seen), default=0.0)

    def count(self) -> int:
        """How many responses came."""
        with self.lock:
            return len(self.seen)

    def wait_for_more(self, count: int, timeout: float = 10.0) -> None:
        """Until so many more responses have come; raises AssertionError."""
        goal, deadline = self.count() + count, time.monotonic() + timeout
        while self.count() < goal:
            assert time.monotonic() < deadline, f"{self.count()} of {goal} responses"
            time.sleep(0.01)

    def forget(self) -> None:
        """Begin the list anew."""
        with self.lock:
            self.seen.clear()

    def _until_over(self, replica: Served, number: int) -> None:
        keys = cycle(self._keys[number:] + self._keys[:number])
        kept = RawConnection("127.0.0.1", replica.port, timeout=20.0) if number % 2 else None
        try:
            while not self.over.wait(self._pause):
                key = next(keys)
                seen = ask(replica, key) if kept is None else ask_on(kept, replica.port, key)
                with self.lock:
                    self.seen.append(seen)
        except Exception as error:  # noqa: BLE001 - any is one too many
            with self.lock:
                self.errors.append(f"port {replica.port}: {error!r}")
        finally:
            if kept is not None:
                kept.close()


@dataclass(frozen=True, slots=True)
class Floor:
    """From ``since`` on a replica may give no older version of a key."""

    port: int
    key: str
    version: int
    since: float


def forbidden(seen: Iterable[Seen], floors: Iterable[Floor]) -> list[Seen]:
    """The responses to requests that began when their versions were forbidden already."""
    by_place: dict[tuple[int, str], list[Floor]] = {}
    for floor in floors:
        by_place.setdefault((floor.port, floor.key), []).append(floor)
    return [
        each
        for each in seen
        if any(
            each.began >= floor.since and each.version < floor.version
            for floor in by_place.get((each.port, each.key), ())
        )
    ]


def old_after_new(seen: Iterable[Seen]) -> list[Seen]:
    """Responses to requests that began after their replica had given a newer version."""
    wrong = []
    by_place: dict[tuple[int, str], list[Seen]] = {}
    for each in seen:
        by_place.setdefault((each.port, each.key), []).append(each)
    for place in by_place.values():
        by_end = sorted(place, key=lambda each: each.ended)
        newest, ended = 0, 0
        for each in sorted(place, key=lambda each: each.began):
            while ended < len(by_end) and by_end[ended].ended < each.began:
                newest = max(newest, by_end[ended].version)
                ended += 1
            if each.version < newest:
                wrong.append(each)
    return wrong
