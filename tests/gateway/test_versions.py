"""Whatever happens in whatever order, no reply is a wrong one.

Nothing past its windows is served, nothing purged, no mixture of two versions, no torso.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from proxy.cache.backend import MemoryCache
from proxy.core.freshness import Policy
from proxy.core.messages import Request
from proxy.core.ranges import parse_content_range
from proxy.purge import Purge
from tests.gateway.honest_s3 import HonestS3, Version
from tests.gateway.subject import Clock, Reply, gateway_on, reply_of, store_on

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

TTL, SWR, SIE, NEGATIVE, MAX = 100.0, 30.0, 400.0, 5.0, 64
KEYS = ("a",)
SIZES = (None, 0, 10, MAX, MAX + 1, 200)
WISHES = (
    "",
    "",
    "",
    "range: bytes=0-4",
    "range: bytes=-3",
    "range: bytes=40-",
    "cache-control: no-cache",
    "cache-control: no-store",
    "cache-control: max-age=20",
    "cache-control: only-if-cached",
)


@dataclass
class Asked:
    """A request with what was so when it began."""

    key: str
    method: str
    wish: str
    task: asyncio.Task[Reply]
    # No exchange that it may be answered by read the object before this tick.
    floor: int
    purged: int
    soft_purged: int
    trouble: bool


@dataclass
class Purges:
    """The ticks of the last purges of a key, and what was in flight then."""

    hard: int = 0
    soft: int = 0
    orphans: set[int] = field(default_factory=set)


class Versions(RuleBasedStateMachine):
    """Drives a gateway on a model of S3."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.asked: list[Asked] = []
        self.purges = {key: Purges() for key in KEYS}

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        async def build() -> None:
            self.s3 = HonestS3(self.clock, KEYS)
            cache = MemoryCache(f"versions-{uuid.uuid4().hex}", {"OPTIONS": {"CLOCK": self.clock}})
            policy = Policy(TTL, SWR, SIE, NEGATIVE, MAX)
            self.gateway = gateway_on(store_on(cache), self.s3, policy, self.clock)

        self.run(build())

    def teardown(self) -> None:
        async def close() -> None:
            self.s3.gate.set()
            await self.gateway.aclose()
            await asyncio.gather(*(asked.task for asked in self.asked), return_exceptions=True)

        self.run(close())
        self.runner.close()

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from(SIZES))
    def put(self, key: str, size: int | None) -> None:
        self.s3.put(key, size)

    @rule(seconds=st.sampled_from((0.5, 4, 6, 50, 99, 101, 131, 501)))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(trouble=st.sampled_from((None, None, "fails", "breaks")))
    def origin_gets_into_trouble_or_out_of_it(self, trouble: str | None) -> None:
        self.s3.fails, self.s3.breaks = trouble == "fails", trouble == "breaks"
        for asked in self.asked:
            asked.trouble = True

    @rule(key=st.sampled_from(KEYS), soft=st.booleans(), how=st.sampled_from(("key", "prefix")))
    def purge(self, key: str, soft: bool, how: str) -> None:
        self.s3.tick += 1
        purges = self.purges[key]
        purges.orphans |= set(self.s3.reading[key])
        if soft:
            purges.soft = self.s3.tick
        else:
            purges.hard = self.s3.tick
        keys = frozenset({key}) if how == "key" else frozenset()
        prefixes = () if how == "key" else (key,)

        async def carry_out() -> None:
            await self.gateway.purge(Purge(keys=keys, prefixes=prefixes, soft=soft))

        self.run(carry_out())

    @precondition(lambda self: self.s3.gate.is_set())
    @rule()
    def origin_waits(self) -> None:
        self.s3.gate.clear()

    @precondition(lambda self: not self.s3.gate.is_set())
    @rule()
    def origin_goes_on(self) -> None:
        self.s3.gate.set()
        self.run(self._settle())

    @rule(
        key=st.sampled_from(KEYS),
        method=st.sampled_from(("GET", "GET", "GET", "HEAD")),
        wish=st.sampled_from(WISHES),
    )
    def get(self, key: str, method: str, wish: str) -> None:
        async def ask() -> None:
            name, _, value = wish.partition(": ")
            fields = [(name.encode(), value.encode())] if wish else []
            request = Request.from_fields(method, key, fields)

            async def whole() -> Reply:
                return await reply_of(await self.gateway.answer(request))

            self.s3.tick += 1
            purges = self.purges[key]
            joinable = [tick for tick in self.s3.reading[key] if tick not in purges.orphans]
            self.asked.append(
                Asked(
                    key,
                    method,
                    wish,
                    asyncio.create_task(whole()),
                    min([self.s3.tick, *joinable, *self._streaming_since(key)]),
                    purges.hard,
                    purges.soft,
                    self.s3.fails or self.s3.breaks,
                )
            )
            await self._settle()

        self.run(ask())

    def _streaming_since(self, key: str) -> list[int]:
        """The ticks since which bodies that may be joined have been on their way."""
        flight = self.gateway._fetcher.flights.get(key)
        if flight is None or not flight._outcome.done():
            return []
        # Read before its head came, after the last purge: any tick in between will do.
        purges = self.purges[key]
        return [max(purges.hard, purges.soft)]

    async def _settle(self) -> None:
        """Let everything happen that can, then look at the replies that are there."""
        for _ in range(60):
            await asyncio.sleep(0)
        waiting = not self.s3.gate.is_set()
        for asked in list(self.asked):
            if waiting and not asked.task.done():
                continue
            reply = await asyncio.wait_for(asked.task, 5)
            self.asked.remove(asked)
            self._judge(asked, reply)
        for _ in range(1000):
            # A flight may take some turns more than those who got what they came for.
            if waiting or not len(self.gateway._fetcher.flights):
                break
            await asyncio.sleep(0)

    def _judge(self, asked: Asked, reply: Reply) -> None:
        if reply.error is not None or reply.status in (502, 504):
            refused = reply.status == 504 and "only-if-cached" in asked.wish
            assert refused or asked.trouble or self._overwritten(asked), reply
            return
        candidates = [
            version
            for version in self.s3.history[asked.key]
            if (reply.status == 404) == (version.body is None)
            and (reply.status in (404, 416) or version.etag == reply.headers["etag"])
        ]
        assert any(self._may_be(asked, reply, version) for version in candidates), reply
        if reply.status in (200, 206):
            (version,) = candidates
            self._is_whole(asked, reply, version)

    def _overwritten(self, asked: Asked) -> bool:
        return self.s3.history[asked.key][-1].from_tick > asked.floor

    def _may_be(self, asked: Asked, reply: Reply, version: Version) -> bool:
        """Was the version there late enough for this reply?"""
        since = self.clock.now - version.until_time
        if version.until_tick <= asked.purged:
            return False
        lifetime = NEGATIVE if version.body is None else TTL
        match reply.cache:
            case "HIT":
                return since < lifetime and version.until_tick > asked.soft_purged
            case "STALE" if "hit" in reply.cache_status:
                return since < TTL + SWR
            case "STALE":
                return since < TTL + SIE
        return version.until_tick > asked.floor

    def _is_whole(self, asked: Asked, reply: Reply, version: Version) -> None:
        assert version.body is not None
        expected = version.body
        if reply.status == 206:
            part = parse_content_range(reply.headers["content-range"])
            assert part is not None
            assert part[2] == len(version.body)
            expected = version.body[part[0] : part[1] + 1]
        assert int(reply.headers["content-length"]) == len(expected)
        assert reply.body == (b"" if asked.method == "HEAD" else expected)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        if hasattr(self, "s3") and self.s3.gate.is_set():
            assert not self.asked
            assert len(self.gateway._fetcher.flights) == 0


Versions.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestVersions = Versions.TestCase
