"""What is written of a stored response is read again, and nothing else is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.cache.encoding import decode_head, encode_head, sketch_head
from proxy.core.freshness import Freshness
from proxy.core.messages import StoredResponse
from proxy.core.vary import Vary
from proxy.server.wire import field_lines

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SECONDS = st.floats(min_value=0, allow_nan=False)
TEXT = st.binary(max_size=40)
STATUS = st.integers(100, 999)


@st.composite
def varies(draw: st.DrawFn) -> Vary:
    names = tuple(draw(st.lists(TEXT, max_size=4)))
    value = st.none() | TEXT
    selection = st.tuples(*[value for _ in names])
    return Vary(names, tuple(draw(st.lists(selection, max_size=4))))


RESPONSES = st.builds(
    StoredResponse,
    status=STATUS,
    fields=st.lists(st.tuples(TEXT, TEXT), max_size=6).map(tuple),
    body=st.none() | TEXT,
    length=st.none() | st.integers(0, 2**64 - 1),
    etag=st.none() | st.text(st.characters(exclude_categories=())),
    last_modified=st.none() | FINITE,
    date=FINITE,
    initial_age=FINITE,
    response_time=FINITE,
    freshness=st.builds(Freshness, SECONDS, SECONDS, SECONDS, st.booleans(), st.booleans()),
    origin_status=STATUS,
    vary=st.none() | varies(),
)

SAMPLE = StoredResponse(
    status=200,
    fields=((b"Content-Type", b"text/html"), (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")),
    body=b"body",
    length=4,
    etag='"an etag"',
    last_modified=1.0,
    date=2.0,
    initial_age=3.0,
    response_time=4.0,
    freshness=Freshness(5.0, 6.0, 7.0, no_cache=True, must_revalidate=True),
    origin_status=200,
    vary=Vary((b"accept", b"origin"), ((b"text/html", None), (None, b""))),
)


@given(RESPONSES)
@example(SAMPLE)
@example(replace(SAMPLE, etag="\udcff", length=0, vary=Vary((), ((), ()))))
def test_a_response_is_read_as_it_was_written(response: StoredResponse) -> None:
    assert decode_head(encode_head(response), response.body) == response


@given(RESPONSES)
def test_what_is_read_is_written_alike(response: StoredResponse) -> None:
    data = encode_head(response)
    assert encode_head(decode_head(data, None)) == data


@given(RESPONSES)
@example(SAMPLE)
def test_a_sketch_says_what_the_response_does(response: StoredResponse) -> None:
    sketch = sketch_head(encode_head(response))
    assert sketch.status == response.status
    assert sketch.length == response.length
    assert sketch.varies == (response.vary is not None)
    assert sketch.freshness == response.freshness
    assert (sketch.initial_age, sketch.response_time) == (
        response.initial_age,
        response.response_time,
    )
    assert sketch.lines == field_lines(response.fields)


@given(RESPONSES.filter(lambda response: response.fields), st.data())
def test_fields_that_are_no_lines_are_refused(
    response: StoredResponse, data: st.DataObject
) -> None:
    head = bytearray(encode_head(response))
    at = len(head) - len(field_lines(response.fields))
    name, value = response.fields[0]
    head[at + len(name) + data.draw(st.sampled_from([0, 1, 2 + len(value), 3 + len(value)]))] ^= 1
    with pytest.raises(ValueError, match="no lines in a stored response"):
        decode_head(bytes(head), b"")


def test_types_are_the_ones_written() -> None:
    read = decode_head(encode_head(SAMPLE), SAMPLE.body)
    assert repr(read) == repr(SAMPLE)
    assert hash(read) == hash(SAMPLE)


def test_a_body_is_taken_as_it_is_given() -> None:
    body = memoryview(b"body")
    assert decode_head(encode_head(SAMPLE), body).body is body


def test_the_body_has_no_say_in_the_head() -> None:
    assert encode_head(replace(SAMPLE, body=None)) == encode_head(SAMPLE)


@given(RESPONSES)
@example(SAMPLE)
def test_a_head_cut_off_anywhere_is_refused(response: StoredResponse) -> None:
    data = encode_head(response)
    for end in range(len(data)):
        with pytest.raises(ValueError, match="stored response"):
            decode_head(data[:end], b"")


def test_a_head_with_something_behind_it_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes instead of"):
        decode_head(encode_head(SAMPLE) + b"\0", b"")


def read_or_refused(data: bytes) -> None:
    try:
        response = decode_head(data, b"body")
    except ValueError as refusal:
        assert str(refusal)  # noqa: PT017 - either is right
    else:
        assert encode_head(response) is not None
        assert types_of(response) <= types_of(SAMPLE) | {type(None)}


def types_of(response: StoredResponse) -> set[type]:
    values = [getattr(response, name) for name in StoredResponse.__dataclass_fields__]
    values += [getattr(response.freshness, name) for name in Freshness.__dataclass_fields__]
    values += [part for field in response.fields for part in field]
    return set(map(type, values))


def test_a_head_with_any_bit_flipped_is_read_or_refused() -> None:
    data = encode_head(SAMPLE)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        read_or_refused(bytes(flipped))


@given(RESPONSES, st.data())
def test_a_damaged_head_is_read_or_refused(response: StoredResponse, data: st.DataObject) -> None:
    damaged = bytearray(encode_head(response))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    read_or_refused(bytes(damaged))


@given(st.binary(max_size=300))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    read_or_refused(noise)
    read_or_refused(b"S3PR\x02" + noise)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, b"X", "begins with b'X3PR'"),
        (4, b"\x01", "version 1, not 2"),
        (5, b"\xff", "unknown flags 0xff"),
        (5, b"\x0e", "length of 4 that is said to be none"),
        (5, b"\x07", "Vary that is said to be none"),
        (6, b"\x00\x00", "no HTTP status: 0"),
        (8, b"\xff\xff", "no HTTP status: 200, 65535"),
        (74, b"\xff\xff\xff\xff", "fields do not fit"),
    ],
)
def test_what_is_wrong_with_a_head_is_said(at: int, value: bytes, said: str) -> None:
    data = encode_head(SAMPLE)
    with pytest.raises(ValueError, match=said):
        decode_head(data[:at] + value + data[at + len(value) :], b"")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": 99}, "no HTTP status"),
        ({"origin_status": 70_000}, "no HTTP status"),
        ({"date": math.nan}, "no moments"),
        ({"initial_age": math.inf}, "no moments"),
        ({"last_modified": -math.inf}, "no moments"),
        ({"freshness": Freshness(math.nan)}, "no durations"),
        ({"length": -1}, "does not fit"),
        ({"length": 2**64}, "does not fit"),
        ({"vary": Vary((b"a",), ((),))}, "a selection of 0 values for 1 names"),
    ],
)
def test_what_cannot_be_written_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode_head(replace(SAMPLE, **changes))  # type: ignore[arg-type]
