"""RFC 9111 §3: what is stored, and what becomes of it with a 304."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.core.freshness import Freshness
from proxy.core.storability import assess, freshen, identifies, stale_from, with_body
from proxy.core.vary import vary_of
from tests.core.responses import NOW, POLICY, origin_head, stored_response

if TYPE_CHECKING:
    from proxy.core.messages import StoredResponse

ETAG = ("ETag", '"v1"')
MODIFIED = ("Last-Modified", "Tue, 14 Nov 2023 22:13:00 GMT")


def cc(value: str) -> tuple[str, str]:
    return ("Cache-Control", value)


@pytest.mark.parametrize(
    ("value", "storable"),
    [
        ("", True),
        ("max-age=60", True),
        ("max-age=0", True),
        ("no-cache", True),
        ("must-revalidate", True),
        ("public, no-store", False),
        ("private", False),
        ('private="set-cookie"', False),
        ("NO-STORE", False),
        ("s-maxage=60, private", False),
    ],
)
def test_3_a_200(value: str, storable: bool) -> None:
    assert assess(origin_head(cc(value)), POLICY).storable is storable


@pytest.mark.parametrize(
    ("status", "value", "storable"),
    [
        (404, "", True),
        (404, "no-store", False),
        (404, "max-age=60", True),
        (404, "max-age=0", False),
        (410, "", False),
        (410, "max-age=60", True),
        (410, "max-age=60, private", False),
    ],
)
def test_3_an_absence(status: int, value: str, storable: bool) -> None:
    assert assess(origin_head(cc(value), status=status), POLICY).storable is storable


def test_a_negative_ttl_of_nothing_stores_no_404() -> None:
    policy = replace(POLICY, negative_ttl=0.0)
    assert not assess(origin_head(status=404), policy).storable
    assert assess(origin_head(cc("max-age=9"), status=404), policy).storable


def test_what_is_not_to_be_stored_gets_no_lifetime_for_others_to_see() -> None:
    assert assess(origin_head(status=410), POLICY).response.freshness.lifetime == 0
    assert assess(origin_head(cc("private"), status=404), POLICY).response.freshness.lifetime == 0


def test_an_access_denied_is_an_absence_for_the_client() -> None:
    response = assess(origin_head(("x-amz-meta-a", "b"), ETAG, status=403), POLICY, status=404)
    assert (response.response.status, response.response.origin_status) == (404, 403)
    assert [name for name, _ in response.response.fields] == [b"date"]
    assert response.response.etag is None


def test_fields_that_pass() -> None:
    head = origin_head(
        ("Content-Type", "a/b"),
        ("Server", "S3"),
        ("x-amz-meta-A", "1"),
        ("x-amz-id-2", "no"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "3"),
        ("Connection", "close"),
    )
    assert assess(head, POLICY).response.fields == (
        (b"content-type", b"a/b"),
        (b"x-amz-meta-a", b"1"),
        (b"accept-ranges", b"bytes"),
        (b"date", b"Tue, 14 Nov 2023 22:13:20 GMT"),
    )


def test_lines_of_one_name_are_one_list() -> None:
    head = origin_head(("Content-Language", "de"), ("Content-Language", "en"))
    assert (b"content-language", b"de, en") in assess(head, POLICY).response.fields


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\x00b", "a\x7fb"])
def test_a_value_that_would_end_the_header_early_does_not_pass(value: str) -> None:
    fields = assess(origin_head(("x-amz-meta-a", value)), POLICY).response.fields
    assert b"x-amz-meta-a" not in dict(fields)


@pytest.mark.parametrize("etag", ["v1", '"a', "W/v1", '"a" "b"', '"a", "b"', '"a\x01"'])
def test_a_malformed_entity_tag_is_none(etag: str) -> None:
    assert assess(origin_head(("ETag", etag)), POLICY).response.etag is None


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"', '""', '"\xe9"'])
def test_entity_tags(etag: str) -> None:
    assert assess(origin_head(("ETag", etag)), POLICY).response.etag == etag


@pytest.mark.parametrize(
    ("age", "initial"),
    [("5", 5.0), ("5, 7", 5.0), ("-5", 0.0), ("x", 0.0), ("5.5", 0.0), ("9" * 5000, 2.0**31)],
)
def test_5_1_age(age: str, initial: float) -> None:
    assert assess(origin_head(("Age", age)), POLICY).response.initial_age == initial


def test_without_a_date_the_arrival_stands_for_it() -> None:
    response = assess(origin_head(arrived=NOW + 7), POLICY).response
    assert response.date == NOW + 7


DE, EN = ((b"accept-language", b"de"),), ((b"accept-language", b"en"),)
VARY = ("Vary", "Accept-Language")


@pytest.mark.parametrize("status", [200, 404])
def test_4_1_the_selecting_fields_are_stored(status: int) -> None:
    vary = assess(origin_head(VARY, status=status), POLICY, asked=DE).response.vary
    assert vary == vary_of(("Accept-Language",), DE)


def test_4_1_vary_is_not_passed_on() -> None:
    assert b"vary" not in dict(assess(origin_head(VARY), POLICY, asked=DE).response.fields)


@pytest.mark.parametrize("status", [200, 404, 410])
@pytest.mark.parametrize("value", ["must-understand, no-store", "no-store, must-understand"])
def test_5_2_2_3_no_store_is_for_those_who_do_not_understand_the_status(
    status: int, value: str
) -> None:
    head = origin_head(cc(f"{value}, max-age=60"), status=status)
    assert assess(head, POLICY).storable
    assert not assess(origin_head(cc(f"{value}, private"), status=status), POLICY).storable


def test_5_2_2_3_an_access_denied_is_not_understood() -> None:
    head = origin_head(cc("must-understand, no-store, max-age=60"), status=403)
    assert not assess(head, POLICY, status=404).storable


@pytest.mark.parametrize(
    ("value", "storable"),
    [
        ("", False),
        ("max-age=60", False),
        ("proxy-revalidate", False),
        ("public", True),
        ("must-revalidate", True),
        ("s-maxage=60", True),
        ("s-maxage=0", True),
        ("public, no-store", False),
        ("public, private", False),
    ],
)
def test_3_5_what_may_be_stored_of_the_answer_to_credentials(value: str, storable: bool) -> None:
    assert assess(origin_head(cc(value)), POLICY).storable_if_authorized is storable


@pytest.mark.parametrize(
    ("value", "shareable"),
    [("", True), ("no-cache", True), ("private", False), ("no-store", False)],
)
def test_4_what_may_answer_collapsed_requests(value: str, shareable: bool) -> None:
    assert assess(origin_head(cc(value)), POLICY).shareable is shareable


@pytest.mark.parametrize(
    "nominations",
    [
        (("Connection", "x-amz-meta-a"),),
        (("Connection", "close, X-Amz-Meta-A"),),
        (("Connection", "close"), ("Connection", "\tx-amz-meta-a ,")),
    ],
)
def test_3_1_fields_that_connection_names_are_not_stored(
    nominations: tuple[tuple[str, str], ...],
) -> None:
    head = origin_head(("x-amz-meta-a", "1"), ("x-amz-meta-b", "2"), *nominations)
    assert dict(assess(head, POLICY).response.fields).keys() == {
        b"x-amz-meta-b", b"accept-ranges", b"date",
    }  # fmt: skip


def test_3_1_fields_that_connection_names_do_not_update_what_is_stored() -> None:
    before = assess(origin_head(("x-amz-meta-a", "1")), POLICY).response
    told = origin_head(("x-amz-meta-a", "2"), ("Connection", "x-amz-meta-a"), status=304)
    assert dict(freshen(before, told, POLICY).response.fields)[b"x-amz-meta-a"] == b"1"


@pytest.mark.parametrize(
    "name",
    [
        *("Warning", "Pragma", "Age", "Set-Cookie", "Keep-Alive", "Proxy-Connection", "TE"),
        *("Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate"),
        "Proxy-Authentication-Info",
    ],
)
def test_3_1_fields_of_one_hop_and_obsolete_ones_are_not_stored(name: str) -> None:
    assert dict(assess(origin_head((name, "1")), POLICY).response.fields).keys() == {
        b"accept-ranges", b"date",
    }  # fmt: skip


# §4.2, §5: numbers and dates as origins get them wrong


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        ([("Expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60.0),
        ([("Expires", "Tuesday, 14-Nov-23 22:14:20 GMT")], 60.0),
        ([("Expires", "Tue Nov 14 22:14:20 2023")], 60.0),
        ([("Expires", "tue, 14 nov 2023 22:14:20 gmt")], 60.0),
        ([("Expires", "Tue, 14 Nov 2023 22:14:20 UTC")], 0.0),
        ([("Expires", "Tue, 14 Nov 2023 22:14:20 +0000")], 0.0),
        ([("Expires", "Tue, 14 Nov 2023 22:14:20")], 0.0),
        ([("Expires", "2023-11-14T22:14:20Z")], 0.0),
        ([("Expires", "1700000060")], 0.0),
        ([("Expires", "-1")], 0.0),
        ([("Expires", "")], 0.0),
        ([("Expires", "Tue, 14 Nov 2023 22:14:20 GMT")] * 2, 0.0),
        ([("Expires", "0"), ("Expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 0.0),
        ([("Expires", "Tue, 14 Nov 2023 22:12:20 GMT")], 0.0),
        # §4.2: a lifetime is the difference of two clocks' readings of the same clock.
        (
            [
                ("Date", "Tue, 14 Nov 2023 21:13:20 GMT"),
                ("Expires", "Tue, 14 Nov 2023 21:14:20 GMT"),
            ],
            60.0,
        ),
        (
            [
                ("Date", "Tue, 14 Nov 2023 23:13:20 GMT"),
                ("Expires", "Tue, 14 Nov 2023 23:14:20 GMT"),
            ],
            60.0,
        ),
        ([("Date", "junk"), ("Expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60.0),
        # RFC 9110 §5.6.7: at most 50 years ahead.
        ([("Expires", "Monday, 14-Nov-72 22:13:20 GMT")], (49 * 365 + 13) * 86400.0),
        ([("Expires", "Thursday, 14-Nov-74 22:13:20 GMT")], 0.0),
        # §5.2.2.1: whatever Expires says.
        ([cc("max-age=0"), ("Expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 0.0),
        ([cc("max-age=60"), ("Expires", "0")], 60.0),
        ([cc("max-age=60"), cc("max-age=5")], 60.0),
        ([cc("max-age=5, max-age=60")], 5.0),
        ([cc('max-age="60"')], 60.0),
        ([cc("MAX-AGE=60")], 60.0),
        ([cc("max-age=060")], 60.0),
        ([cc("max-age=2147483648")], 2.0**31),
        ([cc("max-age=99999999999999999999")], 2.0**31),
        ([cc("max-age=-60")], 0.0),
        ([cc("max-age=60.5")], 0.0),
        ([cc("max-age=60s")], 0.0),
        ([cc("max-age='60'")], 0.0),
        ([cc("max-age")], 0.0),
        ([cc("max-age=")], 0.0),
        ([cc("max-age = 60")], 0.0),
        ([cc("max-age=60;public")], 0.0),
        ([cc('x="max-age=5", max-age=60')], 60.0),
        ([cc("public;max-age=60")], 300.0),
        ([cc("xmax-age=60")], 300.0),
        ([("Pragma", "no-cache")], 300.0),
        ([("Pragma", "no-cache"), cc("max-age=60")], 60.0),
        ([cc("immutable")], 300.0),
        ([cc("max-age=60, immutable")], 60.0),
    ],
    ids=str,
)
def test_4_2_1_lifetimes(fields: list[tuple[str, str]], lifetime: float) -> None:
    freshness = assess(origin_head(*fields), POLICY).response.freshness
    assert freshness.lifetime == lifetime
    assert not freshness.no_cache


@pytest.mark.parametrize(
    ("fields", "age"),
    [
        ([], 0.0),
        ([("Date", "Tue, 14 Nov 2023 22:13:10 GMT")], 10.0),
        ([("Date", "Tuesday, 14-Nov-23 22:13:10 GMT")], 10.0),
        ([("Date", "Tue, 14 Nov 2023 22:13:30 GMT")], 0.0),
        ([("Date", "Fri, 31 Dec 9999 23:59:59 GMT")], 0.0),
        ([("Date", "Thu, 01 Jan 1970 00:00:00 GMT")], NOW),
        ([("Date", "junk")], 0.0),
        ([("Date", "Tue, 14 Nov 2023 22:13:10 GMT")] * 2, 0.0),
        ([("Age", "20"), ("Date", "Tue, 14 Nov 2023 22:13:10 GMT")], 20.0),
        ([("Age", "5"), ("Date", "Tue, 14 Nov 2023 22:13:10 GMT")], 10.0),
        ([("Age", "5"), ("Age", "20")], 5.0),
        ([("Age", "x"), ("Age", "20")], 0.0),
        ([("Age", "")], 0.0),
        ([("Age", "+5")], 0.0),
        ([("Age", "5;a=b")], 0.0),
        ([("Age", '"5"')], 0.0),
        ([("Age", "\xb2")], 0.0),
        ([("Age", "2147483647")], 2.0**31 - 1),
        ([("Age", "99999999999")], 2.0**31),
    ],
    ids=str,
)
def test_4_2_3_age_on_arrival(fields: list[tuple[str, str]], age: float) -> None:
    assert assess(origin_head(*fields), POLICY).response.initial_age == age


# §3.2, §4.3.4 Freshening


def test_freshening_replaces_what_the_304_says_and_keeps_the_rest() -> None:
    before = with_body(
        assess(
            origin_head(
                ETAG, MODIFIED, cc("max-age=10"), ("Content-Type", "a/b"), ("x-amz-meta-a", "1")
            ),
            POLICY,
        ).response,
        b"body",
    )
    later = NOW + 100
    told = origin_head(
        ETAG,
        cc("max-age=20"),
        ("x-amz-meta-a", "2"),
        ("x-amz-meta-b", "3"),
        ("Server", "S3"),
        ("Content-Length", "0"),
        status=304,
        request_time=later,
        arrived=later,
    )
    after = freshen(before, told, POLICY)
    assert after.storable
    response = after.response
    assert (response.status, response.body, response.length) == (200, b"body", 4)
    assert dict(response.fields) == {
        b"last-modified": MODIFIED[1].encode(),
        b"content-type": b"a/b",
        b"etag": b'"v1"',
        b"cache-control": b"max-age=20",
        b"x-amz-meta-a": b"2",
        b"x-amz-meta-b": b"3",
        b"accept-ranges": b"bytes",
        b"date": b"Tue, 14 Nov 2023 22:15:00 GMT",
    }
    assert (response.age(later), response.freshness.lifetime) == (0.0, 20.0)
    assert response.last_modified == NOW - 20


def test_freshening_by_a_304_that_says_nothing_keeps_the_stored_lifetime() -> None:
    before = with_body(assess(origin_head(ETAG, cc("max-age=10")), POLICY).response, b"x")
    after = freshen(before, origin_head(status=304, arrived=NOW + 50), POLICY).response
    assert (after.freshness.lifetime, after.etag) == (10.0, '"v1"')


def test_freshening_with_no_store_is_not_storable() -> None:
    told = origin_head(cc("no-store"), status=304)
    assert not freshen(stored_response(), told, POLICY).storable


def test_freshening_counts_the_304s_age() -> None:
    told = origin_head(("Age", "30"), status=304)
    assert freshen(stored_response(), told, POLICY).response.initial_age == 30.0


@pytest.mark.parametrize(
    ("stored", "etag", "is_about_it"),
    [
        ('"v1"', None, True),
        ('"v1"', '"v1"', True),
        ('"v1"', '"v2"', False),
        ('"v1"', 'W/"v1"', True),
        ('"v1"', 'W/"v2"', False),
        ('W/"v1"', 'W/"v1"', True),
        ('W/"v1"', 'W/"v2"', False),
        ('W/"v1"', '"v1"', False),
        (None, '"v1"', False),
        (None, 'W/"v1"', False),
        ('"v1"', "junk", True),
    ],
)
def test_4_3_4_a_304_with_another_entity_tag_is_not_about_it(
    stored: str | None, etag: str | None, is_about_it: bool
) -> None:
    fields = [] if etag is None else [("ETag", etag)]
    told = origin_head(*fields, status=304)
    assert identifies(told, stored_response(etag=stored)) is is_about_it


@pytest.mark.parametrize(
    ("fields", "is_about_it"),
    [
        ([MODIFIED], True),
        ([("Last-Modified", "Tue, 14 Nov 2023 22:13:01 GMT")], False),
        ([("Last-Modified", "junk")], True),
        ([ETAG, ("Last-Modified", "Tue, 14 Nov 2023 22:13:01 GMT")], True),
    ],
)
def test_4_3_4_without_an_entity_tag_the_modification_date_tells(
    fields: list[tuple[str, str]], is_about_it: bool
) -> None:
    told = origin_head(*fields, status=304)
    assert identifies(told, stored_response(last_modified=NOW - 20)) is is_about_it


def varying(*fields: tuple[str, str]) -> StoredResponse:
    return assess(origin_head(ETAG, VARY, *fields), POLICY, asked=DE).response


def test_4_1_a_304_makes_the_new_request_one_that_it_was_given_for() -> None:
    response = freshen(varying(), origin_head(ETAG, VARY, status=304), POLICY, EN).response
    assert response.vary is not None
    assert response.vary.selects(EN)
    # The strong validator is the old one's too.
    assert response.vary.selects(DE)
    assert not response.vary.selects(())


def test_3_2_a_304_without_vary_keeps_the_stored_one() -> None:
    response = freshen(varying(), origin_head(ETAG, status=304), POLICY, EN).response
    assert response.vary is not None
    assert response.vary.selects(EN)
    assert not response.vary.selects(())
    star = assess(origin_head(ETAG, ("Vary", "*")), POLICY, asked=DE).response
    still = freshen(star, origin_head(ETAG, status=304), POLICY, DE).response.vary
    assert still is not None
    assert not still.selects(DE)


@pytest.mark.parametrize("validator", [(), (("ETag", 'W/"v1"'),)])
def test_4_3_4_without_a_strong_validator_only_the_new_request_matches(
    validator: tuple[tuple[str, str], ...],
) -> None:
    response = freshen(varying(), origin_head(*validator, status=304), POLICY, EN).response
    assert response.vary is not None
    assert response.vary.selects(EN)
    assert not response.vary.selects(DE)


def test_3_2_a_304_with_another_vary_replaces_the_stored_one() -> None:
    told = origin_head(ETAG, ("Vary", "Accept"), status=304)
    assert freshen(varying(), told, POLICY, EN).response.vary == vary_of(("Accept",), EN)


# What a soft purge leaves


@pytest.mark.parametrize(("age", "lifetime"), [(0, 0.0), (40, 40.0), (100, 100.0), (500, 100.0)])
def test_stale_from_now(age: int, lifetime: float) -> None:
    response = stale_from(stored_response(freshness=Freshness(100.0, 10.0, 20.0)), NOW + age)
    assert response.freshness == Freshness(lifetime, 10.0, 20.0)
