"""Stored responses that all replicas share, in any cache of Django's."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from proxy.core.storability import must_validate
from proxy.fleet import entry as entries
from proxy.fleet import metrics
from proxy.fleet.clock import UNCERTAINTY_SECONDS
from proxy.fleet.errors import FleetUnavailableError
from proxy.fleet.purge_rules import RETENTION_SECONDS, Standing
from proxy.fleet.stream_id import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.core.cache.backends.base import BaseCache

    from proxy.core.messages import StoredResponse
    from proxy.fleet.clock import FleetClock
    from proxy.fleet.guard import Guard
    from proxy.fleet.purge_rules import PurgeRules
    from proxy.fleet.stream_id import StreamId

logger = logging.getLogger("s3proxy.fleet")

P = ParamSpec("P")
T = TypeVar("T")

# For all parts of a large body together; each is bounded by itself too.
_WHOLE_BODY_SECONDS = 1.0


def namespace_of(endpoint: str, bucket: str) -> str:
    """What keeps two buckets apart that share a Redis: 16 hexadecimal digits."""
    return hashlib.sha256(f"{endpoint}\n{bucket}".encode()).hexdigest()[:16]


class SecondTier:
    """Raises nothing: what is not to be had from here is to be had from the origin.

    ``most_bytes`` bounds a body; ``wall_clock`` is the clock that the responses' times are on.
    """

    def __init__(
        self,
        cache: BaseCache,
        guard: Guard,
        rules: PurgeRules,
        clock: FleetClock,
        *,
        namespace: str,
        most_bytes: int,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._guard = guard
        self._rules = rules
        self._clock = clock
        self._namespace = namespace
        self._most_bytes = most_bytes
        self._wall_clock = wall_clock

    @property
    def mark(self) -> StreamId:
        """To be taken when a fetch from the origin begins, and given to put()."""
        return self._rules.mark

    @property
    def readable(self) -> bool:
        """Is it known what purges forbid, and how old what is there has become?"""
        return self._rules.current and self._clock.now() is not None

    def name_of(self, key: str) -> str:
        """The cache key of an S3 key; memcached takes it too."""
        return f"{self._namespace}.{hashlib.sha256(key.encode()).hexdigest()[:40]}"

    def lease_name_of(self, key: str) -> str:
        """The cache key of an S3 key's lease: another one after each purge of the key.

        Who asks after a purge must not wait for what was asked for before it.
        """
        purged = self._rules.purged(key)
        return f"{self.name_of(key)}.lease" + (f".{purged}" if purged != BEGINNING else "")

    async def get(self, key: str) -> StoredResponse | None:
        """The response under an S3 key, as old as it is; it may be stale or need validation."""
        if not self.readable or self._guard.breaker.rests:
            metrics.reads["skipped"].inc()
            return None
        try:
            data = await self._guard.call(lambda: self._cache.aget(self.name_of(key)))
            if data is None:
                metrics.reads["miss"].inc()
                return None
            entry = self._decoded(data, key)
            response = entry.response
            if entry.parts:
                parts = await self._parts(key, entry.parts)
                response = await asyncio.to_thread(entry.with_parts, parts)
        except FleetUnavailableError:
            metrics.reads["error"].inc()
            return None
        except ValueError:
            metrics.reads["malformed"].inc()
            return None
        return self._as_of_now(entry, response)

    async def put(self, key: str, response: StoredResponse, mark: StreamId) -> bool:
        """Share a response whose fetch began when ``mark`` was the mark; was it stored?

        Whether it may be shared is for the caller to know.
        """
        written = self._clock.now()
        body_length = len(response.body or b"")
        if written is None or body_length > self._most_bytes:
            metrics.writes["refused"].inc()
            return False
        age = response.age(self._wall_clock())
        seconds = _worth_keeping(response, age)
        if seconds < 1:
            metrics.writes["short_lived"].inc()
            return False
        if self._rules.judge(key, mark).standing is not Standing.GOOD:
            metrics.writes["refused"].inc()
            return False
        name = self.name_of(key)
        token = secrets.token_bytes(entries.TOKEN_BYTES)
        try:
            # Large ones in a thread: their checksum and copies would hold up the event loop.
            run = asyncio.to_thread if body_length > entries.PART_BYTES else _at_once
            entry, parts = await run(entries.encode, key, response, mark, written, age, token)
        except ValueError:
            metrics.writes["refused"].inc()
            return False
        try:
            # Of what is read first, what it refers to has to be there before.
            for number, part in enumerate(parts):
                await self._set(f"{name}.{number}", part, seconds)
            await self._set(name, entry, seconds)
        except FleetUnavailableError:
            metrics.writes["error"].inc()
            return False
        metrics.writes["stored"].inc()
        return True

    async def remove(self, keys: Iterable[str]) -> None:
        """Forget the responses under these S3 keys, if Redis can be reached; raises nothing."""
        names = [self.name_of(key) for key in keys]
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            try:
                await self._guard.call(lambda some=some: self._cache.adelete_many(some))  # type: ignore[misc]
            except FleetUnavailableError:
                return

    def _decoded(self, data: object, key: str) -> entries.Entry:
        """Raises ValueError."""
        if type(data) is not bytes:
            raise ValueError(f"{type(data).__name__} instead of bytes")
        entry = entries.decode(data, self._most_bytes)
        if entry.key != key:
            raise ValueError("an entry for another key")
        return entry

    async def _set(self, name: str, value: bytes, seconds: int) -> None:
        await self._guard.write(lambda: self._cache.aset(name, value, timeout=seconds))

    async def _parts(self, key: str, count: int) -> list[bytes]:
        """Raises FleetUnavailableError, ValueError."""
        name = self.name_of(key)
        parts = []
        try:
            async with asyncio.timeout(_WHOLE_BODY_SECONDS):
                for number in range(count):
                    part = await self._guard.call(
                        lambda number=number: self._cache.aget(f"{name}.{number}")  # type: ignore[misc]
                    )
                    if type(part) is not bytes:
                        raise ValueError("a part is missing")
                    parts.append(part)
        except TimeoutError:
            raise FleetUnavailableError("no whole body in time") from None
        return parts

    def _as_of_now(self, entry: entries.Entry, response: StoredResponse) -> StoredResponse | None:
        now = self._clock.now()
        assert now is not None
        # Judged last, with all that has become known while the answer was waited for.
        verdict = self._rules.judge(entry.key, entry.mark)
        if verdict.standing is Standing.GONE or not self._rules.current:
            metrics.reads["purged"].inc()
            return None
        resident = max(0.0, now - entry.written) + UNCERTAINTY_SECONDS
        response = replace(
            response, initial_age=entry.age + resident, response_time=self._wall_clock()
        )
        if verdict.standing is Standing.UNTRUSTED:
            metrics.reads["stale"].inc()
            return must_validate(response)
        if verdict.standing is Standing.STALE:
            age_then = entry.age + max(0.0, verdict.since.seconds - entry.written)
            freshness = response.freshness
            lifetime = min(freshness.lifetime, age_then)
            response = replace(response, freshness=replace(freshness, lifetime=lifetime))
            metrics.reads["stale"].inc()
            return response
        metrics.reads["hit"].inc()
        return response


async def _at_once(encode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return encode(*args, **kwargs)


def _worth_keeping(response: StoredResponse, age: float) -> int:
    """Seconds for which the response may be of use, a day at most."""
    freshness = response.freshness
    window = max(freshness.stale_while_revalidate, freshness.stale_if_error, 0.0)
    return int(max(0.0, min(freshness.lifetime - age + window, RETENTION_SECONDS)))
