"""Who may fetch a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy import processes
from proxy.cache.leases import Held, Lease, Leases

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1000.0
PURGES = 7
HELD, GAVE_UP = Held(PURGES, gave_up=False), Held(PURGES, gave_up=True)


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def _process_3() -> Iterator[None]:
    before = processes.index()
    processes.become(3)
    yield
    processes.become(before)


def taken(leases: Leases, key: str, now: float = NOW) -> Lease:
    lease = leases.take(key, PURGES, now, 10)
    assert lease is not None
    return lease


def test_one_at_a_time_may_fetch_a_key(leases: Leases) -> None:
    taken(leases, "a")
    assert leases.take("a", PURGES, NOW, 10) is None
    assert leases.held("a", NOW) == HELD
    taken(leases, "b")


def test_a_released_key_may_be_fetched_again(leases: Leases) -> None:
    leases.release(taken(leases, "a"), NOW, stored=True)
    assert leases.held("a", NOW) is None
    taken(leases, "a")


def test_a_lease_ends(leases: Leases) -> None:
    taken(leases, "a")
    assert leases.held("a", NOW + 9.9) == HELD
    assert leases.held("a", NOW + 10) is None
    taken(leases, "a", NOW + 10)


def test_releasing_late_takes_nothing_from_the_next_holder(leases: Leases) -> None:
    late = taken(leases, "a")
    taken(leases, "a", NOW + 10)
    leases.release(late, NOW + 11, stored=True)
    assert leases.held("a", NOW + 11) == HELD


def test_what_was_not_stored_is_given_up_for_a_second(leases: Leases) -> None:
    leases.release(taken(leases, "a"), NOW, stored=False)
    assert leases.held("a", NOW + 0.9) == GAVE_UP
    assert leases.held("a", NOW + 1) is None


def test_what_was_given_up_anyone_may_fetch(leases: Leases) -> None:
    leases.release(taken(leases, "a"), NOW, stored=False)
    first, second = taken(leases, "a"), taken(leases, "a")
    leases.release(first, NOW, stored=True)
    leases.release(second, NOW, stored=True)
    assert leases.held("a", NOW) == GAVE_UP


@pytest.mark.usefixtures("_process_3")
def test_a_dead_processs_leases_end(leases: Leases) -> None:
    taken(leases, "a")
    leases.forget_process(2)
    assert leases.held("a", NOW) == HELD
    leases.forget_process(3)
    assert leases.held("a", NOW) is None


def test_a_full_table_gives_leases_that_exclude_nobody(leases: Leases) -> None:
    given = [taken(leases, f"{number}") for number in range(20_000)]
    assert 3000 < sum(lease.id != 0 for lease in given) <= 4096
    without = given.index(Lease(-1, 0))
    taken(leases, f"{without}")
    leases.release(given[without], NOW, stored=False)
    assert leases.held(f"{without}", NOW) is None


def test_after_damage_nobody_holds_anything(leases: Leases) -> None:
    taken(leases, "a")
    with pytest.raises(KeyError), leases._memory:
        raise KeyError
    assert leases.held("a", NOW) is None
