"""Tells which entries of the second tier a purge has forbidden.

The tier cannot be walked through, so what was purged is remembered and compared when an entry is
read. Each entry bears a purge mark: the id of the last purge known when its fetch from the origin
began. A purge with a later id forbids it. What is forgotten, for want of room or because nothing
older can be in the tier any more, raises the horizon: entries marked before it have to be
validated, because nobody knows what they missed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from proxy.fleet.stream_id import BEGINNING, StreamId

if TYPE_CHECKING:
    from proxy.purge import Purge

# Nothing stays in the tier for longer, so no rule needs to be remembered for longer.
RETENTION_SECONDS = 24 * 60 * 60
MOST_RULES = 100_000


class Standing(Enum):
    """What may be done with an entry: use it, use it as stale since, validate it, nothing."""

    GOOD = auto()
    STALE = auto()
    UNTRUSTED = auto()
    GONE = auto()


class Verdict(NamedTuple):
    """``since``: the soft purge that made it stale, where it is."""

    standing: Standing
    since: StreamId = BEGINNING


class _Ids:
    """The latest id for each key and prefix, in order of these ids."""

    def __init__(self) -> None:
        self.keys: dict[str, StreamId] = {}
        self.prefixes: dict[str, StreamId] = {}
        self.everything = BEGINNING
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.keys) + len(self.prefixes)

    def add(self, at: StreamId, purge: Purge) -> None:
        if purge.everything:
            self.everything = max(self.everything, at)
        for key in purge.keys:
            # Taken out first, so that it goes to the end.
            self.keys[key] = max(at, self.keys.pop(key, at))
        for prefix in purge.prefixes:
            known = self.prefixes.pop(prefix, None)
            if known is None:
                self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1
            self.prefixes[prefix] = max(at, known or at)

    def latest(self, key: str) -> StreamId:
        found = max(self.everything, self.keys.get(key, BEGINNING))
        for length in self._lengths:
            found = max(found, self.prefixes.get(key[:length], BEGINNING))
        return found

    def forget_oldest(self) -> StreamId:
        """The id of what was forgotten."""
        first_key = next(iter(self.keys.values()), None)
        first_prefix = next(iter(self.prefixes.values()), None)
        if first_prefix is None or (first_key is not None and first_key <= first_prefix):
            return self.keys.pop(next(iter(self.keys)))
        prefix = next(iter(self.prefixes))
        self._lengths[len(prefix)] -= 1
        if not self._lengths[len(prefix)]:
            del self._lengths[len(prefix)]
        return self.prefixes.pop(prefix)

    def oldest(self) -> StreamId | None:
        """The id of what forget_oldest() would forget."""
        firsts = [next(iter(ids.values()), None) for ids in (self.keys, self.prefixes)]
        return min((first for first in firsts if first is not None), default=None)


class PurgeRules:
    """What the purge stream has said so far, for one process.

    ``current``: is the stream being followed, so that no acknowledged purge is unknown for
    longer than it takes to travel? Without that nothing of the tier is to be used.
    """

    def __init__(self, most: int = MOST_RULES) -> None:
        self.current = False
        self.latest = BEGINNING
        self._most = most
        self._horizon = BEGINNING
        self._hard = _Ids()
        self._soft = _Ids()

    @property
    def horizon(self) -> StreamId:
        """Entries marked before it have to be validated."""
        return self._horizon

    @property
    def mark(self) -> StreamId:
        """What a fetch from the origin that begins now is to be marked with."""
        return self.latest

    def add(self, at: StreamId, purge: Purge) -> None:
        """Remember a purge; to say it again changes nothing."""
        ids = self._soft if purge.soft else self._hard
        ids.add(at, purge)
        self.latest = max(self.latest, at)
        self._forget()

    def distrust_before(self, at: StreamId) -> None:
        """Entries marked before ``at`` may have missed a purge."""
        self._horizon = max(self._horizon, at)
        self.latest = max(self.latest, at)

    def forget_all(self) -> None:
        """Begin anew, when the stream that it was learnt from is another one."""
        self._hard, self._soft = _Ids(), _Ids()
        self._horizon = self.latest = BEGINNING

    def judge(self, key: str, mark: StreamId) -> Verdict:
        """What may be done with an entry for this S3 key that bears this mark."""
        if self._hard.latest(key) > mark:
            return Verdict(Standing.GONE)
        if mark < self._horizon:
            return Verdict(Standing.UNTRUSTED)
        softly = self._soft.latest(key)
        return Verdict(Standing.STALE, softly) if softly > mark else Verdict(Standing.GOOD)

    def purged(self, key: str) -> StreamId:
        """The latest purge of a key that is remembered, soft or not; BEGINNING if there is none."""
        return max(self._hard.latest(key), self._soft.latest(key))

    def _forget(self) -> None:
        expired = self.latest.milliseconds - RETENTION_SECONDS * 1000
        for ids in (self._hard, self._soft):
            while (oldest := ids.oldest()) is not None and oldest.milliseconds < expired:
                self._horizon = max(self._horizon, ids.forget_oldest())
        while len(self._hard) + len(self._soft) > self._most:
            ids = max(self._hard, self._soft, key=len)
            self._horizon = max(self._horizon, ids.forget_oldest())
