"""Lets a test decide when a scripted origin goes on."""

from __future__ import annotations

import asyncio


class Gate:
    """Holds responses back until the test lets them go; for any thread but the origin's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = asyncio.Condition()
        self._opened = False
        self._permits = 0

    def open(self) -> None:
        """Lets everybody through, now and later."""
        self._change(opened=True, permits=0)

    def admit(self, count: int = 1) -> None:
        """Lets `count` more through: responses, or pieces of a drip."""
        self._change(opened=False, permits=count)

    def _change(self, *, opened: bool, permits: int) -> None:
        async def change() -> None:
            async with self._changed:
                self._opened |= opened
                self._permits += permits
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(timeout=5)

    async def passage(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._opened or self._permits > 0)
            if not self._opened:
                self._permits -= 1
