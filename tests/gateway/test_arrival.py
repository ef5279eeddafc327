"""How far an arriving body may run ahead of its readers."""

from __future__ import annotations

import asyncio

import pytest

from proxy.arrival import WINDOW_BYTES, Arrival, LaggedBehindError
from proxy.core.messages import EVERYTHING
from proxy.core.ranges import ByteRange
from proxy.origin.errors import Failure, OriginError

CHUNK = bytes(WINDOW_BYTES // 2)


class Crowd:
    """Says whether requests have yet to take what they came for."""

    waiting = False

    def __call__(self) -> bool:
        return self.waiting


def arriving(length: int | None = 10 * WINDOW_BYTES, keep_bytes: int = 0) -> tuple[Arrival, Crowd]:
    crowd = Crowd()
    return Arrival(keep_bytes=keep_bytes, length=length, expects_readers=crowd), crowd


async def test_nobody_wants_a_body_that_is_not_kept_and_has_no_readers() -> None:
    arrival, _ = arriving()
    assert not await arrival.add(CHUNK)


async def test_a_body_that_is_kept_is_taken_without_readers() -> None:
    arrival, _ = arriving(length=10, keep_bytes=10)
    assert await arrival.add(b"0123456789")
    arrival.finish()
    assert arrival.body == b"0123456789"


@pytest.mark.timeout(10)
async def test_requests_that_have_yet_to_begin_hold_the_origin_back_without_spinning() -> None:
    arrival, crowd = arriving()
    crowd.waiting = True
    quick = arrival.reader()
    chunks = quick.read(EVERYTHING)
    for _ in range(2):
        assert await arrival.add(CHUNK)
        await anext(chunks)
    adding = asyncio.create_task(arrival.add(CHUNK))
    await anext(chunks)
    # The quick one has everything, and nothing may be dropped: there is only waiting.
    for _ in range(5):
        await asyncio.sleep(0)
    assert not adding.done()
    crowd.waiting = False
    arrival.wake()
    assert await asyncio.wait_for(adding, 5)


async def test_who_dawdles_while_another_waits_is_left_behind() -> None:
    arrival, _ = arriving()
    slow, quick = arrival.reader(), arrival.reader()
    chunks = quick.read(EVERYTHING)
    for _ in range(3):
        adding = asyncio.create_task(arrival.add(CHUNK))
        await anext(chunks)
        assert await asyncio.wait_for(adding, 5)
    with pytest.raises(LaggedBehindError) as caught:
        await anext(slow.read(EVERYTHING))
    assert caught.value.position == 0


async def test_the_last_byte_waits_until_the_body_is_known_to_be_whole() -> None:
    arrival, _ = arriving(length=4, keep_bytes=4)
    await arrival.add(b"ab")
    chunks = arrival.reader().read(ByteRange(0, 3))
    assert await anext(chunks) == b"ab"
    await arrival.add(b"cd")
    last = asyncio.ensure_future(anext(chunks))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not last.done()
    arrival.fail(OriginError(Failure.BROKEN_BODY, "too long"))
    with pytest.raises(OriginError):
        await last


async def test_a_part_before_the_end_does_not_wait_for_it() -> None:
    arrival, _ = arriving(length=4, keep_bytes=4)
    await arrival.add(b"abc")
    assert [chunk async for chunk in arrival.reader().read(ByteRange(1, 2))] == [b"bc"]
