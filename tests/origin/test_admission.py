"""At most so many origin requests at once, a bounded line, first come, first served."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from proxy.origin import admission
from proxy.origin.admission import Admission, Place
from proxy.origin.errors import AbandonedError, SaturatedError
from proxy.origin.exchange import OriginAnswer
from tests.gateway.subject import Bucket, Proxy, s3_origin
from tests.origins import ScriptedOrigin, conditional, hold, pause, respond

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.subject import ReplyReader


def always() -> bool:
    return True


def queue_up(doors: Admission, wanted: Callable[[], bool] = always) -> asyncio.Task[Place]:
    return asyncio.create_task(doors.enter(wanted))


async def waiting(doors: Admission, count: int) -> None:
    async with asyncio.timeout(5):
        while doors.waiting != count:
            await asyncio.sleep(0.001)


async def test_as_many_as_the_limit_enter_at_once() -> None:
    doors = Admission(3, 5)
    for _ in range(3):
        await asyncio.wait_for(doors.enter(always), 0.1)
    assert (doors.under_way, doors.waiting) == (3, 0)


async def test_first_come_first_served() -> None:
    doors = Admission(1, 5)
    place = await doors.enter(always)
    served: list[int] = []

    async def visit(number: int) -> None:
        mine = await doors.enter(always)
        served.append(number)
        await asyncio.sleep(0)
        mine.release()

    visits = []
    for number in range(4):
        visits.append(asyncio.create_task(visit(number)))
        await waiting(doors, number + 1)
    place.release()
    # Who comes now does not overtake.
    visits.append(asyncio.create_task(visit(4)))
    await asyncio.gather(*visits)
    assert served == [0, 1, 2, 3, 4]
    assert (doors.under_way, doors.waiting) == (0, 0)


async def test_the_line_is_four_times_as_long_as_the_limit_and_no_longer() -> None:
    doors = Admission(2, 5)
    places = [await doors.enter(always) for _ in range(2)]
    line = [queue_up(doors) for _ in range(8)]
    await waiting(doors, 8)
    with pytest.raises(SaturatedError) as caught:
        await doors.enter(always)
    assert (caught.value.client_status, caught.value.retry_after) == (503, 1)
    # Whoever has begun to send a response may still wait for the rest of it.
    rest = asyncio.create_task(doors.enter(always, goes_on=True))
    await waiting(doors, 9)
    for place in places:
        place.release()
    for turn in [*line, rest]:
        (await turn).release()
    assert doors.under_way == 0


async def test_nobody_waits_longer_than_the_longest_wait() -> None:
    doors = Admission(1, 0.05)
    place = await doors.enter(always)
    with pytest.raises(SaturatedError):
        await asyncio.wait_for(doors.enter(always), 2)
    assert doors.waiting == 0
    place.release()
    assert doors.under_way == 0


async def test_a_waiter_that_is_cancelled_leaves_the_line() -> None:
    doors = Admission(1, 5)
    place = await doors.enter(always)
    first, second = queue_up(doors), queue_up(doors)
    await waiting(doors, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert doors.waiting == 1
    place.release()
    (await second).release()
    assert doors.under_way == 0


async def test_a_place_given_to_a_waiter_in_the_moment_of_its_cancellation_is_not_lost() -> None:
    doors = Admission(1, 5)
    place = await doors.enter(always)
    first, second = queue_up(doors), queue_up(doors)
    await waiting(doors, 2)
    place.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    (await asyncio.wait_for(second, 1)).release()
    assert doors.under_way == 0


async def test_a_waiter_whom_nobody_waits_for_any_more_leaves_the_line() -> None:
    doors = Admission(1, 5)
    place = await doors.enter(always)
    clients = [object()]
    turn = queue_up(doors, lambda: bool(clients))
    await waiting(doors, 1)
    clients.clear()
    with pytest.raises(AbandonedError):
        await asyncio.wait_for(turn, 2)
    assert doors.waiting == 0
    place.release()
    assert doors.under_way == 0


async def test_a_place_released_twice_counts_once() -> None:
    doors = Admission(2, 5)
    first, _ = [await doors.enter(always) for _ in range(2)]
    first.release()
    first.release()
    assert doors.under_way == 1


async def test_a_place_held_up_by_its_reader_is_taken_back_when_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "PATIENCE_SECONDS", 0.2)
    doors = Admission(2, 5)
    busy, slow = [await doors.enter(always) for _ in range(2)]
    taken: list[str] = []
    slow.wait_for_reader(lambda: taken.append("slow"))
    await asyncio.sleep(0.3)
    # Not while nobody needs it.
    assert taken == []
    place = await asyncio.wait_for(doors.enter(always), 1)
    assert taken == ["slow"]
    place.release()
    busy.release()
    assert doors.under_way == 0


async def test_a_reader_that_came_back_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE_SECONDS", 0.05)
    doors = Admission(1, 0.3)
    place = await doors.enter(always)
    place.wait_for_reader(lambda: pytest.fail("it had come back"))
    place.go_on()
    with pytest.raises(SaturatedError):
        await doors.enter(always)
    place.release()


class Crowd:
    """Counts how many requests an origin is answering at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def play(self, exchange: object) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1


async def test_a_flood_of_distinct_keys_is_answered_in_bounds(
    origin: ScriptedOrigin,
) -> None:
    crowd = Crowd()
    origin.default(crowd, respond(body=b"x"))
    async with Proxy(origin.endpoint, max_concurrency=16, timeout=2.0) as proxy:
        flood = [proxy.begin(f"key-{number}") for number in range(2000)]
        replies = await asyncio.wait_for(asyncio.gather(*flood), 30)
        answered = Counter(reply.status for reply in replies)
        assert set(answered) == {200, 503}
        # Those under way, and those in line; who comes when places are free again adds to it.
        assert answered[200] >= 16 * 5
        assert crowd.most <= 16
        refused = next(reply for reply in replies if reply.status == 503)
        assert refused.headers["retry-after"] == "1"
        assert "detail=origin-saturated" in refused.cache_status
        await proxy.idle()
        assert (proxy.s3.admission.under_way, proxy.s3.admission.waiting) == (0, 0)
        assert (await proxy.get("next")).status == 200


async def test_a_flood_is_logged_once_a_second_and_counted_in_full(
    origin: ScriptedOrigin, caplog: pytest.LogCaptureFixture
) -> None:
    from prometheus_client import REGISTRY

    def refused() -> float:
        labels = {"cause": "line_full"}
        return REGISTRY.get_sample_value("proxy_origin_refused_total", labels) or 0.0

    gate = origin.gate()
    origin.default(hold(gate), respond(body=b"x"))
    before = refused()
    async with Proxy(origin.endpoint, max_concurrency=1) as proxy:
        flood = [proxy.begin(f"key-{number}") for number in range(200)]
        await proxy.until(lambda: refused() - before == 195)
        gate.open()
        await asyncio.gather(*flood)
    told = [record for record in caplog.records if record.name == "s3proxy.origin"]
    assert len(told) <= 2
    for record in told:
        assert "S3_MAX_CONCURRENCY" in record.getMessage()


async def test_clients_that_go_away_leave_the_line(origin: ScriptedOrigin) -> None:
    gate = origin.gate()
    origin.default(hold(gate), respond(body=b"x"))
    async with Proxy(origin.endpoint, max_concurrency=1) as proxy:
        first = proxy.begin("first")
        await origin.until_requests(1)
        line = [proxy.begin(f"key-{number}") for number in range(4)]
        await proxy.until(lambda: proxy.s3.admission.waiting == 4)
        for request in line:
            request.cancel()
        await proxy.until(lambda: proxy.s3.admission.waiting == 0)
        gate.open()
        assert (await first).status == 200
        await proxy.idle()
    # None of theirs was sent.
    assert origin.count() == 1


async def test_what_has_been_received_needs_no_place_however_slowly_it_is_read(
    origin: ScriptedOrigin,
) -> None:
    origin.default(respond(body=b"x" * 1000))
    s3 = s3_origin(Bucket(origin.endpoint), max_concurrency=1)
    unread = await s3.get("a")
    assert isinstance(unread, OriginAnswer)
    async with asyncio.timeout(2):
        other = await s3.get("b")
    assert isinstance(other, OriginAnswer)
    assert b"".join([chunk async for chunk in unread.chunks()]) == b"x" * 1000
    unread.close()
    other.close()
    await s3.aclose()
    assert s3.admission.under_way == 0


LARGE = bytes(range(256)) * 64 * 1024


async def slow_streams(proxy: Proxy, origin: ScriptedOrigin, count: int) -> list[ReplyReader]:
    readers = []
    for number in range(count):
        origin.on(f"large-{number}", conditional(LARGE, f'"{number}"'))
        reader = await proxy.open(f"large-{number}")
        await reader.read(1)
        readers.append(reader)
    return readers


async def test_slow_readers_of_large_objects_cannot_take_every_place(
    origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "PATIENCE_SECONDS", 0.1)
    origin.on("small", respond(body=b"small"))
    async with Proxy(origin.endpoint, max_concurrency=3, max_object_size=1000) as proxy:
        readers = await slow_streams(proxy, origin, 3)
        reply = await asyncio.wait_for(proxy.get("small"), 3)
        assert (reply.status, reply.body) == (200, b"small")
        # And none of them is any the worse for it.
        for reader in readers:
            whole = await reader.rest()
            assert whole.error is None
            assert whole.body == LARGE
        await proxy.idle()
        assert proxy.s3.admission.under_way == 0


async def test_a_part_of_a_large_object_goes_on_where_it_was_taken_back(
    origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "PATIENCE_SECONDS", 0.1)
    origin.on("large", conditional(LARGE, '"v1"'))
    origin.on("small", respond(body=b"small"))
    async with Proxy(origin.endpoint, max_concurrency=1, max_object_size=1000) as proxy:
        assert (await proxy.get("large", method="HEAD")).status == 200
        reader = await proxy.open("large", "Range: bytes=7-")
        await reader.read(1)
        assert (await asyncio.wait_for(proxy.get("small"), 3)).status == 200
        part = await reader.rest()
        assert part.error is None
        assert part.body == LARGE[7:]


async def test_a_background_revalidation_waits_though_nobody_waits_for_it(
    origin: ScriptedOrigin,
) -> None:
    origin.on("a", respond(body=b"a", headers={"ETag": '"a"'}))
    origin.on("b", pause(0.5), respond(body=b"b"))
    async with Proxy(origin.endpoint, max_concurrency=1) as proxy:
        await proxy.get("a")
        await proxy.idle()
        proxy.clock.advance(310)
        busy = proxy.begin("b")
        await origin.until_requests(1, "b")
        assert (await proxy.get("a")).cache == "STALE"
        await busy
        await origin.until_requests(2, "a")
