import calendar
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.http_date import format_http_date, parse_http_date

EXAMPLE = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example


def at(year: int, month: int = 1, day: int = 1, *clock: int) -> float:
    return float(calendar.timegm((year, month, day, *clock, *(0,) * (3 - len(clock)), 0, 0, 0)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE, id="5.6.7-imf-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE, id="5.6.7-rfc850"),
        pytest.param(
            "Wednesday, 09-Nov-94 08:49:37 GMT", EXAMPLE + 259_200, id="5.6.7-rfc850-longest-day"
        ),
        pytest.param("Sun Nov  6 08:49:37 1994", EXAMPLE, id="5.6.7-asctime"),
        pytest.param("Wed Nov 16 08:49:37 1994", EXAMPLE + 864_000, id="5.6.7-asctime-two-digits"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="epoch"),
        pytest.param("Wed, 31 Dec 1969 23:59:59 GMT", -1.0, id="before-the-epoch"),
        pytest.param("Thu, 29 Feb 2024 23:59:59 GMT", at(2024, 2, 29, 23, 59, 59), id="leap-day"),
        pytest.param("Sat, 31 Dec 2016 23:59:60 GMT", at(2017), id="5.6.7-leap-second"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", at(9999, 12, 31, 23, 59, 59), id="last"),
        pytest.param("sun, 06 nov 1994 08:49:37 gmt", EXAMPLE, id="9111-4.2-lower-case"),
        pytest.param("SUNDAY, 06-NOV-94 08:49:37 GMT", EXAMPLE, id="9111-4.2-upper-case"),
        pytest.param("Tue, 06 Nov 1994 08:49:37 GMT", EXAMPLE, id="day-name-mismatch-tolerated"),
    ],
)
def test_reads_an_http_date(value: str, expected: float) -> None:
    assert parse_http_date(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("0", id="expires-zero"),
        pytest.param("-1", id="expires-minus-one"),
        pytest.param("784111777", id="epoch-seconds"),
        pytest.param("1994-11-06T08:49:37Z", id="iso-8601"),
        pytest.param("Sun, 06 Nov 1994 08:49:37", id="no-zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 UTC", id="utc"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 +0000", id="offset"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 PST", id="other-zone"),
        pytest.param("Sun, 06 Nov 1994 24:00:00 GMT", id="hour-24"),
        pytest.param("Sun, 06 Nov 1994 08:60:37 GMT", id="minute-60"),
        pytest.param("Fri, 31 Dec 9999 23:59:60 GMT", id="beyond-the-last-year"),
        pytest.param("Sun, 06 Nov 1994 08:49:61 GMT", id="second-61"),
        pytest.param("Sun, 06 Nov 1994 8:49:37 GMT", id="one-digit-hour"),
        pytest.param("Sun, 6 Nov 1994 08:49:37 GMT", id="one-digit-day"),
        pytest.param("Sun, 00 Nov 1994 08:49:37 GMT", id="day-0"),
        pytest.param("Thu, 31 Nov 1994 08:49:37 GMT", id="31-november"),
        pytest.param("Wed, 29 Feb 2023 08:49:37 GMT", id="no-leap-year"),
        pytest.param("Sun, 06 Nov 0000 08:49:37 GMT", id="year-0"),
        pytest.param("Sun, 06 Nov 0094 08:49:37 GMT", id="first-century"),
        pytest.param("Sun, 06 Nov 94 08:49:37 GMT", id="imf-with-two-digit-year"),
        pytest.param("Sun, 06-Nov-94 08:49:37 GMT", id="rfc850-with-short-day"),
        pytest.param("Sunday, 06 Nov 1994 08:49:37 GMT", id="imf-with-long-day"),
        pytest.param("Sun Nov 6 08:49:37 1994", id="asctime-without-padding"),
        pytest.param("Sun Nov  6 08:49:37 1994 GMT", id="asctime-with-zone"),
        pytest.param("Son, 06 Nov 1994 08:49:37 GMT", id="unknown-day"),
        pytest.param("Sun, 06 Nox 1994 08:49:37 GMT", id="unknown-month"),
        pytest.param("Sun,  06 Nov 1994 08:49:37 GMT", id="two-spaces"),
        pytest.param("Sun,06 Nov 1994 08:49:37 GMT", id="no-space"),
        pytest.param(" Sun, 06 Nov 1994 08:49:37 GMT", id="leading-space"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT\n", id="trailing-newline"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT; length=1", id="old-netscape-suffix"),
        pytest.param(
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", id="5.3-two-lines"
        ),
        pytest.param("Sun, ٠٦ Nov 1994 08:49:37 GMT", id="arabic-digits"),
        pytest.param("\u017fun, 06 Nov 1994 08:49:37 GMT", id="long-s"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 40_000, id="very-long"),
    ],
)
def test_anything_else_is_no_date(value: str) -> None:
    assert parse_http_date(value) is None


@pytest.mark.parametrize(
    ("two_digits", "now", "year"),
    [
        pytest.param("94", at(2024), 1994, id="2094-would-be-70-years-ahead"),
        pytest.param("74", at(2024, 6), 2074, id="less-than-50-years-ahead"),
        pytest.param("75", at(2024, 6), 1975, id="more-than-50-years-ahead"),
        pytest.param("24", at(2024, 6), 2024, id="this-year"),
        pytest.param("00", at(2024, 6), 2000, id="turn-of-the-century"),
        pytest.param("01", at(2099), 2101, id="next-century-is-near"),
        pytest.param("70", None, 1970, id="without-now-70"),
        pytest.param("69", None, 2069, id="without-now-69"),
        pytest.param("99", None, 1999, id="without-now-99"),
        pytest.param("00", None, 2000, id="without-now-00"),
    ],
)
def test_two_digit_year_is_at_most_50_years_ahead(
    two_digits: str, now: float | None, year: int
) -> None:
    assert parse_http_date(f"Sunday, 01-Mar-{two_digits} 00:00:00 GMT", now) == at(year, 3)


@pytest.mark.parametrize(("second", "year"), [("30", 2074), ("31", 1974)])
def test_the_50_years_are_counted_to_the_second(second: str, year: int) -> None:
    now = at(2024, 3, 1, 12, 0, 30)
    value = f"Sunday, 01-Mar-74 12:00:{second} GMT"
    assert parse_http_date(value, now) == at(year, 3, 1, 12, 0, int(second))


def test_now_does_not_touch_four_digit_years() -> None:
    assert parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", at(2094)) == EXAMPLE


def test_writes_imf_fixdate() -> None:
    assert format_http_date(EXAMPLE) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        pytest.param(0.999, "Thu, 01 Jan 1970 00:00:00 GMT", id="fraction-is-cut"),
        pytest.param(-0.5, "Wed, 31 Dec 1969 23:59:59 GMT", id="fraction-before-the-epoch"),
    ],
)
def test_writes_the_second_a_timestamp_falls_into(timestamp: float, expected: str) -> None:
    assert format_http_date(timestamp) == expected


@given(st.integers(int(at(100)), int(at(9999))))
def test_what_is_written_reads_back(timestamp: int) -> None:
    assert parse_http_date(format_http_date(timestamp)) == timestamp


@given(st.integers(0, int(at(9999))))
def test_agrees_with_the_standard_library(timestamp: int) -> None:
    written = format_http_date(timestamp)
    assert written == formatdate(timestamp, usegmt=True)
    assert parse_http_date(written) == parsedate_to_datetime(written).timestamp()


@given(st.text())
def test_never_raises(value: str) -> None:
    assert parse_http_date(value) is None
