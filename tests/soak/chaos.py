"""What happens to proxy and origin while clients ask: writes, purges, faults, signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.soak.clients import post
from tests.soak.origin import Fault
from tests.soak.troubles import Trouble

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable

    from tests.origins.valkey_site import ValkeySite
    from tests.soak.clients import Clients
    from tests.soak.judge import Judge
    from tests.soak.objects import Bucket, History, Version
    from tests.soak.origin import SoakOrigin
    from tests.soak.server import Server
    from tests.soak.troubles import Troubles

_WRITES_A_SECOND = 12
_FAULT_SECONDS, _WELL_SECONDS = 1.5, 3.0
_REFUSE = "refuse"
_VALKEY_AWAY_SECONDS, _WELL_AGAIN_SECONDS = 2.0, 20.0


@dataclass(slots=True)
class Chaos:
    """Everything that befalls the current servers; `done` counts it."""

    bucket: Bucket
    origin: SoakOrigin
    clients: Clients
    judge: Judge
    troubles: Troubles
    rng: random.Random
    servers: list[Server]
    # None where there is one server alone.
    valkey: ValkeySite | None
    workers: int
    done: Counter[str]
    # Held while something is done that must not coincide with an audit.
    writing: asyncio.Lock

    async def write(self) -> None:
        """Write versions and purge, for ever."""
        while True:
            await asyncio.sleep(self.rng.expovariate(_WRITES_A_SECOND))
            async with self.writing:
                await self._write_once()

    async def _write_once(self) -> None:
        rng = self.rng
        history = self.bucket.choose()
        written = [history]
        if (cause := rng.random()) < 0.1:
            written += [self.bucket.choose() for _ in range(3)]
        for each in written:
            chance = 0.05 if each.kind.exists else 0.5
            size = None if rng.random() < chance else self.bucket.size(each.kind)
            each.write(time.monotonic(), size)
            self.done["writes"] += 1
        soft = rng.random() < 0.25
        prefix = history.key.rpartition("/")[0] + "/"
        if cause < 0.01:
            await self._purge("all", {"all": True}, list(self.bucket.histories.values()), soft)
        elif cause < 0.05:
            covered = self.bucket.covered_by(prefix)
            await self._purge("prefixes", {"prefixes": [prefix]}, covered, soft)
        elif cause < 0.6:
            # A key that begins with a slash is read as a URL path.
            names = [rng.choice((each.key, each.path)) for each in written]
            await self._purge("keys", {"keys": names}, written, soft)

    async def _purge(
        self, name: str, body: dict[str, object], covered: list[History], soft: bool
    ) -> None:
        versions: list[Version] = [history.current for history in covered]
        begin = time.monotonic()
        encoded = json.dumps(body | ({"soft": True} if soft else {})).encode()
        server = self.rng.choice(self.servers)
        served = server.served
        status, answer = await post(served.port, "/cache/purge", served.token, encoded)
        server.admin_bytes += len(answer)
        end = time.monotonic()
        self.done[f"purges of {name}{', soft' if soft else ''}"] += 1
        if status == 200:
            self.judge.purged(versions, end, soft=soft, server=server.number)
        elif status == 503 and any(each.overlaps(begin, end) for each in self.troubles.valkey):
            # Done there, and told to the others once Valkey is back.
            self.done["purges that Valkey could not be told of"] += 1
            self.judge.purged(versions, end, soft=soft, server=server.number)
        elif status is not None:
            self.judge.object_to("purge refused", f"{body}: {status} {answer[:200]!r}")
        elif not self.troubles.of_server(server.number, begin, end) and not any(
            begin <= kill.at <= end for kill in self.troubles.kills
        ):
            self.judge.object_to("purge refused", f"{body}: no answer at {begin:.3f}..{end:.3f}")

    async def vex(self) -> None:
        """Switch faults of the origin on and off, for ever."""
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / _WELL_SECONDS))
            kind = self.rng.choice((*Fault, _REFUSE))
            seconds = self.rng.uniform(0.5, 2) * _FAULT_SECONDS
            self.done[f"origin: {kind.value if isinstance(kind, Fault) else kind}"] += 1
            if isinstance(kind, Fault):
                self.origin.fault = kind
                await asyncio.sleep(seconds)
                self.origin.fault = None
                continue
            outage = Trouble(time.monotonic())
            self.troubles.outages.append(outage)
            await self.origin.refuse()
            await asyncio.sleep(seconds)
            await self.origin.open()
            outage.end = time.monotonic()

    async def watch(self) -> None:
        """Sample what the servers use, once a second, for ever."""
        while True:
            await asyncio.sleep(1)
            self.clients.check()
            for server in self.servers:
                server.samples.append(await asyncio.to_thread(server.sample))

    async def kill(self) -> None:
        """End one worker with SIGKILL, and see it replaced."""
        self.done["SIGKILL of a worker"] += 1
        server = self.rng.choice(self.servers)
        victim = self.rng.choice(sorted(await server.workers()))
        ports = server.kill_worker(victim)
        server.lost += self.clients.asking_through(ports)
        server.lost_bytes += self.clients.bytes_just_had(ports)
        if not await server.replaced({victim}, self.workers):
            self.judge.object_to("worker not replaced", f"{victim} was killed")

    async def reload(self) -> None:
        """Have all workers of a server replaced, one by one."""
        self.done["SIGHUP"] += 1
        server = self.rng.choice(self.servers)
        before = await server.workers()
        reload = Trouble(time.monotonic())
        self.troubles.reloads.append(reload)
        os.kill(server.pid, signal.SIGHUP)
        if not await server.replaced(before, self.workers):
            self.judge.object_to("worker not replaced", f"{before} were to be reloaded")
        reload.end = time.monotonic()

    async def lose_valkey(self) -> None:
        """End Valkey with SIGKILL, and start one that knows nothing."""
        self.done["SIGKILL of Valkey"] += 1
        assert self.valkey is not None
        await self._without_valkey(self.valkey.kill, self.valkey.start)

    async def freeze_valkey(self) -> None:
        """Let Valkey accept what it is asked and say nothing, for a while."""
        self.done["SIGSTOP of Valkey"] += 1
        assert self.valkey is not None
        await self._without_valkey(self.valkey.pause, self.valkey.resume)

    async def _without_valkey(self, leave: Callable[[], None], back: Callable[[], None]) -> None:
        trouble = Trouble(time.monotonic())
        self.troubles.valkey.append(trouble)
        await asyncio.to_thread(leave)
        await asyncio.sleep(self.rng.uniform(0.5, 1.5) * _VALKEY_AWAY_SECONDS)
        await asyncio.to_thread(back)
        deadline = time.monotonic() + _WELL_AGAIN_SECONDS
        for server in self.servers:
            while not await server.is_well():
                if time.monotonic() > deadline:
                    self.judge.object_to("replica not well", f"{server.number}, with Valkey back")
                    break
                await asyncio.sleep(0.1)
        trouble.end = time.monotonic()
