"""What a hit takes, counted in lines and calls of Python: the same on any machine, at any load."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import proxy
from proxy import conf, service
from proxy.access_log import AccessLines
from proxy.claims import Claims
from proxy.clients import Clients
from proxy.log_stream import LineHandler
from proxy.request_counts import RequestCounts
from proxy.server.fast_door import FastDoor
from proxy.server.front import Front, Service
from proxy.server.handler import LeanHandler
from proxy.server.routes import Routes
from s3proxy_site.log_config import JsonLines
from tests.gateway.subject import Proxy
from tests.origins import ScriptedOrigin, respond
from tests.server.conversation import request
from tests.server.in_process import application, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    from proxy.server.fast_protocol import FastProtocol
    from tests.server.in_process import Sent

# Steps of the proxy's own: what libraries do inside is theirs to change.
OURS = str(Path(proxy.__file__).parent)
HEAD = request("/k", *[f"X-Field-{number}: whatever a browser sends" for number in range(12)])


@pytest.fixture
async def door(origin: ScriptedOrigin) -> AsyncIterator[FastDoor]:
    origin.on("k", respond(200, b"x" * 1024, {"Cache-Control": "max-age=10", "ETag": '"e"'}))
    async with Proxy(origin.endpoint) as proxy:
        await proxy.get("k")
        yield FastDoor(proxy.gateway, "")


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """How many lines of the proxy are run, functions called, and functions in C called."""
    counts: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        counts[event] += 1
        return trace

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "c_call" and frame.f_code.co_filename.startswith(OURS):
            counts[event] += 1

    before = sys.gettrace()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.setprofile(None)
        sys.settrace(before)
        for event in counts.keys() - {"call", "line", "c_call"}:
            del counts[event]


def cost_of_a_known_head(front: Front) -> Counter[str]:
    protocol, transport = connected(front)
    for _ in range(3):
        protocol.data_received(HEAD)
    # The least of some: now and then a clock has moved on, and something is written anew.
    costs = []
    for _ in range(5):
        with counting() as counts:
            protocol.data_received(HEAD)
        costs.append(counts)
    counts = min(costs, key=Counter.total)
    assert len(transport.packets) == 8
    assert len({len(packet) for packet in transport.packets}) == 1
    protocol.connection_lost(None)
    return counts


def cost_of_a_known_rest(front: Front) -> Counter[str]:
    protocol, transport = connected(front)
    protocol.data_received(HEAD)
    costs = []
    for number in range(5):
        head = HEAD.replace(b"/k", b"/k?%d" % number)
        with counting() as counts:
            protocol.data_received(head)
        costs.append(counts)
    assert len(transport.packets) == 6
    protocol.connection_lost(None)
    return min(costs, key=Counter.total)


def lines() -> AccessLines:
    handler = LineHandler(io.StringIO())
    formatter = JsonLines()
    handler.setFormatter(formatter)
    return AccessLines(handler, formatter)


def bounds(steps: int) -> range:
    """Not quite a fifth above what it takes; far below, nothing would have been counted."""
    return range(steps // 2, steps + steps // 5 + 1)


# What Python 3.11 takes. Who needs more says why.
async def test_a_known_head(door: FastDoor) -> None:
    counts = cost_of_a_known_head(Front(door, Clients(conf.config()), None, False, None))
    assert counts.total() in bounds(54), counts


async def test_a_head_of_which_all_but_the_first_line_is_known(door: FastDoor) -> None:
    counts = cost_of_a_known_rest(Front(door, Clients(conf.config()), None, False, None))
    assert counts.total() in bounds(228), counts


async def test_a_known_head_with_its_access_line(door: FastDoor) -> None:
    log = lines()
    counts = cost_of_a_known_head(Front(door, Clients(conf.config()), None, True, log))
    assert counts.total() in bounds(106), counts


async def test_a_known_head_under_a_limit(door: FastDoor) -> None:
    while time.time() % 1 > 0.8:
        await asyncio.sleep(0.05)
    claims = Claims(conf.config().rate_limit_rps + 100_000)
    counts = cost_of_a_known_head(Front(door, Clients(conf.config()), claims, False, None))
    assert counts.total() in bounds(70), counts


async def test_what_takes_more_than_memory(origin: ScriptedOrigin) -> None:
    """Without what the origin takes: the object is there, but Vary keeps it from the door."""
    varying = {"Cache-Control": "max-age=10", "Vary": "Accept-Language"}
    origin.on("k", respond(200, b"x" * 1024, varying))
    async with Proxy(origin.endpoint) as subject:
        service = Service(subject.gateway, Routes(), RequestCounts())
        front = Front(
            FastDoor(subject.gateway, ""), Clients(conf.config()), None, False, None, service
        )
        counts = await cost_of_a_task(*connected(front))
    assert counts.total() in bounds(750), counts


async def test_a_hit_through_django(
    origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody has added a middleware: there is no front then."""
    origin.on("k", respond(200, b"x" * 1024, {"Cache-Control": "max-age=10", "ETag": '"e"'}))
    async with Proxy(origin.endpoint) as subject:
        await subject.get("k")
        monkeypatch.setitem(service._gateways, asyncio.get_running_loop(), subject.gateway)
        counts = await cost_of_a_task(*connected(None, LeanHandler(application)))
    assert counts.total() in bounds(670), counts


async def cost_of_a_task(protocol: FastProtocol, transport: Sent) -> Counter[str]:
    costs = []
    for _ in range(5):
        before = len(transport.packets)
        with counting() as counts:
            protocol.data_received(HEAD)
            while len(transport.packets) == before:
                await asyncio.sleep(0)
        costs.append(counts)
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return min(costs, key=Counter.total)


async def test_nothing_is_left_behind_by_a_hit(door: FastDoor) -> None:
    protocol, transport = connected(Front(door, Clients(conf.config()), None, False, None))
    for _ in range(10):
        protocol.data_received(HEAD)
    transport.packets.clear()
    before = sys.getallocatedblocks()
    for _ in range(1000):
        protocol.data_received(HEAD)
        transport.packets.clear()
    assert sys.getallocatedblocks() - before < 50
    protocol.connection_lost(None)
