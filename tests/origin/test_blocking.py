"""Blocking calls beside the event loop."""

from __future__ import annotations

import asyncio

from proxy.origin.blocking import Shared


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
