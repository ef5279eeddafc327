import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.cache import get_conditional_response
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.http_date import format_http_date
from proxy.core.preconditions import Conditions, Outcome, evaluate, if_range_holds

MODIFIED = 784111777.0
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
PROCEED, NOT_MODIFIED, FAILED = Outcome


def outcome(
    etag: str | None = '"x"', last_modified: float | None = MODIFIED, **fields: str
) -> Outcome:
    return evaluate(Conditions(**fields), etag=etag, last_modified=last_modified)


@pytest.mark.parametrize(
    ("if_match", "etag", "expected"),
    [
        pytest.param('"x"', '"x"', PROCEED, id="13.1.1-same"),
        pytest.param('"y"', '"x"', FAILED, id="13.1.1-other"),
        pytest.param('"y", "x"', '"x"', PROCEED, id="13.1.1-in-list"),
        pytest.param('"y", "z"', '"x"', FAILED, id="13.1.1-not-in-list"),
        pytest.param("*", '"x"', PROCEED, id="13.1.1-star"),
        pytest.param(" * ", '"x"', PROCEED, id="13.1.1-star-with-space"),
        pytest.param("*", None, PROCEED, id="13.1.1-star-without-etag"),
        pytest.param("*", 'W/"x"', PROCEED, id="13.1.1-star-with-weak-etag"),
        pytest.param('"*"', '"x"', FAILED, id="13.1.1-quoted-star"),
        pytest.param('*, "y"', '"x"', FAILED, id="13.1.1-star-is-no-list-member"),
        pytest.param('"x"', None, FAILED, id="13.1.1-no-etag"),
        pytest.param('W/"x"', '"x"', FAILED, id="8.8.3.2-weak-asked"),
        pytest.param('"x"', 'W/"x"', FAILED, id="8.8.3.2-weak-stored"),
        pytest.param('W/"x"', 'W/"x"', FAILED, id="8.8.3.2-both-weak"),
        pytest.param('W/"x", "x"', '"x"', PROCEED, id="8.8.3.2-weak-beside-strong"),
        pytest.param("x", '"x"', FAILED, id="8.8.3-unquoted"),
        pytest.param("x", "x", FAILED, id="8.8.3-unquoted-on-both-sides"),
        pytest.param("", '"x"', FAILED, id="empty-list"),
    ],
)
def test_if_match(if_match: str, etag: str | None, expected: Outcome) -> None:
    assert outcome(etag, if_match=if_match) is expected


@pytest.mark.parametrize(
    ("if_none_match", "etag", "expected"),
    [
        pytest.param('"x"', '"x"', NOT_MODIFIED, id="13.1.2-same"),
        pytest.param('"y"', '"x"', PROCEED, id="13.1.2-other"),
        pytest.param('"y","x"', '"x"', NOT_MODIFIED, id="13.1.2-in-list"),
        pytest.param('"y", "z"', '"x"', PROCEED, id="13.1.2-not-in-list"),
        pytest.param("*", '"x"', NOT_MODIFIED, id="13.1.2-star"),
        pytest.param("*", None, NOT_MODIFIED, id="13.1.2-star-without-etag"),
        pytest.param('"*"', '"x"', PROCEED, id="13.1.2-quoted-star"),
        pytest.param('"x"', None, PROCEED, id="13.1.2-no-etag"),
        pytest.param('W/"x"', '"x"', NOT_MODIFIED, id="8.8.3.2-weak-asked"),
        pytest.param('"x"', 'W/"x"', NOT_MODIFIED, id="8.8.3.2-weak-stored"),
        pytest.param('W/"x"', 'W/"x"', NOT_MODIFIED, id="8.8.3.2-both-weak"),
        pytest.param('W/"x"', 'W/"y"', PROCEED, id="8.8.3.2-both-weak-and-different"),
        pytest.param('w/"x"', '"x"', PROCEED, id="8.8.3-weak-prefix-is-case-sensitive"),
        pytest.param('W/ "x"', '"x"', PROCEED, id="8.8.3-space-in-weak-prefix"),
        pytest.param('"X"', '"x"', PROCEED, id="8.8.3-case-sensitive"),
        pytest.param('""', '""', NOT_MODIFIED, id="8.8.3-empty-tag"),
        pytest.param('"a,b"', '"a,b"', NOT_MODIFIED, id="8.8.3-comma-inside"),
        pytest.param('"y", "a,b"', '"a,b"', NOT_MODIFIED, id="8.8.3-comma-inside-in-list"),
        pytest.param('"a,b"', '"a"', PROCEED, id="8.8.3-not-split-at-comma-inside"),
        pytest.param('"y, ", "x"', '", "', PROCEED, id="8.8.3-no-tag-between-tags"),
        pytest.param('"\xfc"', '"\xfc"', NOT_MODIFIED, id="8.8.3-obs-text"),
        pytest.param(r'"a\"', r'"a\"', NOT_MODIFIED, id="8.8.3-backslash-escapes-nothing"),
        pytest.param('\t"x" ', '"x"', NOT_MODIFIED, id="5.6.3-space-around"),
        pytest.param('"y" ,\t"x"', '"x"', NOT_MODIFIED, id="5.6.1-space-around-comma"),
        pytest.param(',, "x" ,', '"x"', NOT_MODIFIED, id="5.6.1.2-empty-elements"),
        pytest.param("", '"x"', PROCEED, id="empty-list"),
        pytest.param("x", '"x"', PROCEED, id="malformed-unquoted"),
        pytest.param("x", "x", PROCEED, id="malformed-on-both-sides"),
        pytest.param('"x', '"x', PROCEED, id="malformed-open-on-both-sides"),
        pytest.param('"', '"', PROCEED, id="malformed-lone-quote"),
        pytest.param('y, "x"', '"x"', NOT_MODIFIED, id="malformed-before-good"),
        pytest.param('"x", y', '"x"', NOT_MODIFIED, id="malformed-after-good"),
        pytest.param('"y, "x"', '"x"', NOT_MODIFIED, id="open-quote-before-good"),
        pytest.param('"x"y', '"x"', PROCEED, id="text-after-tag"),
        pytest.param('"x" "y"', '"x"', PROCEED, id="no-comma-between"),
        pytest.param("*, y", '"x"', PROCEED, id="star-is-no-list-member"),
    ],
)
def test_if_none_match(if_none_match: str, etag: str | None, expected: Outcome) -> None:
    assert outcome(etag, if_none_match=if_none_match) is expected


@pytest.mark.parametrize(
    ("since", "last_modified", "expected"),
    [
        pytest.param(SAME, MODIFIED, NOT_MODIFIED, id="13.1.3-same"),
        pytest.param(LATER, MODIFIED, NOT_MODIFIED, id="13.1.3-modified-before"),
        pytest.param(EARLIER, MODIFIED, PROCEED, id="13.1.3-modified-after"),
        pytest.param(SAME, None, PROCEED, id="13.1.3-no-modification-date"),
        pytest.param(SAME, MODIFIED + 0.9, NOT_MODIFIED, id="fraction-of-the-same-second"),
        pytest.param("yesterday", MODIFIED, PROCEED, id="13.1.3-invalid"),
        pytest.param("", MODIFIED, PROCEED, id="13.1.3-empty"),
        pytest.param(f"{SAME}, {SAME}", MODIFIED, PROCEED, id="13.1.3-more-than-one"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", MODIFIED, NOT_MODIFIED, id="far-future"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", MODIFIED, NOT_MODIFIED, id="5.6.7-rfc850"),
        pytest.param("Sun Nov  6 08:49:37 1994", MODIFIED, NOT_MODIFIED, id="5.6.7-asctime"),
        pytest.param(f" {SAME}\t", MODIFIED, NOT_MODIFIED, id="5.5-space-around"),
    ],
)
def test_if_modified_since(since: str, last_modified: float | None, expected: Outcome) -> None:
    assert outcome(None, last_modified, if_modified_since=since) is expected


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        pytest.param(SAME, NOT_MODIFIED, id="9111-4.3.2-same"),
        pytest.param(LATER, NOT_MODIFIED, id="9111-4.3.2-stored-before"),
        pytest.param(EARLIER, PROCEED, id="9111-4.3.2-stored-after"),
    ],
)
def test_if_modified_since_of_a_stored_response_that_does_not_say_is_about_its_date(
    since: str, expected: Outcome
) -> None:
    conditions = Conditions(if_modified_since=since)
    held = evaluate(conditions, etag=None, last_modified=None, stored_date=MODIFIED)
    assert held is expected
    unconcerned = Conditions(if_unmodified_since=EARLIER)
    assert evaluate(unconcerned, etag=None, last_modified=None, stored_date=MODIFIED) is PROCEED
    known = evaluate(conditions, etag=None, last_modified=MODIFIED + 60, stored_date=MODIFIED)
    assert known is PROCEED


def test_two_digit_years_are_at_most_50_years_ahead() -> None:  # §5.6.7
    in_2070 = "Thursday, 06-Nov-70 08:49:37 GMT"
    for now, expected in ((MODIFIED, PROCEED), (MODIFIED + 30 * 365.25 * 86400, NOT_MODIFIED)):
        conditions = Conditions(if_modified_since=in_2070)
        assert evaluate(conditions, etag=None, last_modified=MODIFIED, now=now) is expected
    unmodified = Conditions(if_unmodified_since=in_2070)
    assert evaluate(unmodified, etag=None, last_modified=MODIFIED, now=MODIFIED) is FAILED


@pytest.mark.parametrize(
    ("since", "last_modified", "expected"),
    [
        pytest.param(SAME, MODIFIED, PROCEED, id="13.1.4-same"),
        pytest.param(LATER, MODIFIED, PROCEED, id="13.1.4-modified-before"),
        pytest.param(EARLIER, MODIFIED, FAILED, id="13.1.4-modified-after"),
        pytest.param(EARLIER, None, PROCEED, id="13.1.4-no-modification-date"),
        pytest.param(SAME, MODIFIED + 0.9, PROCEED, id="fraction-of-the-same-second"),
        pytest.param("yesterday", MODIFIED, PROCEED, id="13.1.4-invalid"),
        pytest.param(f"{EARLIER}, {EARLIER}", MODIFIED, PROCEED, id="13.1.4-more-than-one"),
    ],
)
def test_if_unmodified_since(since: str, last_modified: float | None, expected: Outcome) -> None:
    assert outcome(None, last_modified, if_unmodified_since=since) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, PROCEED, id="6-none"),
        pytest.param(
            {"if_match": '"x"', "if_unmodified_since": EARLIER},
            PROCEED,
            id="2-if-unmodified-since-ignored-beside-if-match",
        ),
        pytest.param(
            {"if_match": '"y"', "if_unmodified_since": LATER}, FAILED, id="1-before-step-2"
        ),
        pytest.param({"if_match": '"y"', "if_none_match": '"x"'}, FAILED, id="1-before-step-3"),
        pytest.param(
            {"if_unmodified_since": EARLIER, "if_none_match": '"x"'}, FAILED, id="2-before-step-3"
        ),
        pytest.param(
            {"if_unmodified_since": EARLIER, "if_modified_since": SAME},
            FAILED,
            id="2-before-step-4",
        ),
        pytest.param({"if_match": '"x"', "if_none_match": '"x"'}, NOT_MODIFIED, id="1-on-to-3"),
        pytest.param({"if_match": '"x"', "if_modified_since": SAME}, NOT_MODIFIED, id="1-on-to-4"),
        pytest.param(
            {"if_unmodified_since": SAME, "if_modified_since": SAME}, NOT_MODIFIED, id="2-on-to-4"
        ),
        pytest.param(
            {"if_none_match": '"y"', "if_modified_since": SAME},
            PROCEED,
            id="4-if-modified-since-ignored-beside-if-none-match",
        ),
        pytest.param(
            {"if_none_match": "malformed", "if_modified_since": SAME},
            PROCEED,
            id="4-ignored-beside-malformed-if-none-match",
        ),
        pytest.param(
            {"if_none_match": '"x"', "if_modified_since": EARLIER},
            NOT_MODIFIED,
            id="3-alone-counts",
        ),
    ],
)
def test_order_of_evaluation(fields: dict[str, str], expected: Outcome) -> None:  # §13.2.2
    held = evaluate(Conditions(**fields), etag='"x"', last_modified=MODIFIED)
    assert held is expected


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(if_match="*"),
        Conditions(if_match='"x"'),
        Conditions(if_none_match="*"),
        Conditions(if_none_match='"x"'),
        Conditions(if_modified_since=LATER),
        Conditions(if_unmodified_since=EARLIER),
    ],
)
def test_preconditions_of_what_does_not_exist_are_ignored(conditions: Conditions) -> None:
    # §13.2.1: the answer without them is a 404
    held = evaluate(conditions, etag='"x"', last_modified=MODIFIED, exists=False)
    assert held is PROCEED


@pytest.mark.parametrize(
    ("if_range", "etag", "date", "holds"),
    [
        pytest.param(None, '"x"', MODIFIED + 1, True, id="13.2.2-step-5-absent"),
        pytest.param(None, None, None, True, id="13.2.2-step-5-absent-and-no-validator"),
        pytest.param('"x"', '"x"', None, True, id="13.1.5-same-tag"),
        pytest.param(' "x"\t', '"x"', None, True, id="13.1.5-same-tag-with-space"),
        pytest.param('"y"', '"x"', None, False, id="13.1.5-other-tag"),
        pytest.param('"x"', None, None, False, id="13.1.5-no-tag"),
        pytest.param('W/"x"', '"x"', None, False, id="13.1.5-weak-asked"),
        pytest.param('"x"', 'W/"x"', None, False, id="13.1.5-weak-stored"),
        pytest.param('W/"x"', 'W/"x"', None, False, id="13.1.5-both-weak"),
        pytest.param('"x", "y"', '"x"', None, False, id="13.1.5-no-list"),
        pytest.param("*", '"x"', None, False, id="13.1.5-no-star"),
        pytest.param("x", "x", None, False, id="13.1.5-unquoted"),
        pytest.param("", '"x"', None, False, id="13.1.5-empty"),
        pytest.param(SAME, '"x"', MODIFIED + 1, True, id="8.8.2.2-a-second-before-date"),
        pytest.param(SAME, '"x"', MODIFIED + 0.9, False, id="8.8.2.2-less-than-a-second"),
        pytest.param(SAME, '"x"', MODIFIED, False, id="8.8.2.2-same-second"),
        pytest.param(SAME, '"x"', MODIFIED - 60, False, id="8.8.2.2-modified-after-date"),
        pytest.param(SAME, '"x"', None, False, id="8.8.2.2-no-date"),
        pytest.param(LATER, '"x"', MODIFIED + 60, False, id="13.1.5-later-is-no-match"),
        pytest.param(EARLIER, '"x"', MODIFIED + 60, False, id="13.1.5-earlier-is-no-match"),
        pytest.param("yesterday", '"x"', MODIFIED + 60, False, id="13.1.5-invalid"),
        pytest.param("Sun Nov  6 08:49:37 1994", None, MODIFIED + 60, True, id="5.6.7-asctime"),
    ],
)
def test_if_range(if_range: str | None, etag: str | None, date: float | None, holds: bool) -> None:
    assert if_range_holds(if_range, etag=etag, last_modified=MODIFIED, date=date) is holds


def test_if_range_date_without_last_modified_does_not_hold() -> None:
    assert not if_range_holds(SAME, etag='"x"', last_modified=None, date=MODIFIED + 60)


def test_if_range_date_means_the_second_of_the_modification() -> None:
    assert if_range_holds(SAME, etag=None, last_modified=MODIFIED + 0.5, date=MODIFIED + 2)


# Django splits lists at every comma, so its tags here have none.
tags = st.builds(
    '{}"{}"'.format, st.sampled_from(["", "W/"]), st.text("xyz", min_size=1, max_size=2)
)
tag_lists = st.just("*") | st.lists(tags, min_size=1, max_size=4).map(", ".join)
dates = st.integers(1, 5)


@settings(deadline=None)  # the first example pays for Django's set-up
@given(
    lists=st.fixed_dictionaries({}, optional={"if_match": tag_lists, "if_none_match": tag_lists}),
    seconds=st.fixed_dictionaries(
        {}, optional={"if_modified_since": dates, "if_unmodified_since": dates}
    ),
    etag=tags,
    last_modified=dates,
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_agrees_with_django(
    lists: dict[str, str],
    seconds: dict[str, int],
    etag: str,
    last_modified: int,
    method: str,
) -> None:
    fields = lists | {name: format_http_date(second) for name, second in seconds.items()}
    request = RequestFactory().generic(
        method, "/", headers={name.replace("_", "-"): value for name, value in fields.items()}
    )
    answer = get_conditional_response(request, etag, last_modified, HttpResponse())
    status = {PROCEED: 200, NOT_MODIFIED: 304, FAILED: 412}
    ours = evaluate(Conditions(**fields), etag=etag, last_modified=float(last_modified))
    assert answer is not None
    assert status[ours] == answer.status_code


@given(
    wanted=st.text(st.characters(codec="latin-1", exclude_characters='"'), max_size=5),
    others=st.lists(st.text('W/"a, ', max_size=8), max_size=4),
)
def test_a_listed_tag_is_found_after_any_elements_without_quotes(
    wanted: str, others: list[str]
) -> None:
    value = ",".join([*(other.replace('"', "") for other in others), f'"{wanted}"'])
    assert outcome(f'"{wanted}"', if_none_match=value) is NOT_MODIFIED
