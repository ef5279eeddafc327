"""Preconditions of GET and HEAD requests (RFC 9110 §13)."""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from proxy.core.http_date import parse_http_date

_OWS: Final = " \t"
# One list element: an entity-tag (§8.8.3), or whatever else stands before the next comma.
_ELEMENT: Final = re.compile(
    r'[ \t]*(?:(?P<weak>W/)?(?P<opaque>"[^"]*+")[ \t]*(?=,|\Z)|[^,]*+)(?:,|\Z)'
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The precondition fields of a request, each with its lines joined by `, `; None if absent."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


NO_CONDITIONS: Final = Conditions()


class Outcome(Enum):
    """What the preconditions make of a request."""

    PROCEED = auto()
    NOT_MODIFIED = auto()  # 304
    PRECONDITION_FAILED = auto()  # 412


def evaluate(
    conditions: Conditions,
    *,
    etag: str | None,
    last_modified: float | None,
    exists: bool = True,
    stored_date: float | None = None,
    now: float | None = None,
) -> Outcome:
    """Evaluate in the order of RFC 9110 §13.2.2 against the selected representation.

    `etag` is the field value as sent (`"x"`, `W/"x"`), `last_modified` seconds since the epoch,
    as are `stored_date`, the Date of a response that was stored before, and `now`, which places
    two-digit years.
    """
    # §13.2.1: ignored where the answer without them would be neither 2xx nor 412.
    if not exists:
        return Outcome.PROCEED
    # Step 1, or step 2 where If-Match is absent.
    if conditions.if_match is not None:
        if not _matches(conditions.if_match, etag):
            return Outcome.PRECONDITION_FAILED
    elif not _is_unmodified_since(conditions.if_unmodified_since, last_modified, now):
        return Outcome.PRECONDITION_FAILED
    # Step 3, or step 4 where If-None-Match is absent.
    if conditions.if_none_match is not None:
        if not _matches_none(conditions.if_none_match, etag):
            return Outcome.NOT_MODIFIED
    # RFC 9111 §4.3.2: to a cache, a stored response that does not say is as old as its Date.
    elif not _is_modified_since(
        conditions.if_modified_since, stored_date if last_modified is None else last_modified, now
    ):
        return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def if_range_holds(
    if_range: str | None, *, etag: str | None, last_modified: float | None, date: float | None
) -> bool:
    """Step 5 of RFC 9110 §13.2.2: say whether Range applies; without If-Range it does.

    `last_modified` and `date` are those of the stored response, in seconds since the epoch.
    """
    if if_range is None:
        return True
    value = if_range.strip(_OWS)
    # §13.1.5: a DQUOTE in the first three characters tells an entity-tag from a date.
    if '"' in value[:3]:
        return etag is not None and value == etag and _strong_opaque(etag) is not None
    # A two-digit year is placed by that date; only a match counts, and that is in the past.
    presented = parse_http_date(value, date)
    if presented is None or last_modified is None or presented != last_modified // 1:
        return False
    # §8.8.2.2: weak unless the response was made at least a second after the modification.
    return date is not None and date - last_modified >= 1


def _matches(if_match: str, etag: str | None) -> bool:
    """RFC 9110 §13.1.1, by strong comparison (§8.8.3.2)."""
    if if_match.strip(_OWS) == "*":
        return True
    opaque = _strong_opaque(etag)
    if opaque is None:
        return False
    return any(
        item["opaque"] == opaque and item["weak"] is None for item in _ELEMENT.finditer(if_match)
    )


def _matches_none(if_none_match: str, etag: str | None) -> bool:
    """RFC 9110 §13.1.2, by weak comparison (§8.8.3.2)."""
    if if_none_match.strip(_OWS) == "*":
        return False
    opaque = _opaque(etag)
    if opaque is None:
        return True
    if if_none_match == opaque:  # what a browser sends: its one tag
        return False
    return all(item["opaque"] != opaque for item in _ELEMENT.finditer(if_none_match))


def _is_modified_since(
    if_modified_since: str | None, last_modified: float | None, now: float | None
) -> bool:
    """RFC 9110 §13.1.3; true where the field must be ignored.

    A date later than now is as good as any other, since RFC 7232.
    """
    if if_modified_since is None or last_modified is None:
        return True
    since = parse_http_date(if_modified_since.strip(_OWS), now)
    return since is None or last_modified // 1 > since


def _is_unmodified_since(
    if_unmodified_since: str | None, last_modified: float | None, now: float | None
) -> bool:
    """RFC 9110 §13.1.4; true where the field must be ignored."""
    if if_unmodified_since is None or last_modified is None:
        return True
    since = parse_http_date(if_unmodified_since.strip(_OWS), now)
    return since is None or last_modified // 1 <= since


def _opaque(etag: str | None) -> str | None:
    """Return the quoted part of an entity-tag, or None if there is no well-formed one."""
    return None if etag is None else _strong_opaque(etag.removeprefix("W/"))


def _strong_opaque(etag: str | None) -> str | None:
    if etag is None or len(etag) < 2 or etag[0] != '"' or etag.find('"', 1) != len(etag) - 1:
        return None
    return etag
