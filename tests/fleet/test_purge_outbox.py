"""Purges that wait for a real Valkey to come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.fleet import purge_outbox
from proxy.fleet.errors import FleetUnavailableError
from proxy.purge import Purge
from tests.fleet.replica import joined, until

if TYPE_CHECKING:
    from tests.origins.valkey_site import ValkeySite


def purge(*keys: str) -> Purge:
    return Purge(keys=frozenset(keys))


async def test_a_purge_while_redis_is_gone_is_refused_and_sent_later(
    own_valkey: ValkeySite,
) -> None:
    async with joined(own_valkey.url) as one, joined(own_valkey.url) as other:
        own_valkey.kill()
        await until(lambda: not one.stream.following)
        with pytest.raises(FleetUnavailableError):
            await one.stream.publish(purge("late"))
        assert one.stream.waiting == 1
        assert not one.rules.current
        own_valkey.start()
        await until(lambda: purge("late") in other.applied)
        await until(lambda: one.rules.current)


async def test_of_too_many_waiting_purges_it_is_told_that_there_were_some(
    own_valkey: ValkeySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_outbox, "MOST_WAITING", 3)
    async with joined(own_valkey.url) as one, joined(own_valkey.url) as other:
        own_valkey.pause()
        for number in range(4):
            with pytest.raises(FleetUnavailableError):
                await one.stream.publish(purge(str(number)))
        before = other.mistrusts
        own_valkey.resume()
        await until(lambda: other.mistrusts > before)
        assert one.stream.waiting == 0
