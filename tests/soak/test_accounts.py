"""Shows numbers that do not add up, or grow, and sees them objected to."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.soak import accounts
from tests.soak.clients import Seen
from tests.soak.processes import Usage

MIB = 2**20
TEXT = """\
# TYPE proxy_cache_hits_total counter
proxy_cache_hits_total 90.0
proxy_cache_misses_total 10.0
proxy_bytes_served_total 5e+03
proxy_origin_requests_total{outcome="ok"} 10.0
"""


def seen(hits: int = 90, body_bytes: int = 5000, uncertain: int = 0) -> Seen:
    return Seen(Counter(HIT=hits, MISS=10), body_bytes, uncertain)


def rules(hits: int, lost: int = 0, uncertain: int = 0) -> list[str]:
    metrics = accounts.parse(TEXT)
    found = accounts.against_clients(metrics, seen(hits, uncertain=uncertain), lost)
    return [rule for rule, _ in found]


def test_numbers_that_agree_are_right() -> None:
    assert rules(90) == []


@pytest.mark.parametrize("hits", [89, 91])
def test_a_single_count_too_many_or_too_few_is_wrong(hits: int) -> None:
    assert rules(hits) == ["metrics and clients differ"]


def test_requests_on_a_killed_worker_may_be_missing() -> None:
    assert rules(91, lost=1) == []
    assert rules(92, lost=1) == ["metrics and clients differ"]


def test_an_unanswered_request_may_have_been_counted_but_none_that_was_answered_missed() -> None:
    assert rules(89, uncertain=1) == []
    assert rules(91, uncertain=1) == ["metrics and clients differ"]


def test_bytes_that_were_not_counted_are_wrong() -> None:
    found = accounts.against_clients(accounts.parse(TEXT), seen(body_bytes=5001, uncertain=1), 0)
    assert [rule for rule, _ in found] == ["metrics and clients differ"]


def test_bytes_that_a_worker_had_just_sent_as_it_was_killed_may_be_missing() -> None:
    metrics = accounts.parse(TEXT)
    assert not list(accounts.against_clients(metrics, seen(body_bytes=5001), 0, lost_bytes=1))


def test_bytes_that_no_client_received_are_wrong() -> None:
    found = accounts.against_clients(accounts.parse(TEXT), seen(body_bytes=4000), 0)
    assert [rule for rule, _ in found] == ["metrics and clients differ"]


@pytest.mark.parametrize("after", ["89.0", None])
def test_a_counter_gone_backwards_or_lost_is_wrong(after: str | None) -> None:
    before = accounts.parse(TEXT)
    later = {name: value for name, value in before.items() if "hits" not in name}
    if after is not None:
        later["proxy_cache_hits_total"] = float(after)
    assert [rule for rule, _ in accounts.went_backwards(before, later)] == [
        "counter went backwards"
    ]


@pytest.mark.parametrize(("sent", "expected"), [(10, []), (12, ["metrics and origin differ"])])
def test_origin_requests_agree_with_the_origin(sent: int, expected: list[str]) -> None:
    found = accounts.against_origin(accounts.parse(TEXT), Counter({"200": sent}), 0, seen())
    assert [rule for rule, _ in found] == expected


def test_an_origin_asked_more_often_than_anybody_wanted_is_wrong() -> None:
    metrics = {'proxy_origin_requests_total{outcome="ok"}': 500.0}
    found = accounts.against_origin(metrics, Counter({"200": 500}), 0, seen())
    assert [rule for rule, _ in found] == ["origin asked too often"]


def samples(first: int, last: int, count: int = 120) -> list[Usage]:
    """Memory that goes evenly from `first` to `last` MiB."""
    return [
        Usage(at, 3, (first + (last - first) * at // count) * MIB, 60, 11) for at in range(count)
    ]


def test_memory_that_stays_is_right() -> None:
    assert list(accounts.of_memory(samples(140, 150))) == []


def test_memory_that_grows_is_wrong() -> None:
    assert [rule for rule, _ in accounts.of_memory(samples(140, 400))] == ["memory grew"]


def test_memory_that_grew_in_the_warm_up_alone_is_right() -> None:
    warm_up = samples(60, 140, count=60)
    assert list(accounts.of_memory(warm_up + samples(140, 141))) == []


@pytest.mark.parametrize(
    ("descriptors", "threads", "expected"),
    [(62, 11, []), (90, 11, ["descriptors grew"]), (60, 99, ["threads grew"])],
)
def test_descriptors_and_threads_must_not_grow(
    descriptors: int, threads: int, expected: list[str]
) -> None:
    quiet = [Usage(0, 3, MIB, 60, 11), Usage(1, 3, MIB, descriptors, threads)]
    assert [rule for rule, _ in accounts.of_resources(quiet)] == expected
