import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.cache_control import MAX_DELTA, RequestDirectives, ResponseDirectives


def response(*lines: str) -> ResponseDirectives:
    return ResponseDirectives.parse(lines)


def request(*lines: str, pragma: tuple[str, ...] = ()) -> RequestDirectives:
    return RequestDirectives.parse(lines, pragma)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("no-store", ResponseDirectives(no_store=True), id="5.2.2.5-no-store"),
        pytest.param("private", ResponseDirectives(private=True), id="5.2.2.7-private"),
        pytest.param("no-cache", ResponseDirectives(no_cache=True), id="5.2.2.4-no-cache"),
        pytest.param(
            "must-revalidate",
            ResponseDirectives(must_revalidate=True),
            id="5.2.2.2-must-revalidate",
        ),
        pytest.param(
            "proxy-revalidate",
            ResponseDirectives(proxy_revalidate=True),
            id="5.2.2.8-proxy-revalidate",
        ),
        pytest.param("public", ResponseDirectives(public=True), id="5.2.2.9-public"),
        pytest.param("immutable", ResponseDirectives(immutable=True), id="8246-immutable"),
        pytest.param("max-age=60", ResponseDirectives(max_age=60), id="5.2.2.1-max-age"),
        pytest.param("s-maxage=60", ResponseDirectives(s_maxage=60), id="5.2.2.10-s-maxage"),
        pytest.param(
            "stale-while-revalidate=60", ResponseDirectives(stale_while_revalidate=60), id="5861-3"
        ),
        pytest.param("stale-if-error=60", ResponseDirectives(stale_if_error=60), id="5861-4"),
        pytest.param("max-age=0", ResponseDirectives(max_age=0), id="zero"),
        pytest.param(
            'private="set-cookie"', ResponseDirectives(private=True), id="5.2.2.7-qualified"
        ),
        pytest.param(
            'no-cache="a, b"', ResponseDirectives(no_cache=True), id="5.2.2.4-qualified-list"
        ),
        pytest.param("no-cache=a", ResponseDirectives(no_cache=True), id="5.2.2.4-token-form"),
        pytest.param("no-store=1", ResponseDirectives(no_store=True), id="argument-where-none-is"),
        pytest.param("no-store=", ResponseDirectives(no_store=True), id="empty-argument"),
        pytest.param("no-store =1", ResponseDirectives(no_store=True), id="space-before-equals"),
        pytest.param("", ResponseDirectives(), id="empty"),
        pytest.param(" , ,\t,", ResponseDirectives(), id="empty-elements"),
        pytest.param("community=UCI", ResponseDirectives(), id="5.2.3-unknown-ignored"),
        pytest.param("no-store-ever, xprivate", ResponseDirectives(), id="names-are-whole"),
        pytest.param("no store", ResponseDirectives(), id="space-inside-a-name"),
        pytest.param("=60", ResponseDirectives(), id="no-name"),
    ],
)
def test_response_directive(line: str, expected: ResponseDirectives) -> None:
    assert response(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("no-cache", RequestDirectives(no_cache=True), id="5.2.1.4-no-cache"),
        pytest.param("no-store", RequestDirectives(no_store=True), id="5.2.1.5-no-store"),
        pytest.param(
            "only-if-cached", RequestDirectives(only_if_cached=True), id="5.2.1.7-only-if-cached"
        ),
        pytest.param("max-age=60", RequestDirectives(max_age=60), id="5.2.1.1-max-age"),
        pytest.param("min-fresh=60", RequestDirectives(min_fresh=60), id="5.2.1.3-min-fresh"),
        pytest.param("max-stale=60", RequestDirectives(max_stale=60), id="5.2.1.2-max-stale"),
        pytest.param("max-stale", RequestDirectives(max_stale=MAX_DELTA), id="5.2.1.2-any"),
        pytest.param(
            "max-age=0, max-stale",
            RequestDirectives(max_age=0, max_stale=MAX_DELTA),
            id="bare-max-stale-last",
        ),
        pytest.param("private, public", RequestDirectives(), id="response-directives"),
    ],
)
def test_request_directive(line: str, expected: RequestDirectives) -> None:
    assert request(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("MAX-AGE=60,No-Store", id="5.2-case-insensitive"),
        pytest.param(" max-age=60 ,\tno-store\t", id="5.6.1-ows"),
        pytest.param("no-store,max-age=60", id="order"),
        pytest.param(",,max-age=60,,no-store,,", id="5.6.1.2-empty-elements"),
        pytest.param('max-age="60", no-store', id="5.2-quoted-argument"),
        pytest.param(r'max-age="\6\0", no-store', id="5.6.4-quoted-pair"),
        pytest.param('max-age="60" \t, no-store', id="space-after-quoted-string"),
        pytest.param('a="x, y", max-age=60, no-store', id="unknown-with-quoted-string"),
        pytest.param("max-age=0060, no-store", id="leading-zeros"),
    ],
)
def test_spellings_of_the_same(line: str) -> None:
    assert response(line) == ResponseDirectives(max_age=60, no_store=True)


def test_field_lines_add_up() -> None:
    assert response("max-age=60", "no-store") == response("max-age=60, no-store")


INVALID_DELTAS = [
    pytest.param("=", id="empty"),
    pytest.param('=""', id="empty-string"),
    pytest.param("=-1", id="negative"),
    pytest.param("=+1", id="plus"),
    pytest.param("=1.0", id="decimal"),
    pytest.param("=1e3", id="exponent"),
    pytest.param("=1_000", id="underscore"),
    pytest.param("=0x10", id="hexadecimal"),
    pytest.param("=60s", id="unit"),
    pytest.param("=6 0", id="space-inside"),
    pytest.param("= 60", id="space-after-equals"),
    pytest.param(" =60", id="space-before-equals"),
    pytest.param("='60'", id="single-quotes"),
    pytest.param('="60', id="quote-left-open"),
    pytest.param('="60"0', id="text-after-quote"),
    pytest.param('=" 60"', id="space-in-quotes"),
    pytest.param("=٦٠", id="arabic-digits"),
    pytest.param("=²", id="superscript"),
    pytest.param("=60;", id="semicolon"),
    pytest.param("=60=60", id="two-equals"),
]


@pytest.mark.parametrize("argument", [pytest.param("", id="no-argument"), *INVALID_DELTAS])
def test_invalid_lifetime_in_a_response_is_zero(argument: str) -> None:  # RFC 9111 §4.2.1
    assert response(f"max-age{argument}") == ResponseDirectives(max_age=0)
    assert response(f"s-maxage{argument}") == ResponseDirectives(s_maxage=0)
    assert response(f"stale-if-error{argument}") == ResponseDirectives(stale_if_error=0)
    assert response(f"stale-while-revalidate{argument}") == ResponseDirectives(
        stale_while_revalidate=0
    )


@pytest.mark.parametrize("argument", [pytest.param("", id="no-argument"), *INVALID_DELTAS])
def test_invalid_max_age_in_a_request_is_zero(argument: str) -> None:
    assert request("max-age" + argument) == RequestDirectives(max_age=0)


@pytest.mark.parametrize("argument", INVALID_DELTAS)
def test_invalid_min_fresh_and_max_stale_are_not_there(argument: str) -> None:
    assert request("min-fresh" + argument) == RequestDirectives()
    assert request("max-stale" + argument) == RequestDirectives()


@pytest.mark.parametrize(
    ("digits", "seconds"),
    [
        pytest.param("2147483647", 2147483647, id="below"),
        pytest.param("2147483648", MAX_DELTA, id="equal"),
        pytest.param("2147483649", MAX_DELTA, id="above"),
        pytest.param("9" * 10_000, MAX_DELTA, id="more-digits-than-int-takes"),
        pytest.param("0" * 10_000 + "7", 7, id="zeros"),
    ],
)
def test_delta_overflow_is_clamped(digits: str, seconds: int) -> None:  # RFC 9111 §1.2.2
    assert response(f"max-age={digits}").max_age == seconds
    assert request(f"max-stale={digits}").max_stale == seconds


@pytest.mark.parametrize(
    ("lines", "max_age"),
    [
        pytest.param(["max-age=1, max-age=60"], 1, id="one-line"),
        pytest.param(["max-age=60", "max-age=1"], 60, id="two-lines"),
        pytest.param(["max-age=x, max-age=60"], 0, id="first-is-invalid"),
        pytest.param(["max-age, max-age=60"], 0, id="first-has-no-argument"),
        pytest.param(["MAX-AGE=1, max-age=60"], 1, id="case"),
    ],
)
def test_first_of_duplicates_counts(lines: list[str], max_age: int) -> None:  # RFC 9111 §4.2.1
    assert response(*lines) == ResponseDirectives(max_age=max_age)


def test_first_max_stale_counts() -> None:
    assert request("max-stale=5, max-stale").max_stale == 5
    assert request("max-stale, max-stale=5").max_stale == MAX_DELTA


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('a="no-store"', id="whole"),
        pytest.param('a="x, no-store, y"', id="between-commas"),
        pytest.param(r'a="\", no-store"', id="after-escaped-quote"),
        pytest.param(r'a="\\", b="no-store"', id="after-escaped-backslash"),
        pytest.param('a="", b=", no-store"', id="after-empty-string"),
    ],
)
def test_a_directive_inside_a_quoted_string_is_text(line: str) -> None:
    assert response(line) == ResponseDirectives()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('a="x, no-store', id="left-open"),
        pytest.param('no-cache="x, no-store', id="left-open-after-known"),
        pytest.param(r'a="x\", no-store', id="closing-quote-escaped"),
        pytest.param('a="x"y", no-store, b="', id="text-after-closing-quote"),
        pytest.param('a"x, no-store, b"', id="quote-in-a-name"),
        pytest.param('a=x"y, no-store, b"', id="quote-in-a-token"),
        pytest.param('", no-store, "', id="quotes-without-name"),
        pytest.param('a= "x, no-store, y"', id="space-before-quote"),
    ],
)
def test_a_misplaced_quote_hides_no_directive(line: str) -> None:
    assert response(line).no_store


def test_an_open_quote_ends_with_its_line() -> None:
    assert response('a="x', 'private, b="').private


@pytest.mark.parametrize("pragma", ["no-cache", "No-Cache", 'a="b", no-cache', "x,no-cache"])
def test_pragma_no_cache_counts_without_cache_control(pragma: str) -> None:  # RFC 7234 §5.4
    assert request(pragma=(pragma,)) == RequestDirectives(no_cache=True)


@pytest.mark.parametrize("line", ["max-age=60", "unknown", ""])
def test_pragma_is_ignored_beside_cache_control(line: str) -> None:
    assert not request(line, pragma=("no-cache",)).no_cache


def test_other_pragmas_mean_nothing() -> None:
    assert request(pragma=("no-store, x=no-cache",)) == RequestDirectives()


def test_nothing_said() -> None:
    assert response() == ResponseDirectives()
    assert request() == RequestDirectives()


def test_long_values_are_parsed_like_short_ones() -> None:
    filler = f'x="{"," * 1000}"'
    assert response(filler, "max-age=60, no-store").no_store
    assert request(filler, "max-age=60").max_age == 60


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('a="' * 10_000, id="opening-quotes"),
        pytest.param('a=",' * 8_000, id="opening-quotes-and-commas"),
        pytest.param('a="' + "\\" * 32_000, id="backslashes"),
        pytest.param('a="x"' + " " * 32_000 + "y", id="spaces-after-quote"),
        pytest.param("," * 32_000, id="commas"),
        pytest.param("=" * 32_000, id="equals"),
    ],
)
def test_hostile_values_take_linear_time(line: str) -> None:
    began = time.process_time()
    response(line)
    assert time.process_time() - began < 0.5


tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(
    lambda text: "x" + text
)


@given(
    before=st.lists(tokens | st.builds("{}={}".format, tokens, tokens), max_size=5),
    seconds=st.integers(0, MAX_DELTA),
    after=st.lists(st.builds('{}="{}"'.format, tokens, st.text(", =a-")), max_size=5),
    separator=st.sampled_from([",", ", ", " ,\t", ",,"]),
)
def test_known_directives_are_found_among_any_others(
    before: list[str], seconds: int, after: list[str], separator: str
) -> None:
    line = separator.join([*before, f"max-age={seconds}", "private", *after])
    assert response(line) == ResponseDirectives(max_age=seconds, private=True)


@given(st.lists(st.text('no-stre=",\\ 1'), max_size=3))
def test_no_value_is_an_error(lines: list[str]) -> None:
    parsed = response(*lines)
    assert parsed == response(*lines)
    assert parsed.no_store <= any("no-store" in line for line in lines)
    request(*lines, pragma=tuple(lines))
