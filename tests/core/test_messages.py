"""What the cache reads of a request, and what a stored response counts."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError

import pytest

from proxy.core.messages import EVERYTHING, Head, Request
from proxy.core.preconditions import Conditions
from proxy.core.ranges import ByteRange
from proxy.core.vary import vary_of
from tests.core.responses import stored_response


def read(*fields: tuple[bytes, bytes]) -> Request:
    return Request.from_fields("GET", "key", fields)


def test_a_request_without_anything_that_matters() -> None:
    assert read((b"user-agent", b"x"), (b"cookie", b"y")) == Request("GET", "key")


@pytest.mark.parametrize(
    ("field", "is_plain"),
    [
        ((b"user-agent", b"x"), True),
        ((b"accept", b"text/html"), True),
        ((b"if-match", b'"a"'), False),
        ((b"if-none-match", b'"a"'), False),
        ((b"if-modified-since", b"x"), False),
        ((b"if-unmodified-since", b"x"), False),
        ((b"cache-control", b"max-age=1"), False),
        ((b"pragma", b"no-cache"), False),
        ((b"range", b"bytes=0-1"), False),
    ],
)
def test_what_makes_an_answer_one_of_its_own(field: tuple[bytes, bytes], is_plain: bool) -> None:
    assert read(field).is_plain == is_plain
    assert not Request.from_fields("HEAD", "key", (field,)).is_plain


def test_every_field_that_matters() -> None:
    request = read(
        (b"if-match", b'"a"'),
        (b"if-none-match", b'"b"'),
        (b"if-modified-since", b"c"),
        (b"if-unmodified-since", b"d"),
        (b"if-range", b'"e"'),
        (b"range", b"bytes=0-1"),
        (b"cache-control", b"max-age=5"),
        (b"accept", b"text/html"),
    )
    assert request.conditions == Conditions('"a"', '"b"', "c", "d")
    assert (request.if_range, request.range, request.accept) == ('"e"', "bytes=0-1", "text/html")
    assert request.directives.max_age == 5


def test_5_3_lines_of_one_name_are_one_list() -> None:
    request = read(
        (b"if-none-match", b'"a"'),
        (b"if-none-match", b'"b"'),
        (b"cache-control", b"no-store"),
        (b"cache-control", b"max-age=5"),
    )
    assert request.conditions.if_none_match == '"a", "b"'
    assert (request.directives.no_store, request.directives.max_age) == (True, 5)


def test_pragma_counts_without_cache_control_alone() -> None:
    assert read((b"pragma", b"no-cache")).directives.no_cache
    assert not read((b"pragma", b"no-cache"), (b"cache-control", b"max-age=5")).directives.no_cache


def test_bytes_beyond_ascii_do_no_harm() -> None:
    assert read((b"accept", b"\xff")).accept == "\xff"


def test_the_size_counts_body_fields_and_record() -> None:
    small, large = stored_response(body=b""), stored_response(body=bytes(1000))
    assert large.__cache_size__ - small.__cache_size__ == 1000
    fields = sum(len(name) + len(value) for name, value in small.fields)
    assert small.__cache_size__ >= sys.getsizeof(small) + fields
    assert stored_response(body=None).__cache_size__ == small.__cache_size__


def test_the_size_counts_what_vary_keeps_of_requests() -> None:
    vary = vary_of(("User-Agent",), ((b"user-agent", b"x" * 1000),))
    with_vary = stored_response(vary=vary).__cache_size__
    assert with_vary - stored_response().__cache_size__ > 1000


@pytest.mark.parametrize(
    ("fields", "authorized"),
    [((), False), (((b"authorization", b""),), True), (((b"x-auth-token", b"t"),), False)],
)
def test_9111_3_5_whether_a_request_bears_credentials(
    fields: tuple[tuple[bytes, bytes], ...], authorized: bool
) -> None:
    assert read(*fields).authorized is authorized


def test_all_fields_are_there_for_vary() -> None:
    fields = ((b"user-agent", b"x"), (b"accept", b"*/*"))
    for some in (fields, fields[:1]):
        assert Request.from_fields("GET", "key", some).fields is some


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        stored_response().status = 500  # type: ignore[misc]


@pytest.mark.parametrize(
    ("segments", "needs"),
    [((), False), ((b"x",), False), ((EVERYTHING,), True), ((b"x", ByteRange(0, 1)), True)],
)
def test_whether_an_answer_needs_the_representation(segments: tuple[bytes], needs: bool) -> None:
    assert Head(200, (), segments).needs_representation is needs
