"""Which fetches a purge keeps from storing what they bring."""

from __future__ import annotations

import pytest

from proxy.cache.purge_log import PurgeLog
from proxy.purge import Purge


@pytest.fixture
def log() -> PurgeLog:
    return PurgeLog()


def test_nothing_is_purged_at_first(log: PurgeLog) -> None:
    assert log.sequence == 0
    assert not log.has_purged("a", 0)


def test_a_purge_covers_its_keys_alone(log: PurgeLog) -> None:
    log.append(Purge(keys=frozenset({"a", "b/c"})))
    assert [log.has_purged(key, 0) for key in ("a", "b/c", "b", "")] == [True, True, False, False]


def test_a_purge_covers_what_has_its_prefixes(log: PurgeLog) -> None:
    log.append(Purge(prefixes=("img/", "\N{SNOWMAN}")))
    covered = [log.has_purged(key, 0) for key in ("img/x", "img/", "\N{SNOWMAN}s", "img", "ximg/")]
    assert covered == [True, True, True, False, False]


def test_the_empty_prefix_is_everyones(log: PurgeLog) -> None:
    log.append(Purge(prefixes=("",)))
    assert log.has_purged("a", 0)


def test_a_purge_of_everything_covers_each_key(log: PurgeLog) -> None:
    log.append(Purge(everything=True))
    assert log.has_purged("a", 0)


def test_a_fetch_begun_after_a_purge_is_not_covered(log: PurgeLog) -> None:
    sequence = log.append(Purge(keys=frozenset({"a"})))
    assert sequence == log.sequence
    assert not log.has_purged("a", sequence)
    log.append(Purge(keys=frozenset({"b"})))
    assert not log.has_purged("a", sequence)
    assert log.has_purged("b", sequence)


def test_what_is_older_than_the_log_counts_as_purged(log: PurgeLog) -> None:
    for number in range(5):
        log.append(Purge(keys=frozenset(f"{number}-{row}" for row in range(1000))))
    assert log.has_purged("other", 0)
    assert not log.has_purged("other", log.sequence - 4096)
    assert log.has_purged("4-999", log.sequence - 4096)


def test_a_purge_larger_than_the_log_covers_what_began_before(log: PurgeLog) -> None:
    before = log.sequence
    after = log.append(Purge(keys=frozenset(f"{number:08}" for number in range(100_000))))
    assert log.has_purged("other", before)
    assert not log.has_purged("00000001", after)


def test_a_purge_that_broke_off_covers_all_that_is_under_way(log: PurgeLog) -> None:
    since = log.sequence
    with pytest.raises(KeyError), log._memory:
        raise KeyError

    log.append(Purge(keys=frozenset({"b"})))
    assert log.has_purged("a", since)
