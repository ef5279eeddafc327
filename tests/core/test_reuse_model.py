"""Every decision about reuse beside a second, naive one written from RFC 9111 §4.2, §5.2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.cache_control import RequestDirectives
from proxy.core.decision import Fetch, Hit, Refuse, ServeStale, decide, may_stand_in
from proxy.core.http_date import format_http_date
from proxy.core.messages import Request
from proxy.core.storability import assess
from tests.core.responses import NOW, POLICY, origin_head

if TYPE_CHECKING:
    from collections.abc import Iterable

VALUES = st.sampled_from(["0", "1", "20", "100", "0100", '"100"', "x", "-1", "1.5", "", "9" * 30])
RESPONSE_WORDS = st.sampled_from(
    ["no-cache", "must-revalidate", "proxy-revalidate", "public", "immutable", "MUST-REVALIDATE",
     "max-age", 'ext="no-cache, max-age=1"', "no-cache=x"]
)  # fmt: skip
REQUEST_WORDS = st.sampled_from(
    ["no-cache", "only-if-cached", "max-stale", "no-transform", "NO-CACHE", "ext=1"]
)


def words(plain: st.SearchStrategy[str], *numbered: str) -> st.SearchStrategy[list[str]]:
    with_number = st.builds("{}={}".format, st.sampled_from(numbered), VALUES)
    return st.lists(plain | with_number, max_size=4)


def first_of(said: Iterable[str]) -> dict[str, str | None]:
    """Name to argument, None without one; of several the first."""
    found: dict[str, str | None] = {}
    for word in said:
        name, equals, argument = word.partition("=")
        found.setdefault(name.lower(), argument if equals else None)
    return found


def number(found: dict[str, str | None], name: str, *, malformed: float | None) -> float | None:
    if name not in found:
        return None
    digits = (found[name] or "").strip('"')
    if not re.fullmatch("[0-9]+", digits):
        return malformed
    return float(min(int(digits), 2**31))


def naive_lifetime(
    said: dict[str, str | None], expires: int | None, date: int
) -> tuple[float, bool]:
    """(lifetime, whether the configured windows apply)."""
    shared, private = (number(said, name, malformed=0) for name in ("s-maxage", "max-age"))
    if shared is not None:
        return shared, False
    if private is not None:
        return private, True
    if expires is not None:
        return max(0.0, expires - date), True
    return POLICY.ttl, True


def naive(
    response: list[str], request: list[str], expires: int | None, date: int, age: int, resident: int
) -> tuple[str, bool]:
    """(what becomes of the request, whether the response may stand in for an error)."""
    said, asked = first_of(response), first_of(request)
    lifetime, configured = naive_lifetime(said, expires, date)
    current_age = max(0, -date, age) + resident
    staleness = current_age - lifetime
    never_stale = bool({"must-revalidate", "proxy-revalidate", "no-cache"} & said.keys())

    swr = number(said, "stale-while-revalidate", malformed=0)
    sie = number(said, "stale-if-error", malformed=0)
    if swr is None:
        swr = POLICY.stale_while_revalidate if configured and lifetime > 0 else 0
    if sie is None:
        sie = POLICY.stale_if_error if configured else 0
    if never_stale:
        swr = sie = 0
    if not configured and not swr and not sie:
        never_stale = True

    most_age = number(asked, "max-age", malformed=0)
    min_fresh = number(asked, "min-fresh", malformed=None)
    max_stale = number(asked, "max-stale", malformed=None)
    if "max-stale" in asked and asked["max-stale"] is None:
        max_stale = float(2**31)
    wanted = number(asked, "stale-if-error", malformed=None)
    window = max(swr, sie) if wanted is None else (0 if never_stale else wanted)
    stands_in = "no-cache" not in said and staleness < window

    usable = "no-cache" not in said and "no-cache" not in asked
    if most_age is not None and (current_age > most_age or most_age == 0):
        usable = False
    if usable and staleness < 0 and (min_fresh is None or -staleness >= min_fresh):
        return "hit", stands_in
    if usable and staleness >= 0:
        bounded = most_age is not None or min_fresh is not None
        taken = not bounded if max_stale is None else staleness <= max_stale
        allowed = staleness < swr or (max_stale is not None and not never_stale)
        if taken and allowed:
            return "stale", stands_in
    return ("refuse" if "only-if-cached" in asked else "ask"), stands_in


@given(
    response=words(
        RESPONSE_WORDS, "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"
    ),
    request=words(REQUEST_WORDS, "max-age", "min-fresh", "max-stale", "stale-if-error"),
    expires=st.none() | st.integers(-200, 200),
    date=st.integers(-150, 150),
    age=st.integers(0, 150),
    resident=st.integers(0, 700) | st.integers(3800, 4200),
)
@example(["max-age=100"], ["max-age=100"], None, 0, 0, 100)
@example(["max-age=100"], ["min-fresh=20"], None, 0, 0, 80)
@example(["s-maxage=20"], ["max-stale"], None, 0, 0, 20)
@example([], [], 200, -150, 0, 200)
def test_decisions_are_those_of_a_naive_reading(
    response: list[str], request: list[str], expires: int | None, date: int, age: int, resident: int
) -> None:
    fields = [("Cache-Control", word) for word in response]
    fields += [("Date", format_http_date(NOW + date)), ("Age", str(age))]
    if expires is not None:
        fields.append(("Expires", format_http_date(NOW + expires)))
    stored = assess(origin_head(*fields), POLICY).response
    asking = Request("GET", "key", directives=RequestDirectives.parse(request))
    now = NOW + resident
    match decide(asking, stored, now):
        case Hit():
            decision = "hit"
        case ServeStale():
            decision = "stale"
        case Refuse():
            decision = "refuse"
        case Fetch():
            decision = "fetch"
        case _:
            decision = "ask"
    expected = naive(response, request, expires, date, age, resident)
    assert (decision, may_stand_in(asking, stored, now)) == expected
