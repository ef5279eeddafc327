"""RFC 9111 §4.1: whom a stored response with Vary may answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.vary import Vary, vary_of

Fields = tuple[tuple[bytes, bytes], ...]

DE, EN = ((b"accept-language", b"de"),), ((b"accept-language", b"en"),)
NOTHING: Fields = ()


def vary(*lines: str, asked: Fields = NOTHING) -> Vary:
    found = vary_of(lines, asked)
    assert found is not None
    return found


@pytest.mark.parametrize("lines", [(), ("",), (" , ",), ("", ",")])
def test_nothing_nominated(lines: tuple[str, ...]) -> None:
    assert vary_of(lines, DE) is None


@pytest.mark.parametrize(
    ("asked", "again", "matches"),
    [
        (DE, DE, True),
        (DE, EN, False),
        (DE, NOTHING, False),
        (NOTHING, DE, False),
        (NOTHING, NOTHING, True),
        (NOTHING, ((b"accept-language", b""),), False),
        (DE, (*DE, (b"user-agent", b"x")), True),
        (DE, (*DE, *EN), False),
        ((*DE, *EN), (*DE, *EN), True),
        ((*DE, *EN), (*EN, *DE), False),
        ((*DE, *EN), ((b"accept-language", b"de,en"),), True),
        ((*DE, *EN), ((b"accept-language", b"de ,\t en "),), True),
        (DE, ((b"accept-language", b"DE"),), False),
        (((b"accept-language", b'"a, b"'),), ((b"accept-language", b'"a,b"'),), False),
    ],
)
def test_the_nominated_field_must_match(asked: Fields, again: Fields, matches: bool) -> None:
    assert vary("Accept-Language", asked=asked).selects(again) is matches


@pytest.mark.parametrize(
    "lines",
    [
        ("Accept-Language, User-Agent",),
        ("Accept-Language", "User-Agent"),
        ("accept-language,,USER-AGENT ,",),
        ("User-Agent, Accept-Language, user-agent",),
    ],
)
def test_all_nominated_fields_must_match(lines: tuple[str, ...]) -> None:
    nominated = vary(*lines, asked=(*DE, (b"user-agent", b"x")))
    assert nominated == vary("user-agent, accept-language", asked=((b"user-agent", b"x"), *DE))
    assert nominated.selects(((b"user-agent", b"x"), *DE))
    assert not nominated.selects(DE)
    assert not nominated.selects((*DE, (b"user-agent", b"y")))


@pytest.mark.parametrize(
    "lines", [("*",), ("Accept, *",), ("*, Accept",), ("Accept", "*"), (", *",), ("a b",), ("ä",)]
)
def test_a_star_never_matches(lines: tuple[str, ...]) -> None:
    nominated = vary(*lines, asked=DE)
    assert not nominated.selects(DE)
    assert not nominated.also(nominated).selects(DE)
    assert not nominated.given_for(DE).selects(DE)


def test_what_was_answered_before_is_remembered_for_the_same_nomination() -> None:
    both = vary("Accept-Language", asked=EN).also(vary("Accept-Language", asked=DE))
    assert both.selects(DE)
    assert both.selects(EN)
    assert not both.selects(NOTHING)
    other = vary("Accept", asked=EN).also(vary("Accept-Language", asked=DE))
    assert other == vary("Accept", asked=EN)


def test_no_more_is_remembered_than_a_few_and_the_latest_are() -> None:
    latest = vary("a", asked=((b"a", b"0"),))
    for number in range(1, 100):
        latest = vary("a", asked=((b"a", b"%d" % number),)).also(latest)
    assert len(latest.answered) == 8
    assert latest.selects(((b"a", b"99"),))
    assert not latest.selects(((b"a", b"0"),))


def test_a_larger_selection_counts_as_larger() -> None:
    small, large = (vary("a", asked=((b"a", b"x" * size),)) for size in (1, 1001))
    assert large.size - small.size == 1000


NAMES = st.sampled_from([b"a", b"b", b"c"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"x", b"y", b"x, y"])), max_size=4)


@given(nominated=st.lists(NAMES, min_size=1, max_size=3), asked=FIELDS, again=FIELDS)
def test_agrees_with_a_naive_reading(
    nominated: list[bytes], asked: list[tuple[bytes, bytes]], again: list[tuple[bytes, bytes]]
) -> None:
    def values(fields: list[tuple[bytes, bytes]], wanted: bytes) -> list[str] | None:
        lines = [value.decode() for name, value in fields if name == wanted]
        return [member.strip() for line in lines for member in line.split(",")] if lines else None

    found = vary(", ".join(name.decode() for name in nominated), asked=tuple(asked))
    naive = all(values(asked, name) == values(again, name) for name in nominated)
    assert found.selects(again) is naive
