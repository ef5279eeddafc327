"""Blocking calls beside the event loop, which nobody waits for at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` returns or raises, from a thread of its own.

    A daemon's: asyncio's own threads are waited for when the loop is closed, so that a call that
    hangs in boto3 would hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(cast("T", result))

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work(*args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - raised again where it is awaited
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="s3proxy-blocking", daemon=True).start()
    return await outcome


class Shared(Generic[T]):
    """A blocking call that runs once at a time, for all who wait for what it returns or raises.

    Who stops waiting does not stop it: else each of many requests, given up one after another,
    would leave a thread of its own behind.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._running: asyncio.Task[T] | None = None

    async def result(self) -> T:
        """What the call under way returns or raises, or a new one if none is."""
        if self._running is None:
            self._running = asyncio.create_task(in_thread(self._work))
            self._running.add_done_callback(self._forget)
        return await asyncio.shield(self._running)

    def close(self) -> None:
        """Stop waiting for it; the thread is left to itself."""
        if self._running is not None:
            self._running.cancel()

    def _forget(self, task: asyncio.Task[T]) -> None:
        self._running = None
        if not task.cancelled():
            # Nobody may be left who asks for it.
            task.exception()
