"""RFC 9111 §4, §5.2.1: what a request gets, given what is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.cache_control import RequestDirectives
from proxy.core.cache_status import Forward
from proxy.core.decision import (
    Decision,
    Fetch,
    Hit,
    Refuse,
    ServeStale,
    Validate,
    decide,
    is_reusable,
    may_stand_in,
)
from proxy.core.freshness import Freshness
from proxy.core.messages import Request, StoredResponse
from proxy.core.vary import vary_of
from tests.core.responses import NOW, asking, stored_response

# Fresh until 100, stale while revalidating until 130, stale if error until 160.
STORED = stored_response(freshness=Freshness(100.0, 30.0, 60.0))
STRICT = stored_response(freshness=Freshness(100.0, must_revalidate=True))
NO_CACHE = stored_response(freshness=Freshness(100.0, no_cache=True))

HIT, STALE, STALE_AS_ASKED = Hit(STORED), ServeStale(STORED, True), ServeStale(STORED, False)
VALIDATE, RELOAD = Validate(STORED, Forward.STALE), Validate(STORED, Forward.REQUEST)


@pytest.mark.parametrize("stored", [STORED, STRICT, NO_CACHE])
@pytest.mark.parametrize("age", [0.0, 99.9, 100.0, 129.0, 131.0])
def test_who_states_no_directives_gets_what_is_reusable(stored: StoredResponse, age: float) -> None:
    hit = isinstance(decide(asking(), stored, NOW + age), Hit)
    assert hit == is_reusable(stored.freshness, age)


def test_nothing_stored() -> None:
    assert decide(asking(), None, NOW) == Fetch()
    assert decide(asking("no-cache"), None, NOW) == Fetch()
    assert decide(asking("only-if-cached"), None, NOW) == Refuse()


@pytest.mark.parametrize(
    ("age", "wanted", "decision"),
    [
        (0, None, HIT),
        (99.999, None, HIT),
        (100, None, STALE),
        (129.999, None, STALE),
        (130, None, VALIDATE),
        # §5.2.1.1 max-age
        (10, "max-age=10", HIT),
        (10.5, "max-age=10", RELOAD),
        (0, "max-age=0", RELOAD),
        (110, "max-age=1000", VALIDATE),
        (110, "max-age=1000, max-stale=10", STALE),
        # §5.2.1.2 max-stale
        (110, "max-stale=10", STALE),
        (111, "max-stale=10", VALIDATE),
        (140, "max-stale=40", STALE_AS_ASKED),
        (141, "max-stale=40", VALIDATE),
        (100_000, "max-stale", STALE_AS_ASKED),
        # §5.2.1.3 min-fresh
        (50, "min-fresh=50", HIT),
        (50.5, "min-fresh=50", RELOAD),
        (110, "min-fresh=0", VALIDATE),
        # §5.2.1.4 no-cache
        (10, "no-cache", RELOAD),
        (110, "no-cache", VALIDATE),
        # §5.2.1.5 no-store says nothing of what is stored already
        (10, "no-store", HIT),
        # §5.2.1.7 only-if-cached
        (10, "only-if-cached", HIT),
        (110, "only-if-cached", STALE_AS_ASKED),
        (130, "only-if-cached", Refuse()),
        (10, "only-if-cached, no-cache", Refuse()),
        (10, "only-if-cached, max-age=5", Refuse()),
        (10, "no-transform, something-new=1", HIT),
    ],
)
def test_decision(age: float, wanted: str | None, decision: Decision) -> None:
    assert decide(asking(wanted), STORED, NOW + age) == decision


def test_5_4_pragma_asks_as_no_cache_does() -> None:
    request = Request("GET", "key", directives=RequestDirectives.parse((), ("no-cache",)))
    assert decide(request, STORED, NOW) == RELOAD


@pytest.mark.parametrize("wanted", [None, "max-stale", "max-stale=1000"])
def test_5_2_2_2_must_revalidate_is_never_stale(wanted: str | None) -> None:
    assert decide(asking(wanted), STRICT, NOW + 99) == Hit(STRICT)
    assert decide(asking(wanted), STRICT, NOW + 100) == Validate(STRICT, Forward.STALE)


@pytest.mark.parametrize("wanted", [None, "max-stale", "max-age=1000"])
@pytest.mark.parametrize("age", [0, 50, 500])
def test_5_2_2_4_no_cache_is_validated_on_every_use(wanted: str | None, age: int) -> None:
    assert decide(asking(wanted), NO_CACHE, NOW + age) == Validate(NO_CACHE, Forward.STALE)


def test_a_lifetime_of_nothing_is_stale_in_the_second_of_arrival() -> None:
    stored = stored_response(freshness=Freshness(0.0))
    assert decide(asking(), stored, NOW) == Validate(stored, Forward.STALE)


def test_the_age_on_arrival_counts() -> None:
    old = stored_response(initial_age=100.0, freshness=Freshness(100.0))
    assert decide(asking(), old, NOW) == Validate(old, Forward.STALE)


# RFC 5861 §4

_CASES: list[tuple[Freshness, float, bool]] = [
    (Freshness(100.0, 30.0, 60.0), 50, True),
    (Freshness(100.0, 30.0, 60.0), 159.9, True),
    (Freshness(100.0, 30.0, 60.0), 160, False),
    (Freshness(100.0, 30.0, 0.0), 129.9, True),
    (Freshness(100.0, 30.0, 0.0), 130, False),
    (Freshness(100.0, must_revalidate=True), 99.9, True),
    (Freshness(100.0, must_revalidate=True), 100, False),
    (Freshness(100.0, no_cache=True), 0, False),
]


@pytest.mark.parametrize(("freshness", "age", "may"), _CASES)
def test_standing_in_for_a_failing_origin(freshness: Freshness, age: float, may: bool) -> None:
    assert may_stand_in(asking(), stored_response(freshness=freshness), NOW + age) is may


@pytest.mark.parametrize(
    ("freshness", "wanted", "age", "may"),
    [
        (Freshness(100.0, 30.0, 60.0), "stale-if-error=10", 109.9, True),
        (Freshness(100.0, 30.0, 60.0), "stale-if-error=10", 110, False),
        (Freshness(100.0, 30.0, 60.0), "stale-if-error=1000", 1099, True),
        (Freshness(100.0, 30.0, 60.0), "stale-if-error=0", 100, False),
        (Freshness(100.0, 30.0, 60.0), "stale-if-error=x", 159.9, True),
        (Freshness(100.0, must_revalidate=True), "stale-if-error=10", 99, True),
        (Freshness(100.0, must_revalidate=True), "stale-if-error=10", 100, False),
        (Freshness(100.0, no_cache=True), "stale-if-error=10", 0, False),
    ],
)
def test_a_client_may_say_how_stale_if_there_is_an_error(
    freshness: Freshness, wanted: str, age: float, may: bool
) -> None:
    stored = stored_response(freshness=freshness)
    assert may_stand_in(asking(wanted), stored, NOW + age) is may


# RFC 9111 §4.1

DE, EN = ((b"accept-language", b"de"),), ((b"accept-language", b"en"),)
GERMAN = replace(STORED, vary=vary_of(("Accept-Language",), DE))
CHANGING = replace(STORED, vary=vary_of(("*",), DE))


def test_4_1_the_request_fields_that_vary_names_must_match() -> None:
    assert decide(asking(fields=DE), GERMAN, NOW) == Hit(GERMAN)
    for fields in (EN, ()):
        assert decide(asking(fields=fields), GERMAN, NOW) == Validate(GERMAN, Forward.VARY_MISS)


@pytest.mark.parametrize("age", [0, 100, 129])
def test_4_1_what_does_not_match_is_never_sent_without_validation(age: float) -> None:
    for stored, fields in ((GERMAN, EN), (CHANGING, DE)):
        for wanted in (None, "max-stale", "max-age=1000"):
            decision = decide(asking(wanted, fields=fields), stored, NOW + age)
            assert decision == Validate(stored, Forward.VARY_MISS)
        assert decide(asking("only-if-cached", fields=fields), stored, NOW + age) == Refuse()
        assert not may_stand_in(asking(fields=fields), stored, NOW + age)
