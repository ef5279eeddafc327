"""One soak from start to end: servers, their clients, their origin, what befalls them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.origins.valkey_site import ValkeySite
from tests.soak import accounts
from tests.soak.chaos import Chaos
from tests.soak.clients import Clients
from tests.soak.judge import Judge
from tests.soak.objects import Bucket
from tests.soak.origin import SoakOrigin
from tests.soak.report import Life, Report
from tests.soak.server import Server
from tests.soak.troubles import Trouble, Troubles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_CALM_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how hard, and from which seed.

    Kills and reloads need more than one worker, a Valkey that fails more than one replica.
    """

    seconds: float
    seed: int
    workers: int = 2
    rate: float = 400
    clients: int = 16
    faults: bool = True
    replicas: int = 1


@dataclass(slots=True)
class Soak:
    """A running soak."""

    plan: Plan
    chaos: Chaos
    temporary: Path
    lives: list[Life]

    async def audit(self) -> None:
        """Let all come to rest; compare what the servers say with what others saw of them."""
        chaos = self.chaos
        async with chaos.writing:
            await chaos.clients.pause()
            await self._rest()
            chaos.origin.drop_connections()
            await asyncio.sleep(0.3)
            for server in chaos.servers:
                await self._audit(server)
            chaos.done["audits"] += 1
            chaos.clients.resume()

    async def _audit(self, server: Server) -> None:
        server.quiet.append(server.sample())
        admin_bytes = server.admin_bytes
        metrics = await server.metrics()
        seen, lost = server.seen, server.lost
        self._object(accounts.went_backwards(server.last, metrics))
        self._object(accounts.against_clients(metrics, seen, lost, admin_bytes, server.lost_bytes))
        self._object(accounts.against_origin(metrics, server.sent, lost, seen))
        server.last = metrics

    async def restart(self, *, abrupt: bool) -> None:
        """End a server, by SIGTERM or SIGKILL, and start another in its place."""
        chaos = self.chaos
        old = chaos.rng.choice(chaos.servers)
        await self.audit()
        chaos.done["SIGKILL of the server" if abrupt else "SIGTERM of the server"] += 1
        # Under load again.
        await asyncio.sleep(1)
        stop = Trouble(time.monotonic(), abrupt=abrupt, server=old.number)
        chaos.troubles.stops.append(stop)
        if abrupt:
            await asyncio.to_thread(old.served.kill)
        elif (status := await asyncio.to_thread(old.served.terminate, 40)) != 0:
            chaos.judge.object_to("exit status", f"{status} after SIGTERM")
        self.bury(old)
        chaos.servers[old.number] = await start(self.plan, old.number, chaos, self.temporary)
        stop.end = time.monotonic()

    def bury(self, server: Server) -> None:
        """Judge what can be judged once a server has ended."""
        server.served.close()
        self._object(accounts.of_memory(server.samples))
        slack = accounts.DESCRIPTOR_SLACK
        if self.chaos.valkey is not None:
            slack = accounts.DESCRIPTOR_SLACK_OF_REPLICAS
        self._object(accounts.of_resources(server.quiet, slack))
        for line in server.tracebacks():
            self.chaos.judge.object_to("traceback", line)
        self.lives.append(Life.of(server))

    async def _rest(self) -> None:
        deadline = time.monotonic() + _CALM_SECONDS
        while self.chaos.origin.busy:
            if time.monotonic() > deadline:
                self.chaos.judge.object_to("no rest", "origin requests go on without any client")
                return
            await asyncio.sleep(0.02)

    def _object(self, findings: Iterator[tuple[str, str]]) -> None:
        for rule, detail in findings:
            self.chaos.judge.object_to(rule, detail)


def schedule(plan: Plan) -> list[tuple[float, str]]:
    """What is to happen when, in seconds from the start; the last server lives longest."""
    events = [(plan.seconds * 0.25, "terminate")]
    if plan.seconds >= 240:
        events.append((plan.seconds * 0.3, "destroy"))
    period = 8.0 if plan.seconds <= 120 else 20.0
    turns: tuple[str, ...] = ("kill", "reload", "audit")
    if plan.replicas > 1:
        turns = ("lose Valkey", "kill", "audit", "freeze Valkey", "reload", "audit")
    at, turn = period, 0
    while at < plan.seconds - 4:
        if plan.workers > 1:
            events.append((at, turns[turn % len(turns)]))
        elif turn % 2:
            events.append((at, "audit"))
        at, turn = at + period, turn + 1
    return sorted(events)


async def start(plan: Plan, number: int, chaos: Chaos, temporary: Path) -> Server:
    """One server of a plan; raises RuntimeError if it does not answer."""
    redis_url = None if chaos.valkey is None else chaos.valkey.url
    return await Server.start(
        number, chaos.origin, plan.workers, temporary, chaos.troubles, redis_url
    )


async def soak(plan: Plan, say: Callable[[str], None]) -> Report:
    """Run a plan to its end. Raises RuntimeError if a server does not start."""
    began = time.monotonic()
    rngs = [random.Random(f"{plan.seed} {name}") for name in ("bucket", "origin", "ask", "chaos")]
    troubles = Troubles()
    bucket = Bucket(rngs[0], began)
    judge = Judge(bucket.histories, troubles)
    origin = SoakOrigin(bucket, troubles, rngs[1])
    await origin.open()
    with contextlib.ExitStack() as opened:
        temporary = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        valkey = opened.enter_context(ValkeySite()) if plan.replicas > 1 else None
        clients = Clients(
            bucket,
            rngs[2],
            count=plan.clients,
            rate=plan.rate,
            target=lambda index: chaos.servers[index % plan.replicas],
            take=judge.take,
            may_be_closed=lambda each: troubles.closed_idle(
                each.server, each.port, each.begin, each.end
            ),
        )
        chaos = Chaos(bucket, origin, clients, judge, troubles, rngs[3], [], valkey, plan.workers,
                      Counter(), asyncio.Lock())  # fmt: skip
        running = Soak(plan, chaos, temporary, [])
        try:
            for number in range(plan.replicas):
                chaos.servers.append(await start(plan, number, chaos, temporary))
            clients.resume()
            await _play(running, say)
        finally:
            for server in chaos.servers:
                server.served.close()
            await origin.refuse()
        return Report.of(plan, time.monotonic() - began, judge, chaos, running.lives)


async def _play(running: Soak, say: Callable[[str], None]) -> None:
    chaos, plan = running.chaos, running.plan
    acts: dict[str, Callable[[], Awaitable[None]]] = {
        "audit": running.audit,
        "kill": chaos.kill,
        "reload": chaos.reload,
        "terminate": lambda: running.restart(abrupt=False),
        "destroy": lambda: running.restart(abrupt=True),
        "lose Valkey": chaos.lose_valkey,
        "freeze Valkey": chaos.freeze_valkey,
    }
    background = [asyncio.create_task(each) for each in (chaos.write(), chaos.watch())]
    if plan.faults:
        background.append(asyncio.create_task(chaos.vex()))
    began = time.monotonic()
    try:
        for at, name in [*schedule(plan), (plan.seconds, "audit")]:
            wait = asyncio.create_task(asyncio.sleep(began + at - time.monotonic()))
            await asyncio.wait([wait, *background], return_when=asyncio.FIRST_COMPLETED)
            for task in background:
                if task.done():
                    task.result()
            await wait
            answers, wrong = chaos.judge.statuses.total(), chaos.judge.wrong.total()
            say(f"{time.monotonic() - began:7.1f} s  {name}; {answers} answers, {wrong} wrong")
            await acts[name]()
    finally:
        for task in background:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*background, return_exceptions=True)
    chaos.origin.fault = None
    await chaos.clients.stop()
    for server in chaos.servers:
        if (status := await asyncio.to_thread(server.served.terminate, 40)) != 0:
            chaos.judge.object_to("exit status", f"{status} after SIGTERM")
        running.bury(server)
