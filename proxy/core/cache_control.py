"""Cache-Control directives of requests and responses (RFC 9111 §5.2).

Every doubt is settled against reuse:

- Of a repeated directive the first occurrence counts (§4.2.1).
- Delta-seconds are `[0-9]+` as a token or a quoted string (§1.2.2). Anything else makes a
  lifetime or a stale window 0; in a request only max-age: its other numbers are then not there.
- A directive that takes no argument counts with one, too (`no-store=1`), and the qualified forms
  `private="x"` and `no-cache="x"` count as unqualified, which §5.2.2 allows.
- A quoted string hides its commas only if it begins right after the `=` and is closed right before
  the next comma or the end. A quote left open or followed by other text is an ordinary
  character: a `no-store` behind it still counts, at the price of obeying one meant as text.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DELTA: Final = 2**31
"""Seconds that stand for every larger number (RFC 9111 §1.2.2), and for a bare max-stale."""

# The inner repeat is possessive: what a client sends cannot make the search go back over it.
_DIRECTIVE: Final = re.compile(
    r"(?P<name>[^,=]*)"
    r'(?P<equals>=(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"[ \t]*(?=,|\Z)|(?P<plain>[^,]*)))?'
    r"(?:,|\Z)"
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
# What is longer is parsed each time, so that nobody fills memory through the caches below.
_CACHED_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class ResponseDirectives:
    """What a response allows caches (RFC 9111 §5.2.2, RFC 5861, RFC 8246); ages in seconds."""

    no_store: bool = False
    private: bool = False
    no_cache: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    public: bool = False
    immutable: bool = False
    must_understand: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None

    @classmethod
    def parse(cls, values: "Iterable[str]") -> "ResponseDirectives":
        """Read every Cache-Control field line of a response, in order."""
        lines = tuple(values)
        if sum(map(len, lines)) > _CACHED_LENGTH:
            return _response(lines)
        return _cached_response(lines)


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """What a client asks of caches (RFC 9111 §5.2.1, RFC 5861 §4); ages in seconds.

    `max_stale` is MAX_DELTA where the client takes a response of any staleness.
    """

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None
    stale_if_error: int | None = None

    @classmethod
    def parse(cls, values: "Iterable[str]", pragma: "Iterable[str]" = ()) -> "RequestDirectives":
        """Read every Cache-Control and Pragma field line of a request, in order.

        `Pragma: no-cache` counts only where there is no Cache-Control (RFC 7234 §5.4; RFC 9111
        §5.4 deprecates the field, but browsers still send it).
        """
        lines = tuple(values)
        if lines:
            if sum(map(len, lines)) > _CACHED_LENGTH:
                return _request(lines)
            return _cached_request(lines)
        if "no-cache" in _directives(pragma):
            return _PRAGMA_NO_CACHE
        return _NOTHING_ASKED


_NOTHING_ASKED: Final = RequestDirectives()
_PRAGMA_NO_CACHE: Final = RequestDirectives(no_cache=True)


def _response(lines: tuple[str, ...]) -> ResponseDirectives:
    found = _directives(lines)
    return ResponseDirectives(
        no_store="no-store" in found,
        private="private" in found,
        no_cache="no-cache" in found,
        must_revalidate="must-revalidate" in found,
        proxy_revalidate="proxy-revalidate" in found,
        public="public" in found,
        immutable="immutable" in found,
        must_understand="must-understand" in found,
        max_age=_delta(found, "max-age", invalid=0),
        s_maxage=_delta(found, "s-maxage", invalid=0),
        stale_while_revalidate=_delta(found, "stale-while-revalidate", invalid=0),
        stale_if_error=_delta(found, "stale-if-error", invalid=0),
    )


def _request(lines: tuple[str, ...]) -> RequestDirectives:
    found = _directives(lines)
    any_staleness = "max-stale" in found and found["max-stale"] is None
    return RequestDirectives(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age=_delta(found, "max-age", invalid=0),
        min_fresh=_delta(found, "min-fresh", invalid=None),
        max_stale=MAX_DELTA if any_staleness else _delta(found, "max-stale", invalid=None),
        stale_if_error=_delta(found, "stale-if-error", invalid=None),
    )


_cached_response = lru_cache(maxsize=1024)(_response)
_cached_request = lru_cache(maxsize=1024)(_request)


def _directives(lines: "Iterable[str]") -> dict[str, str | None]:
    """Map each directive, lower-cased, to its first argument; None where there was no `=`."""
    found: dict[str, str | None] = {}
    for line in lines:
        for item in _DIRECTIVE.finditer(line):
            name = item["name"].rstrip(" \t")
            argument: str | None = None
            if item["quoted"] is not None:
                argument = _QUOTED_PAIR.sub(r"\1", item["quoted"])
            elif item["equals"] is not None:
                argument = item["plain"].rstrip(" \t")
            if len(name) != len(item["name"]) and argument is not None:
                argument = ""  # a space before the `=`: the directive is there, its value is not
            found.setdefault(name.lstrip(" \t").lower(), argument)
    return found


def _delta(found: dict[str, str | None], name: str, *, invalid: int | None) -> int | None:
    if name not in found:
        return None
    argument = found[name]
    # isdigit() alone would take superscripts and the digits of other scripts.
    if not argument or not argument.isascii() or not argument.isdigit():
        return invalid
    digits = argument.lstrip("0")
    if len(digits) > 10:
        return MAX_DELTA
    return min(int(digits or "0"), MAX_DELTA)
