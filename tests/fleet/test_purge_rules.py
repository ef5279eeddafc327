"""Which entries of the second tier a purge forbids."""

from __future__ import annotations

import pytest

from proxy.fleet.purge_rules import RETENTION_SECONDS, PurgeRules, Standing
from proxy.fleet.stream_id import BEGINNING, StreamId
from proxy.purge import Purge

OLD, PURGED, NEW = StreamId(10**12), StreamId(10**12 + 5), StreamId(10**12 + 9)

COVERING = [
    Purge(keys=frozenset({"a/b", "c"})),
    Purge(prefixes=("a/",)),
    Purge(prefixes=("x", "a/b")),
    Purge(everything=True),
]


@pytest.mark.parametrize("purge", COVERING)
def test_what_was_fetched_before_a_purge_is_gone(purge: Purge) -> None:
    rules = PurgeRules()
    rules.add(PURGED, purge)
    assert rules.judge("a/b", OLD).standing is Standing.GONE


@pytest.mark.parametrize("mark", [PURGED, NEW])
@pytest.mark.parametrize("purge", COVERING)
def test_what_was_fetched_after_a_purge_is_good(purge: Purge, mark: StreamId) -> None:
    rules = PurgeRules()
    rules.add(PURGED, purge)
    assert rules.judge("a/b", mark).standing is Standing.GOOD


def test_what_it_does_not_cover_is_good() -> None:
    rules = PurgeRules()
    rules.add(PURGED, Purge(keys=frozenset({"a"}), prefixes=("a/b/",)))
    assert rules.judge("a/b", OLD).standing is Standing.GOOD


def test_a_soft_purge_makes_stale_since_then() -> None:
    rules = PurgeRules()
    rules.add(PURGED, Purge(prefixes=("a",), soft=True))
    assert rules.judge("a/b", OLD) == (Standing.STALE, PURGED)


def test_a_purge_read_again_out_of_order_does_not_undo_a_later_one() -> None:
    rules = PurgeRules()
    for at in (NEW, PURGED):
        rules.add(at, Purge(keys=frozenset({"a"}), prefixes=("b",), everything=False))
    assert rules.judge("a", PURGED).standing is Standing.GONE
    assert rules.judge("bb", PURGED).standing is Standing.GONE
    assert rules.mark == NEW


def test_before_the_horizon_nothing_is_trusted() -> None:
    rules = PurgeRules()
    rules.distrust_before(PURGED)
    assert rules.judge("a", OLD).standing is Standing.UNTRUSTED
    assert rules.judge("a", PURGED).standing is Standing.GOOD


def test_what_is_forgotten_for_want_of_room_raises_the_horizon() -> None:
    rules = PurgeRules(most=10)
    for number in range(30):
        rules.add(StreamId(1000 + number), Purge(keys=frozenset({f"k{number}"}), prefixes=()))
    assert rules.horizon == StreamId(1019)
    assert rules.judge("k0", BEGINNING).standing is Standing.UNTRUSTED
    assert rules.judge("k25", StreamId(1020)).standing is Standing.GONE


def test_what_is_older_than_anything_in_the_tier_is_forgotten() -> None:
    rules = PurgeRules()
    rules.add(StreamId(1000), Purge(keys=frozenset({"a"}), prefixes=("b/",)))
    later = StreamId(2000 + RETENTION_SECONDS * 1000)
    rules.add(later, Purge(keys=frozenset({"c"})))
    assert rules.horizon == StreamId(1000)
    assert rules.judge("b/x", StreamId(1000)).standing is Standing.GOOD
