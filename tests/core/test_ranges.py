from email.parser import BytesParser
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from werkzeug.http import parse_range_header

from proxy.core.ranges import (
    ByteRange,
    NotSatisfiable,
    closing,
    multipart_length,
    parse_content_range,
    part_head,
    select,
)

UNSATISFIABLE = NotSatisfiable.NOT_SATISFIABLE


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        pytest.param("bytes=0-499", [(0, 499)], id="14.1.2-first-500"),
        pytest.param("bytes=500-999", [(500, 999)], id="14.1.2-second-500"),
        pytest.param("bytes=-500", [(9500, 9999)], id="14.1.2-final-500"),
        pytest.param("bytes=9500-", [(9500, 9999)], id="14.1.2-final-500-open-ended"),
        pytest.param("bytes=0-0,-1", [(0, 0), (9999, 9999)], id="14.1.2-first-and-last"),
        pytest.param(
            "bytes= 0-999, 4500-5499, -1000",
            [(0, 999), (4500, 5499), (9000, 9999)],
            id="14.1.2-first-middle-last",
        ),
        pytest.param(
            "bytes=500-600,601-999", [(500, 600), (601, 999)], id="14.1.2-second-500-in-two"
        ),
        pytest.param(
            "bytes=500-700,601-999", [(500, 700), (601, 999)], id="14.1.2-second-500-overlapping"
        ),
        pytest.param("bytes=0-", [(0, 9999)], id="14.1.2-all"),
        pytest.param("bytes=7-7", [(7, 7)], id="one-byte"),
        pytest.param("bytes=9999-9999", [(9999, 9999)], id="last-byte"),
        pytest.param("bytes=9999-", [(9999, 9999)], id="last-byte-open-ended"),
        pytest.param("bytes=9000-10000", [(9000, 9999)], id="14.1.2-last-pos-beyond-the-end"),
        pytest.param("bytes=-10000", [(0, 9999)], id="suffix-as-long"),
        pytest.param("bytes=-10001", [(0, 9999)], id="14.1.2-suffix-longer"),
        pytest.param("bytes=0-" + "9" * 5000, [(0, 9999)], id="14.1.2-large-last-pos"),
        pytest.param("bytes=-" + "9" * 5000, [(0, 9999)], id="14.1.2-large-suffix"),
        pytest.param("bytes=" + "0" * 5000 + "7-0007", [(7, 7)], id="leading-zeros"),
        pytest.param("bytes=-0001", [(9999, 9999)], id="leading-zeros-of-suffix"),
        pytest.param("Bytes=0-1", [(0, 1)], id="14.1-unit-in-title-case"),
        pytest.param("BYTES=0-1", [(0, 1)], id="14.1-unit-in-upper-case"),
        pytest.param("bytes=5-6 ,\t0-1", [(5, 6), (0, 1)], id="5.6.1-space-order-kept"),
        pytest.param("bytes=,,0-1,, ,", [(0, 1)], id="5.6.1.2-empty-elements"),
        pytest.param("bytes=10000-, 0-1", [(0, 1)], id="14.2-unsatisfiable-dropped"),
        pytest.param("bytes=-0, 0-1", [(0, 1)], id="14.2-empty-suffix-dropped"),
        pytest.param("bytes=0-1,0-1", [(0, 1), (0, 1)], id="same-twice"),
        pytest.param(
            "bytes=" + ",".join(f"{n}-{n}" for n in range(16)),
            [(n, n) for n in range(16)],
            id="sixteen",
        ),
        pytest.param("bytes=0-4999,5000-", [(0, 4999), (5000, 9999)], id="together-as-long"),
    ],
)
def test_selects_parts_of_10000_bytes(value: str, parts: list[tuple[int, int]]) -> None:
    assert select(value, 10_000) == tuple(ByteRange(*part) for part in parts)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("bytes=10000-", id="14.1.2-first-pos-at-the-end"),
        pytest.param("bytes=10000-10000", id="14.1.2-first-pos-at-the-end-closed"),
        pytest.param("bytes=20000-30000", id="14.1.2-beyond-the-end"),
        pytest.param("bytes=" + "9" * 5000 + "-", id="14.1.2-large-first-pos"),
        pytest.param("bytes=" + "8" * 5000 + "-" + "9" * 5000, id="14.1.2-large-both"),
        pytest.param("bytes=-0", id="14.1.2-empty-suffix"),
        pytest.param("bytes=-000", id="14.1.2-empty-suffix-in-more-digits"),
        pytest.param("bytes=10000-,-0,99999-", id="none-of-several"),
    ],
)
def test_valid_range_without_a_byte_is_not_satisfiable(value: str) -> None:
    assert select(value, 10_000) is UNSATISFIABLE


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param("bytes", id="unit-only"),
        pytest.param("bytes=", id="14.1.1-empty-set"),
        pytest.param("bytes=, ,", id="14.1.1-empty-elements-only"),
        pytest.param("bytes=-", id="neither-first-nor-last"),
        pytest.param("bytes=5", id="no-dash"),
        pytest.param("bytes=a-b", id="14.1.1-other-range"),
        pytest.param("bytes=0-1-2", id="two-dashes"),
        pytest.param("bytes=--1", id="negative-suffix"),
        pytest.param("bytes=5-2", id="14.1.1-last-pos-before-first-pos"),
        pytest.param("bytes=0-1,5-2", id="14.1.1-one-invalid-of-two"),
        pytest.param("bytes=99999-10001", id="invalid-before-unsatisfiable"),
        pytest.param("bytes=10-9", id="compared-as-numbers"),
        pytest.param("bytes=1" + "0" * 5000 + "-" + "9" * 5000, id="large-and-invalid"),
        pytest.param("bytes=0-1,x", id="one-broken-of-two"),
        pytest.param("bytes 0-1", id="no-equals"),
        pytest.param("bytes =0-1", id="space-before-equals"),
        pytest.param("bytes=0 - 1", id="space-inside"),
        pytest.param("bytes=0-1;", id="semicolon"),
        pytest.param("bytes=+0-1", id="sign"),
        pytest.param("bytes=0x0-0x1", id="hexadecimal"),
        pytest.param("bytes=1_0-20", id="underscore"),
        pytest.param("bytes=0-1\n", id="newline"),
        pytest.param("bytes=\xa00-1", id="no-break-space"),
        pytest.param("bytes=٠-١", id="arabic-digits"),
        pytest.param("bytes=²-³", id="superscripts"),
        pytest.param("items=0-1", id="14.2-unknown-unit"),
        pytest.param("=0-1", id="no-unit"),
        pytest.param("none=0-1", id="14.3-none"),
        pytest.param("bytes=0-1, bytes=2-3", id="5.3-two-lines"),
        pytest.param("bytes=" + ",".join(f"{n}-{n}" for n in range(17)), id="17.15-seventeen"),
        pytest.param("bytes=" + "0-0," * 10_000, id="17.15-thousands"),
        pytest.param("bytes=" + ",".join(["20000-"] * 17), id="17.15-seventeen-unsatisfiable"),
        pytest.param("bytes=0-,0-0", id="17.15-longer-than-the-whole"),
        pytest.param("bytes=0-5000,4999-", id="17.15-longer-by-overlap"),
    ],
)
def test_header_is_ignored(value: str | None) -> None:
    assert select(value, 10_000) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("bytes=0-", UNSATISFIABLE, id="14.1.2-open-ended"),
        pytest.param("bytes=0-0", UNSATISFIABLE, id="14.1.2-first-byte"),
        pytest.param("bytes=-0", UNSATISFIABLE, id="14.1.2-empty-suffix"),
        pytest.param("bytes=-1", None, id="14.1.2-suffix-is-the-whole"),
        pytest.param("bytes=0-0,-5", None, id="14.1.2-suffix-among-others"),
        pytest.param("bytes=5-2", None, id="14.1.1-invalid"),
    ],
)
def test_range_of_an_empty_representation(value: str, expected: NotSatisfiable | None) -> None:
    assert select(value, 0) is expected


numbers = st.integers(0, 40)
specs = st.one_of(
    st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair))),
    st.tuples(numbers, st.none()),
    st.tuples(st.none(), numbers),
)
Spec = tuple[int | None, int | None]


def written(spec: Spec) -> str:
    return "-".join("" if number is None else str(number) for number in spec)


def sliced(body: bytes, spec: Spec) -> bytes:
    match spec:
        case (None, int(suffix)):
            return body[max(len(body) - suffix, 0) :]
        case (int(first), None):
            return body[first:]
        case (int(first), int(last)):
            return body[first : last + 1]
        case _:
            raise AssertionError(spec)


@given(wanted=st.lists(specs, min_size=1, max_size=20), length=st.integers(1, 30))
def test_parts_are_slices_of_the_body(wanted: list[Spec], length: int) -> None:
    body = bytes(range(length))
    slices = [part for spec in wanted if (part := sliced(body, spec))]
    selected = select("bytes=" + ",".join(map(written, wanted)), length)
    if len(wanted) > 16 or (len(slices) > 1 and sum(map(len, slices)) > length):
        assert selected is None
    elif not slices:
        assert selected is UNSATISFIABLE
    else:
        assert isinstance(selected, tuple)
        assert [body[part.first : part.last + 1] for part in selected] == slices
        assert [part.length for part in selected] == [len(part) for part in slices]


@given(spec=specs, length=st.integers(1, 30))
def test_single_range_agrees_with_werkzeug(spec: Spec, length: int) -> None:
    first, last = spec
    # werkzeug takes neither an empty suffix nor one longer than the body
    assume(first is not None or 0 < (last or 0) <= length)
    parsed = parse_range_header(f"bytes={written(spec)}")
    assert parsed is not None
    expected = parsed.range_for_length(length)
    selected = select(f"bytes={written(spec)}", length)
    if expected is None:
        assert selected is UNSATISFIABLE
    else:
        assert selected == (ByteRange(expected[0], expected[1] - 1),)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=16, unique=True).map(sorted))
def test_ascending_ranges_agree_with_werkzeug(edges: list[int]) -> None:
    value = "bytes=" + ",".join(f"{first}-{after - 1}" for first, after in pairwise(edges))
    parsed = parse_range_header(value)
    assert parsed is not None
    selected = select(value, 10_001)
    assert isinstance(selected, tuple)
    assert [(part.first, part.last + 1) for part in selected] == parsed.ranges


@given(value=st.text() | st.text("0129-, ").map("bytes={}".format), length=st.integers(0, 100))
def test_parts_of_any_value_lie_inside(value: str, length: int) -> None:
    selected = select(value, length)
    if isinstance(selected, tuple):
        assert selected
        assert all(0 <= part.first <= part.last < length for part in selected)


def test_content_range_of_a_part() -> None:
    assert ByteRange(42, 1233).content_range(1234) == "bytes 42-1233/1234"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("bytes 42-1233/1234", (42, 1233, 1234), id="14.4-complete"),
        pytest.param("bytes 42-1233/*", (42, 1233, None), id="14.4-unknown-length"),
        pytest.param("bytes 0-0/1", (0, 0, 1), id="one-byte"),
        pytest.param("Bytes 0-0/1", (0, 0, 1), id="14.1-unit-case"),
        pytest.param("bytes */1234", None, id="14.4-unsatisfied"),
        pytest.param("bytes 2-1/10", None, id="14.4-last-before-first"),
        pytest.param("bytes 0-9/9", None, id="14.4-length-not-above-last"),
        pytest.param("bytes 0-9/0", None, id="14.4-length-zero"),
        pytest.param("bytes=0-9/10", None, id="equals"),
        pytest.param("bytes  0-9/10", None, id="two-spaces"),
        pytest.param("bytes 0-9", None, id="no-length"),
        pytest.param("bytes 0-/10", None, id="no-last"),
        pytest.param("bytes -9/10", None, id="no-first"),
        pytest.param("bytes 0-9/10 ", None, id="trailing-space"),
        pytest.param("bytes 0-9/10\n", None, id="newline"),
        pytest.param("bytes 0-9/10, bytes 0-9/10", None, id="twice"),
        pytest.param("bytes +0-9/10", None, id="sign"),
        pytest.param("bytes ٠-٩/10", None, id="arabic-digits"),
        pytest.param("bytes 0-9/1" + "0" * 5000, None, id="absurd"),
        pytest.param("items 0-9/10", None, id="unknown-unit"),
        pytest.param("", None, id="empty"),
    ],
)
def test_reads_content_range(value: str, expected: tuple[int, int, int | None] | None) -> None:
    assert parse_content_range(value) == expected


@given(first=st.integers(0, 10**12), more=st.integers(0, 10**12), rest=st.integers(1, 10**12))
def test_written_content_range_reads_back(first: int, more: int, rest: int) -> None:
    part = ByteRange(first, first + more)
    total = part.last + rest
    assert parse_content_range(part.content_range(total)) == (part.first, part.last, total)


def multipart(boundary: str, media: str | None, body: bytes, parts: list[ByteRange]) -> bytes:
    pieces = [
        part_head(boundary, media, part, len(body)) + body[part.first : part.last + 1]
        for part in parts
    ]
    return b"".join(pieces) + closing(boundary)


def test_multipart_body_is_read_back_by_a_mime_parser() -> None:  # RFC 9110 §14.6
    body = bytes(range(256))
    parts = [ByteRange(0, 9), ByteRange(200, 255), ByteRange(13, 13)]
    sent = multipart("SEP", "image/png", body, parts)
    message = BytesParser().parsebytes(
        b"Content-Type: multipart/byteranges; boundary=SEP\r\n\r\n" + sent
    )
    received = [part for part in message.walk() if not part.is_multipart()]
    assert [
        (part["Content-Type"], part["Content-Range"], part.get_payload(decode=True))
        for part in received
    ] == [
        ("image/png", part.content_range(256), body[part.first : part.last + 1]) for part in parts
    ]


def test_part_without_a_type_has_no_content_type() -> None:
    head = part_head("SEP", None, ByteRange(0, 1), 10)
    assert head == b"\r\n--SEP\r\nContent-Range: bytes 0-1/10\r\n\r\n"


def test_closing_delimiter() -> None:
    assert closing("SEP") == b"\r\n--SEP--\r\n"


@given(
    body=st.binary(min_size=1, max_size=300),
    spots=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 299)), max_size=16),
    media=st.none() | st.just("text/plain") | st.just("text/\xfc"),
)
def test_multipart_length_is_the_length_of_the_body_sent(
    body: bytes, spots: list[tuple[int, int]], media: str | None
) -> None:
    parts = [ByteRange(min(spot), max(spot)) for spot in spots if max(spot) < len(body)]
    sent = multipart("3d6b6a416f9b5", media, body, parts)
    assert multipart_length("3d6b6a416f9b5", media, parts, len(body)) == len(sent)
