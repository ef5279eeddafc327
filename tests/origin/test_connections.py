"""What the pool of connections leans on in aiohttp."""

from __future__ import annotations

import asyncio

import aiohttp

from proxy.origin.blocking import Shared
from proxy.origin.connections import Connections, Trip
from tests.origins import ScriptedOrigin, close_before_reply, respond, sequence


async def test_aiohttp_still_has_the_switch_for_repeating_requests() -> None:
    async with aiohttp.ClientSession() as session:
        assert getattr(session, "_retry_connection", None) is True, (
            "aiohttp.ClientSession has no _retry_connection any more, or another default. "
            "proxy/origin/connections.py sets it to keep aiohttp from repeating requests by "
            "itself, beyond S3_RETRIES and unseen. Find what this version has instead."
        )


async def test_the_switch_still_works(origin: ScriptedOrigin) -> None:
    origin.on("a", sequence(respond(body=b"1"), close_before_reply(), respond(body=b"2")))
    connections = Connections(limit=4, timeout=5)
    url = f"{origin.endpoint}/{origin.bucket}/a"
    first = await connections.get(url, {}, Trip())
    await first.read()
    trip = Trip()
    error: BaseException | None = None
    try:
        await connections.get(url, {}, trip)
    except aiohttp.ClientError as caught:
        error = caught
    await connections.aclose()
    assert isinstance(error, aiohttp.ServerDisconnectedError), (
        "aiohttp repeated a request by itself: setting ClientSession._retry_connection in "
        "proxy/origin/connections.py has no effect any more."
    )
    assert trip.reused, "aiohttp's on_connection_reuseconn trace no longer tells of reuse."
    assert origin.count() == 2


async def test_a_response_lets_go_of_its_connection_once_received(origin: ScriptedOrigin) -> None:
    origin.on("a", respond(body=b"x"))
    connections = Connections(limit=4, timeout=5)
    response = await connections.get(f"{origin.endpoint}/{origin.bucket}/a", {}, Trip())
    assert await response.read() == b"x"
    assert response.connection is None, (
        "ClientResponse.connection is no longer None once the body has arrived: "
        "OriginAnswer in proxy/origin/exchange.py would hold its place for too long."
    )
    await connections.aclose()


async def test_a_shared_call_runs_once_for_all_who_wait() -> None:
    import threading

    may_end = threading.Event()
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        may_end.wait(5)
        return len(calls)

    shared = Shared(work)
    impatient = asyncio.create_task(shared.result())
    patient = asyncio.create_task(shared.result())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    late = asyncio.create_task(shared.result())
    await asyncio.sleep(0)
    may_end.set()
    assert list(await asyncio.gather(patient, late)) == [1, 1]
    assert await shared.result() == 2
