"""HTTP-date values as seconds since the epoch (RFC 9110 §5.6.7).

All three formats are read: IMF-fixdate, and the obsolete RFC 850 and asctime ones that
a recipient must still accept. Letter case is ignored, as RFC 9111 §4.2 asks of caches,
and so is a day name that does not fit its date; everything else is as in the grammar.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MONTH_NUMBER: Final = {name.lower(): number for number, name in enumerate(_MONTHS, start=1)}
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal() - _EPOCH
_DAY: Final = 86_400
# "Wednesday, 06-Nov-94 08:49:37 GMT" is the longest there is; nothing longer gets cached.
_LONGEST: Final = 33

# §5.6.7 allows second 60 for a leap second, but no hour 24.
_CLOCK: Final = r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_NAME: Final = f"(?:{'|'.join(_DAYS)})"
_LONG_NAME: Final = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_FORMATS: Final = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"{_NAME}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
        rf"{_LONG_NAME}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
        rf"{_NAME} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)


def parse_http_date(value: str, now: float | None = None) -> float | None:
    """Return the date in seconds since the epoch, or None for anything but an HTTP-date.

    `now` only places two-digit years (RFC 850); without it 70-99 are 19xx, 00-69 are 20xx.
    """
    if len(value) > _LONGEST:
        return None
    read = _read(value)
    if read is None:
        return None
    year, month, day, seconds = read
    if year < 100:
        year = _full_year(read, now)
    return _timestamp(year, month, day, seconds)


def format_http_date(timestamp: float) -> str:
    """Write the second that `timestamp` falls into as an IMF-fixdate.

    Raises ValueError or OverflowError outside the years 1 to 9999.
    """
    days, seconds = divmod(int(timestamp // 1), _DAY)
    day = date.fromordinal(_EPOCH + days)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return (
        f"{_DAYS[day.weekday()]}, {day.day:02} {_MONTHS[day.month - 1]} {day.year:04}"
        f" {hour:02}:{minute:02}:{second:02} GMT"
    )


@lru_cache(maxsize=1024)
def _read(value: str) -> tuple[int, int, int, int] | None:
    """Split a date into (year as written, month, day, seconds into the day)."""
    for pattern in _FORMATS:
        found = pattern.fullmatch(value)
        if found is not None:
            break
    else:
        return None
    if found["year"].startswith("00") and len(found["year"]) == 4:
        return None  # the first century would be taken for a two-digit year
    seconds = int(found["hour"]) * 3600 + int(found["minute"]) * 60 + int(found["second"])
    return int(found["year"]), _MONTH_NUMBER[found["month"].lower()], int(found["day"]), seconds


def _full_year(read: tuple[int, int, int, int], now: float | None) -> int:
    """Return the latest year with these two digits that is at most 50 years ahead of now."""
    two_digits, *rest = read
    if now is None:
        return two_digits + (1900 if two_digits >= 70 else 2000)
    days, seconds = divmod(int(now // 1), _DAY)
    today = date.fromordinal(_EPOCH + days)
    horizon = today.year + 50
    year = horizon - (horizon - two_digits) % 100
    if year == horizon and rest > [today.month, today.day, seconds]:
        year -= 100
    return year


def _timestamp(year: int, month: int, day: int, seconds: int) -> float | None:
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    if days + seconds // _DAY > _LAST_DAY:
        return None  # a leap second behind the last day that can be written
    return float(days * _DAY + seconds)
