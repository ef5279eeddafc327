"""Judges each exchange by what the bucket held, what was purged and what went wrong meanwhile."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.soak.objects import MAX_OBJECT_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.soak.exchange import Exchange
    from tests.soak.objects import History, Version
    from tests.soak.troubles import Troubles

# The proxy's configuration that decides how old a version may be.
CACHE_TTL_SECONDS = 2
STALE_TTL_SECONDS = 2
NEGATIVE_TTL_SECONDS = 1
# Age counts whole seconds, and two busy cores take their time.
AGE_GRACE_SECONDS = 2.0

# A request that is this old is being answered: SIGTERM lets it end.
ACCEPTED_SECONDS = 0.5

# Twice what a client waits.
_LONGEST_REQUEST_SECONDS = 40.0
_MANY_FLOORS = 64

_EXAMPLES = 10
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Wrong(Exception):  # noqa: N818 - a finding, not an error of this program
    """A rule that an exchange broke."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _Floor:
    """From `since` on no version before `number` may be shown; if `soft`, none but as stale.

    That is by the server that was asked for it; by others from when they must know of it.
    """

    since: float
    number: int
    soft: bool
    server: int


def _without_outdone(floors: list[_Floor], now: float) -> list[_Floor]:
    """Of those older than any request under way the highest of each sort, and all younger ones."""
    old = [floor for floor in floors if floor.since < now - _LONGEST_REQUEST_SECONDS]
    kept = [floor for floor in floors if floor.since >= now - _LONGEST_REQUEST_SECONDS]
    for soft in (False, True):
        alike = [floor for floor in old if floor.soft is soft]
        if alike:
            kept.append(max(alike, key=lambda floor: floor.number))
    return kept


class Judge:
    """Takes exchanges as they end, and keeps count of what was wrong with them."""

    def __init__(self, histories: dict[str, History], troubles: Troubles) -> None:
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        # Versions judged by a purge that another replica had acknowledged.
        self.judged_across = 0
        self._histories = histories
        self._troubles = troubles
        self._floors: defaultdict[str, list[_Floor]] = defaultdict(list)

    def purged(
        self,
        versions: Iterable[Version],
        acknowledged: float,
        *,
        soft: bool = False,
        server: int = 0,
    ) -> None:
        """A purge was acknowledged by a server; `versions` were current when it began."""
        for version in versions:
            floors = self._floors[version.key]
            floors.append(_Floor(acknowledged, version.number, soft, server))
            if len(floors) > _MANY_FLOORS:
                self._floors[version.key] = _without_outdone(floors, acknowledged)

    def object_to(self, rule: str, detail: str) -> None:
        """Count something wrong that no single exchange shows."""
        self.wrong[rule] += 1
        if self.wrong[rule] <= _EXAMPLES:
            self.examples.append(f"{rule}: {detail}")

    def take(self, exchange: Exchange) -> None:
        """Count an exchange, and what was wrong with it."""
        status = "no answer" if exchange.status is None else str(exchange.status)
        self.statuses[status] += 1
        try:
            self._judge(exchange)
        except Wrong as wrong:
            self.object_to(wrong.rule, f"{wrong.detail} in {exchange.describe()}")

    def _judge(self, exchange: Exchange) -> None:
        if exchange.timed_out:
            raise Wrong("no end", "neither an answer nor an error in time")
        if exchange.status is None:
            self._excuse_silence(exchange)
        elif exchange.status >= 500:
            self._excuse_error(exchange)
        elif exchange.status in (200, 206):
            self._judge_representation(exchange)
        elif exchange.status == 304:
            version = self._named(exchange)
            if exchange.asked.if_none_match != version.number:
                raise Wrong("wrong status", "304 of a version that the client does not have")
            self._judge_version(exchange, version)
        elif exchange.status == 404:
            self._one_of(exchange, "404 though it exists", lambda each: each.size is None)
        elif exchange.status == 412 and exchange.asked.if_match is not None:
            self._one_of(
                exchange,
                "412 though the version matches",
                lambda each: each.size is not None and each.number != exchange.asked.if_match,
            )
        elif exchange.status == 416 and exchange.asked.part is not None:
            size = exchange.fields.get("content-range", "")
            self._one_of(
                exchange,
                "416 though there is such a part",
                lambda each: size == f"bytes */{each.size}" and self._part(exchange, each) is None,
            )
        else:
            raise Wrong("wrong status", str(exchange.status))

    def _excuse_silence(self, exchange: Exchange) -> None:
        begin, end = exchange.begin, exchange.end
        if exchange.given_up:
            return
        if self._troubles.of_connection(exchange.port, begin, end):
            self.excused["its worker was killed"] += 1
        elif self._troubles.of_server(exchange.server, begin, end, settled=ACCEPTED_SECONDS):
            self.excused["the server was stopped"] += 1
        else:
            raise Wrong("no answer", exchange.problem)

    def _excuse_error(self, exchange: Exchange) -> None:
        # The contract's answers to a failing origin (section 5); a 500 is never one.
        if exchange.status not in (502, 503, 504):
            raise Wrong("wrong status", str(exchange.status))
        if not self._troubles.of_origin(exchange.asked.key, exchange.begin, exchange.end):
            raise Wrong("wrong status", f"{exchange.status} though the origin was well")
        self.excused[f"{exchange.status} while the origin failed"] += 1

    def _judge_representation(self, exchange: Exchange) -> None:
        asked = exchange.asked
        version = self._named(exchange)
        if asked.if_none_match == version.number:
            raise Wrong("wrong status", "the client has this version, 304 was due")
        if asked.if_match not in (None, version.number):
            raise Wrong("wrong status", "not the version of If-Match, 412 was due")
        assert version.size is not None
        first, stop = 0, version.size
        if exchange.status == 206:
            first, stop = self._received_part(exchange, version)
        elif asked.part is not None and asked.method == "GET":
            overtaken = asked.if_range not in (None, version.number)
            # RFC 9110 §14.2: a server may ignore Range; ours does where the object is large. And
            # all of nothing, which a suffix of it is (§14.1.2), has no Content-Range.
            nothing = version.size == 0 and asked.part[0] is None
            if not overtaken and not nothing and version.size < MAX_OBJECT_SIZE - 1:
                raise Wrong("wrong status", "200 though a part was asked for")
        if exchange.fields.get("content-length") != str(stop - first):
            raise Wrong("wrong length", f"{stop - first} bytes are due")
        if asked.method == "HEAD":
            self._judge_version(exchange, version)
            return
        expected = version.body(first, stop)
        if exchange.complete and exchange.body != expected:
            raise Wrong("wrong bytes", _difference(exchange.body, expected))
        if not exchange.complete:
            if not expected.startswith(exchange.body):
                raise Wrong("wrong bytes", _difference(exchange.body, expected))
            self._excuse_torn(exchange, version)
        self._judge_version(exchange, version)

    def _excuse_torn(self, exchange: Exchange, version: Version) -> None:
        begin, end = exchange.begin, exchange.end
        if exchange.given_up:
            return
        if self._troubles.of_origin(exchange.asked.key, begin, end):
            self.excused["torn while the origin failed"] += 1
        elif self._troubles.of_connection(exchange.port, begin, end):
            self.excused["torn as its worker was killed"] += 1
        elif any(
            stop.server == exchange.server and stop.overlaps(begin, end, 0) and stop.abrupt
            for stop in self._troubles.stops
        ):
            self.excused["torn as the server was killed"] += 1
        elif self._was_left_behind(exchange, version):
            self.excused["torn as it was overwritten while it was followed"] += 1
        else:
            raise Wrong("torn body", "nothing was wrong")

    def _was_left_behind(self, exchange: Exchange, version: Version) -> bool:
        """Could a reader too slow for the others not go on, because its version is gone?

        Only of an object too large to store, whose arrival several requests follow.
        """
        assert version.size is not None
        newest = self._histories[exchange.asked.key].at(exchange.end)
        return (
            version.size > MAX_OBJECT_SIZE
            and newest.number > version.number
            and "collapsed" in exchange.fields.get("cache-status", "")
        )

    def _named(self, exchange: Exchange) -> Version:
        """The version that a response says it is of."""
        history = self._histories[exchange.asked.key]
        etag = exchange.fields.get("etag", "")
        number = etag.strip('"').partition("-")[0]
        if not number.isdecimal() or int(number) >= len(history.versions):
            raise Wrong("wrong fields", f"ETag {etag}")
        version = history.versions[int(number)]
        if version.etag != etag or version.size is None:
            raise Wrong("wrong fields", f"ETag {etag} is not of this object")
        if exchange.fields.get("x-amz-meta-version", number) != number:
            raise Wrong("wrong fields", "ETag and metadata are of two versions")
        if version.written > exchange.end:
            raise Wrong("wrong fields", "a version that was not written yet")
        return version

    def _received_part(self, exchange: Exchange, version: Version) -> tuple[int, int]:
        if exchange.asked.if_range not in (None, version.number):
            raise Wrong("wrong status", "206 though If-Range names another version")
        wanted = self._part(exchange, version)
        received = _CONTENT_RANGE.fullmatch(exchange.fields.get("content-range", ""))
        if wanted is None or received is None:
            raise Wrong("wrong status", "206 without such a part")
        first, stop = wanted
        if [int(each) for each in received.groups()] != [first, stop - 1, version.size]:
            raise Wrong("wrong fields", f"not the part that was asked for, {first}-{stop - 1}")
        return first, stop

    def _part(self, exchange: Exchange, version: Version) -> tuple[int, int] | None:
        """(first, stop) of the part asked for; None where the version has no such part."""
        if exchange.asked.part is None or version.size is None:
            return None
        first, last = exchange.asked.part
        if first is None:
            first, last = max(0, version.size - (last or 0)), None
        stop = version.size if last is None else min(last + 1, version.size)
        return (first, stop) if first < stop else None

    def _one_of(self, exchange: Exchange, rule: str, fits: Callable[[Version], bool]) -> None:
        """An answer that names no version must be right for one that may be shown."""
        history = self._histories[exchange.asked.key]
        refused = Wrong("wrong status", rule)
        for version in reversed(history.versions):
            if version.written <= exchange.end and fits(version):
                try:
                    self._judge_version(exchange, version)
                except Wrong as wrong:
                    refused = wrong
                else:
                    return
        raise refused

    def _judge_version(self, exchange: Exchange, version: Version) -> None:
        """May this version be shown to a request that began when this one did?"""
        stale = exchange.cache == "STALE"
        for floor in self._floors[version.key]:
            since = floor.since
            if floor.server != exchange.server:
                since = self._troubles.purge_holds_everywhere(since)
            if since >= exchange.begin:
                continue
            self.judged_across += floor.server != exchange.server
            if version.number >= floor.number:
                continue
            if not floor.soft:
                raise Wrong(
                    "purged version",
                    f"version {version.number}, {floor.number} was there before a purge "
                    f"acknowledged by {floor.server} {exchange.begin - floor.since:.3f} s before",
                )
            if not stale:
                raise Wrong(
                    "softly purged version not as stale",
                    f"version {version.number}, {floor.number} was there before a soft purge "
                    f"acknowledged by {floor.server} {exchange.begin - floor.since:.3f} s before",
                )
        history = self._histories[version.key]
        allowed = AGE_GRACE_SECONDS
        if history.kind.reused_unasked:
            allowed += CACHE_TTL_SECONDS + STALE_TTL_SECONDS
        if version is history.current or history.given_since(version, exchange.begin - allowed):
            return
        if stale and self._troubles.of_origin(version.key, exchange.begin, exchange.end):
            self.excused["stale while the origin failed"] += 1
            return
        since = exchange.begin - history.versions[version.number + 1].written
        raise Wrong("outdated version", f"version {version.number}, overwritten {since:.1f} s ago")


def _difference(body: bytes, expected: bytes) -> str:
    at = next(
        (at for at, (one, other) in enumerate(zip(body, expected, strict=False)) if one != other),
        min(len(body), len(expected)),
    )
    return (
        f"{len(body)} bytes for {len(expected)}, differing from byte {at}: "
        f"{body[at : at + 40]!r} for {expected[at : at + 40]!r}"
    )
