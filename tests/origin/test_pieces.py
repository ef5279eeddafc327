"""The pieces in which a body is handed on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.origin.exchange import OriginAnswer
from tests.gateway.subject import Bucket, s3_origin
from tests.origins import respond

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin

# From here on glibc maps a block anew each time it is needed: see proxy/server/heap.py.
MAPPED_BYTES = 512 * 1024
LARGE = bytes(range(256)) * 16 * 1024


async def test_what_came_while_the_reader_was_busy_is_not_joined(origin: ScriptedOrigin) -> None:
    origin.default(respond(body=LARGE))
    s3 = s3_origin(Bucket(origin.endpoint))
    answer = await s3.get("large")
    assert isinstance(answer, OriginAnswer)
    async with asyncio.timeout(10):
        while answer._response.buffered <= MAPPED_BYTES:
            await asyncio.sleep(0.001)
    pieces = [piece async for piece in answer.chunks()]
    answer.close()
    await s3.aclose()
    assert b"".join(pieces) == LARGE
    assert max(map(len, pieces)) < MAPPED_BYTES
