"""How single values are written in environment variables.

Every parser takes the raw text of one variable, returns the value it means, and raises
`ValueError` for anything else. `HintedError`, a `ValueError`, also says how to write what was
probably meant. Numbers are ASCII digits only: `int()` and `float()` would take "+5", " 5",
"1_000" and digits of other scripts as well.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 9111 §1.2.2: a recipient need not represent more seconds than this.
LONGEST_DURATION = 2**31
# Sockets take no more than 2**31 milliseconds.
LONGEST_TIMEOUT = 24 * 3600

# More digits than any sensible amount has; `int()` refuses thousands of them by itself, late.
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_AMOUNT = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_DURATION_PART = re.compile(rf"({_AMOUNT})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,18})(|[kK]B|[KMG]iB|[MG]B)", re.ASCII)

_SECONDS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # U+00B5, the micro sign
    "μs": Fraction(1, 10**6),  # U+03BC, the Greek letter; Go takes both
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_BYTES = {
    "": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_BOOLEANS = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}


class HintedError(ValueError):
    """A refusal that knows what to write instead, as in `write 300s`."""


def integer(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers from `low` to `high`, both included."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise ValueError
        number = int(text)
        if not low <= number <= high:
            raise ValueError
        return number

    return parse


def decimal(high: int) -> Callable[[str], Fraction]:
    """A parser of decimal numbers from 0 to `high`, exact."""

    def parse(text: str) -> Fraction:
        if not _DECIMAL.fullmatch(text):
            raise ValueError
        number = Fraction(text)
        if number > high:
            raise ValueError
        return number

    return parse


def size(low: int) -> Callable[[str], int]:
    """A parser of sizes of at least `low` bytes: `16777216`, `16MiB`, `32MB`."""

    def parse(text: str) -> int:
        found = _SIZE.fullmatch(text)
        if not found:
            raise ValueError
        number = int(found[1]) * _BYTES[found[2]]
        if not low <= number < 2**63:
            raise ValueError
        return number

    return parse


def duration(text: str) -> float:
    """Seconds of a duration in Go's notation: `300ms`, `1h30m`, `1.5h`, `0`."""
    if text == "0":
        return 0.0
    if len(text) > 64:
        raise ValueError
    if re.fullmatch(_AMOUNT, text, re.ASCII):
        raise HintedError(f"a bare number has no unit: write {text}s")
    if not _DURATION.fullmatch(text):
        raise ValueError
    seconds = sum(
        Fraction(amount.strip(".") if amount.endswith(".") else amount) * _SECONDS[unit]
        for amount, unit in _DURATION_PART.findall(text)
    )
    if seconds > LONGEST_DURATION:
        raise ValueError
    return float(seconds)


def timeout(*, zero: bool = False) -> Callable[[str], float]:
    """A parser of durations up to a day, in seconds; `zero` says whether there may be none."""

    def parse(text: str) -> float:
        seconds = duration(text)
        if seconds > LONGEST_TIMEOUT or (seconds == 0 and not zero):
            raise ValueError
        return seconds

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """A parser of one of `allowed`, which are lower case; the text may be of any case."""

    def parse(text: str) -> str:
        # str.lower() turns some letters outside ASCII into ASCII ones.
        if not text.isascii() or text.lower() not in allowed:
            raise ValueError
        return text.lower()

    return parse


def boolean(text: str) -> bool:
    """`on`, `true`, `yes`, `1` or their opposites, of any case."""
    return _BOOLEANS[choice(*_BOOLEANS)(text)]


def matching(pattern: str) -> Callable[[str], str]:
    """A parser of text that `pattern` matches from end to end."""
    compiled = re.compile(pattern, re.ASCII)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return parse
