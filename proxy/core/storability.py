"""What of an origin's response may be stored: RFC 9111 §3."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.core.cache_control import ResponseDirectives
from proxy.core.freshness import (
    Freshness,
    Policy,
    corrected_initial_age,
    explicit_lifetime,
    freshness_of,
)
from proxy.core.http_date import format_http_date, parse_http_date
from proxy.core.messages import Fields, StoredResponse
from proxy.core.vary import vary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_OK, _NOT_FOUND = 200, 404
# Whose caching is understood as must-understand asks: RFC 9111 §5.2.2.3.
_UNDERSTOOD = frozenset({200, 404, 410})

# The fields of S3 that reach the client; everything else (x-amz-request-id, Server, …) is
# between the proxy and S3.
_PASSED = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"content-disposition",
        b"cache-control",
        b"expires",
        b"etag",
        b"last-modified",
    }
)
_METADATA = b"x-amz-meta-"

_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
# RFC 9110 §5.5: a recipient replaces or drops values with these; a header must not end early.
_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_DELTA_SECONDS = re.compile(r"[0-9]+")
_MAX_DELTA = 2**31
_MAX_DIGITS = 12  # enough to be over _MAX_DELTA; int() of a longer run only costs time

_ADDED = frozenset({b"accept-ranges", b"date"})

# What belongs to one exchange and not to the stored response.
_OF_THE_EXCHANGE = (b"date", b"age", b"vary")


@dataclass(frozen=True, slots=True)
class OriginHead:
    """The head of an origin's response as received.

    ``fields`` have lower-case names, in the order of arrival; the two times are seconds since
    the epoch, before the request was sent and after the head had come in.
    """

    status: int
    fields: Fields
    request_time: float
    response_time: float

    def get_all(self, name: bytes) -> list[str]:
        """Every line of a field."""
        return [value.decode("latin-1") for key, value in self.fields if key == name]

    def get(self, name: bytes) -> str | None:
        """A field's lines as one value, None where it was not sent."""
        lines = self.get_all(name)
        return ", ".join(lines) if lines else None


@dataclass(frozen=True, slots=True)
class Assessment:
    """A response ready to be sent, with what may be done with it.

    ``shareable``: sent to others who asked for the same meanwhile; ``storable``: kept, and
    ``storable_if_authorized``: even if who asked sent credentials (RFC 9111 §3.5).
    """

    response: StoredResponse
    storable: bool
    shareable: bool
    storable_if_authorized: bool


def assess(
    head: OriginHead,
    policy: Policy,
    *,
    status: int | None = None,
    length: int | None = None,
    asked: Sequence[tuple[bytes, bytes]] = (),
) -> Assessment:
    """Read a final response of the origin into a head-only StoredResponse.

    ``status`` is what the client gets where that differs from ``head.status``; ``length`` the
    representation's length in bytes; ``asked`` are the fields of the request it answers.
    """
    sent_status = head.status if status is None else status
    found = sent_status == _OK
    directives = ResponseDirectives.parse(head.get_all(b"cache-control"))
    freshness, date, initial_age, stated = _timing(head, sent_status, directives, policy)
    response = StoredResponse(
        status=sent_status,
        fields=_client_fields(head, date) if found else _date_only(date),
        body=None,
        length=length,
        etag=_entity_tag(head) if found else None,
        last_modified=_last_modified(head) if found else None,
        date=date,
        initial_age=initial_age,
        response_time=head.response_time,
        freshness=freshness,
        origin_status=head.status,
        vary=vary_of(head.get_all(b"vary"), asked),
    )
    shareable = _shareable(head.status, directives)
    storable = shareable and _lasts(sent_status, stated, policy)
    if not (found or storable):
        # No lifetime of ours may tell a downstream cache to keep what may not be kept.
        response = replace(response, freshness=replace(freshness, lifetime=0.0))
    # §3.5; `proxy-revalidate` is not among them.
    explicit = directives.public or directives.must_revalidate or directives.s_maxage is not None
    return Assessment(response, storable, shareable, storable and explicit)


def identifies(head: OriginHead, stored: StoredResponse) -> bool:
    """Is a 304 about the stored response? RFC 9111 §4.3.4.

    A strong entity tag must be the same, a weak one by weak comparison, and without either a
    Last-Modified. Without any validator it can only be: its one was all that was asked about.
    """
    etag = _entity_tag(head)
    if etag is not None:
        if not etag.startswith("W/"):
            return etag == stored.etag
        return stored.etag is not None and etag[2:] == stored.etag.removeprefix("W/")
    modified = _last_modified(head)
    return modified is None or stored.last_modified is None or modified == stored.last_modified


def freshen(
    stored: StoredResponse,
    head: OriginHead,
    policy: Policy,
    asked: Sequence[tuple[bytes, bytes]] = (),
) -> Assessment:
    """The stored response updated from a 304's fields: RFC 9111 §3.2, §4.3.4.

    Everything passed on is replaced; Content-Length and its like are not among that. ``asked``
    are the fields of the request that made it validated.
    """
    of_connection = _of_the_connection(head)
    sent = {name for name, _ in head.fields if _is_passed(name) and name not in of_connection}
    kept = tuple(
        (name, value) for name, value in stored.fields if name not in sent and name not in _ADDED
    )
    renewed = tuple(
        (name, value) for name, value in head.fields if name in sent or name in _OF_THE_EXCHANGE
    )
    merged = OriginHead(stored.origin_status, kept + renewed, head.request_time, head.response_time)
    assessment = assess(merged, policy, status=stored.status, length=stored.length, asked=asked)
    vary = assessment.response.vary
    if vary is None and stored.vary is not None:
        vary = stored.vary.given_for(asked)
    if vary is not None and stored.vary is not None and _is_strong(_entity_tag(head)):
        # §4.3.4: a strong validator updates all the responses that have it, so it is the same
        # one for whoever it was sent to before.
        vary = vary.also(stored.vary)
    response = replace(assessment.response, body=stored.body, vary=vary)
    return replace(assessment, response=response)


def with_body(response: StoredResponse, body: bytes) -> StoredResponse:
    """The response complete with its body."""
    return replace(response, body=body, length=len(body))


def is_sound(response: StoredResponse) -> bool:
    """Could assess() have made it? To be asked of what comes from elsewhere than the origin.

    An answer is made of it without a second look: of fields that end the head early or frame
    the body in another way, and of numbers that no header field can carry.
    """
    freshness = response.freshness
    durations = (freshness.lifetime, freshness.stale_while_revalidate, freshness.stale_if_error)
    names = [name for name, _ in response.fields]
    return (
        response.status in _UNDERSTOOD
        and all(_is_passed(name) or name in _ADDED or name == b"vary" for name in names)
        and len(names) == len(set(names))
        and not any(_FORBIDDEN_IN_VALUE.search(value) for _, value in response.fields)
        and (response.etag is None or _entity_tag_of(response.etag) is not None)
        and all(map(math.isfinite, durations))
    )


def stale_from(stored: StoredResponse, now: float) -> StoredResponse:
    """The same response, stale from ``now`` on: what a soft purge leaves."""
    lifetime = min(stored.freshness.lifetime, stored.age(now))
    return replace(stored, freshness=replace(stored.freshness, lifetime=lifetime))


def must_validate(response: StoredResponse) -> StoredResponse:
    """The same response, never to be sent before the origin has confirmed it.

    For what may have missed a purge: no stale window applies either, because a purge may have
    forbidden it; a 304 makes it as good as new.
    """
    freshness = response.freshness
    return replace(
        response,
        freshness=replace(
            freshness,
            lifetime=min(freshness.lifetime, response.initial_age),
            stale_while_revalidate=0.0,
            stale_if_error=0.0,
            no_cache=True,
        ),
    )


def _timing(
    head: OriginHead, status: int, directives: ResponseDirectives, policy: Policy
) -> tuple[Freshness, float, float, float | None]:
    """(freshness, date, initial age, stated lifetime) of a response."""
    date_line = head.get(b"date")
    arrived = head.response_time
    date = parse_http_date(date_line, arrived) if date_line is not None else None
    if date is None:
        # RFC 9110 §6.6.1: without a Date the time of arrival stands for it.
        date = arrived
    expires = head.get(b"expires")
    expires_at = parse_http_date(expires, arrived) if expires is not None else None
    stated = explicit_lifetime(directives, expires, expires_at, date)
    freshness = freshness_of(status, directives, stated, policy)
    initial_age = corrected_initial_age(_age_value(head), date, head.request_time, arrived)
    return freshness, date, initial_age, stated


def _age_value(head: OriginHead) -> float:
    """Age in seconds; of several values the first, of a malformed one nothing (§5.1)."""
    lines = head.get_all(b"age")
    if not lines:
        return 0.0
    first = lines[0].split(",")[0].strip()
    if _DELTA_SECONDS.fullmatch(first) is None:
        return 0.0
    return float(min(int(first[:_MAX_DIGITS]), _MAX_DELTA))


def _shareable(status: int, directives: ResponseDirectives) -> bool:
    """May it answer anybody but who asked? RFC 9111 §3, §4."""
    if directives.private:
        return False
    # §5.2.2.3: the no-store is for caches that do not know this directive.
    return not directives.no_store or (directives.must_understand and status in _UNDERSTOOD)


def _lasts(status: int, stated: float | None, policy: Policy) -> bool:
    """Has it a lifetime to be stored for, or a validator to be asked about (RFC 9111 §3)?"""
    if status == _OK:
        return True
    if stated is not None:
        return stated > 0
    return status == _NOT_FOUND and policy.negative_ttl > 0


def _is_passed(name: bytes) -> bool:
    return name in _PASSED or (
        name.startswith(_METADATA) and _FIELD_NAME.fullmatch(name) is not None
    )


def _of_the_connection(head: OriginHead) -> set[bytes]:
    """The fields that are not to go further: RFC 9110 §7.6.1, RFC 9111 §3.1."""
    options = ",".join(head.get_all(b"connection")).lower().split(",")
    return {option.strip().encode("latin-1") for option in options}


def _client_fields(head: OriginHead, date: float) -> Fields:
    of_connection = _of_the_connection(head)
    combined: dict[bytes, bytes] = {}
    for name, value in head.fields:
        if name in of_connection or not _is_passed(name):
            continue
        if _FORBIDDEN_IN_VALUE.search(value) is None:
            # RFC 9110 §5.3: lines of one name are one list.
            combined[name] = combined[name] + b", " + value if name in combined else value
    return (*combined.items(), (b"accept-ranges", b"bytes"), *_date_only(date))


def _date_only(date: float) -> Fields:
    return ((b"date", format_http_date(date).encode("ascii")),)


def _entity_tag(head: OriginHead) -> str | None:
    value = head.get(b"etag")
    return None if value is None else _entity_tag_of(value)


def _entity_tag_of(value: str) -> str | None:
    try:
        return value if _ENTITY_TAG.fullmatch(value.encode("latin-1")) else None
    except UnicodeEncodeError:
        return None


def _last_modified(head: OriginHead) -> float | None:
    value = head.get(b"last-modified")
    return None if value is None else parse_http_date(value, head.response_time)


def _is_strong(etag: str | None) -> bool:
    return etag is not None and not etag.startswith("W/")
