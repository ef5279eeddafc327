"""The stream of purges as Redis keeps it: a method for each thing that is asked of the server.

A stream that vanishes begins anew with an entry that says "lost", because nobody adds a purge to a
stream that is not there. Whatever fails raises FleetUnavailableError.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import ResponseError

from proxy.fleet import purge_message
from proxy.fleet.clients import client
from proxy.fleet.purge_rules import RETENTION_SECONDS
from proxy.fleet.stream_id import StreamId

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from proxy.fleet.clock import FleetClock
    from proxy.fleet.guard import Guard

# What a replica that starts has to read. Approximate: the server trims whole nodes.
MOST_ENTRIES = 20_000
# Entries that are read at once, at the most.
BATCH = 64
_BLOCK_SECONDS = 1.0
# No request waits for the reader, so it may wait for long answers.
_READER_SECONDS = 2.0

Entries: TypeAlias = list[tuple[bytes, dict[bytes, bytes]]]


class DetachedError(Exception):
    """The stream is not what it was; attach again."""


class RedisStream:
    """While the breaker is open, only what the reader asks is sent."""

    def __init__(self, url: str, namespace: str, guard: Guard, clock: FleetClock) -> None:
        self._url = url
        self._name = f"s3proxy:{namespace}:purges"
        self._run_name = f"s3proxy:{namespace}:run"
        self._guard = guard
        self._clock = clock

    async def add(self, fields: dict[Any, Any]) -> StreamId:
        """Add a purge's entry, and trim what is too old."""
        return await self._guard.write(lambda: self._add(fields))

    async def add_lost(self) -> StreamId:
        """Add an entry that says that purges may have been lost before it."""
        return await self._guard.write(self._add_lost)

    async def insist_on_lost(self) -> None:
        """As add_lost(), from the reader."""
        await self._insist(self._reader.xadd(self._name, _lost()))

    async def set_clock(self) -> None:
        """Set the fleet's clock by the server's."""
        asked = time.monotonic()
        seconds, microseconds = await self._insist(self._reader.time(), bound=self._guard.bound)
        self._clock.set(seconds + microseconds / 1e6, asked, time.monotonic())

    async def run(self) -> bytes:
        """Which run of the server it is: another one may have forgotten what it was told last."""
        about = await self._insist(self._reader.info("server"))
        return str(about.get("run_id", "unknown")).encode()

    async def known_run(self) -> bytes | None:
        """The run of the server that the stream was last known to be whole in."""
        known: bytes | None = await self._insist(self._reader.get(self._run_name))
        return known

    async def know_run(self, run: bytes) -> None:
        """From now on the stream is known to be whole in this run."""
        await self._insist(self._reader.set(self._run_name, run))

    async def ends(self) -> tuple[StreamId | None, StreamId | None]:
        """(id of the first entry, last id given out), None where there is no stream."""

        async def ask() -> dict[str, Any] | None:
            try:
                about: dict[str, Any] = await self._reader.xinfo_stream(self._name)
            except ResponseError as error:
                if "no such key" in str(error):
                    return None
                raise
            return about

        about = await self._guard.insist(ask, bound=_READER_SECONDS)
        if about is None or about["first-entry"] is None:
            return None, None
        return StreamId.parse(about["first-entry"][0]), StreamId.parse(about["last-generated-id"])

    async def holds(self, at: StreamId) -> bool:
        """Is there an entry of this id?"""
        found = await self._insist(self._reader.xrange(self._name, str(at), str(at), count=1))
        return bool(found)

    async def entries_after(self, at: StreamId) -> Entries:
        """A batch of what there is already, in order."""
        entries: Entries = await self._insist(
            self._reader.xrange(self._name, f"({at}", "+", count=BATCH)
        )
        return entries

    async def next_after(self, at: StreamId) -> Entries:
        """A batch of what is there or comes within a second; empty where nothing does."""
        redis = client(self._url, _BLOCK_SECONDS + _READER_SECONDS)
        answer = await self._insist(
            redis.xread({self._name: str(at)}, count=BATCH, block=int(_BLOCK_SECONDS * 1000)),
            # Longer than it blocks by what an answer may take.
            bound=_BLOCK_SECONDS + 2 * self._guard.bound,
        )
        return [entry for _name, entries in answer for entry in entries]

    @property
    def _reader(self) -> Redis:
        return client(self._url, _READER_SECONDS)

    async def _insist(self, answer: Any, *, bound: float = _READER_SECONDS) -> Any:
        async def ask() -> Any:
            return await answer

        return await self._guard.insist(ask, bound=bound)

    async def _add(self, fields: dict[Any, Any]) -> StreamId:
        redis = client(self._url)
        added = await self._try_to_add(redis, fields)
        if added is None:
            await self._add_lost()
            added = await self._try_to_add(redis, fields)
        if added is None:
            raise DetachedError("the stream vanishes")
        return StreamId.parse(added)

    async def _try_to_add(self, redis: Redis, fields: dict[Any, Any]) -> bytes | None:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.xadd(self._name, fields, nomkstream=True, maxlen=MOST_ENTRIES)
            now = self._clock.now()
            if now is not None:
                oldest = int((now - RETENTION_SECONDS) * 1000)
                pipe.xtrim(self._name, minid=f"{max(0, oldest)}-0")
            added: bytes | None = (await pipe.execute())[0]
        return added

    async def _add_lost(self) -> StreamId:
        added = await client(self._url).xadd(self._name, _lost(), maxlen=MOST_ENTRIES)
        return StreamId.parse(added)


def _lost() -> dict[Any, Any]:
    return dict(purge_message.LOST)
