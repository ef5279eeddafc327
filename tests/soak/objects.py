"""The bucket as it should be: every version of every object, with the time it was written."""

from __future__ import annotations

import random
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from urllib.parse import quote

KIB, MIB = 1024, 1024 * 1024
MAX_OBJECT_SIZE = 4 * MIB

# Noise that bodies are cut out of, each version's at another place: a few bytes tell them apart.
_POOL_BYTES = MIB
_POOL = random.Random(6).randbytes(_POOL_BYTES)
_TWICE = _POOL * 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of object: its Cache-Control, how often it is asked for, its possible sizes."""

    name: str
    weight: float
    count: int
    sizes: tuple[int, ...]
    cache_control: str | None = None
    exists: bool = True

    @property
    def reused_unasked(self) -> bool:
        """May a stored response answer without the origin being asked?"""
        return self.cache_control not in ("no-cache", "no-store")


KINDS = (
    Kind("small", 70, 150, (0, 1, 100, KIB, 3 * KIB, 20 * KIB)),
    Kind("short", 8, 30, (10, KIB, 9 * KIB), "max-age=1"),
    Kind("validated", 6, 20, (0, KIB, 5 * KIB), "no-cache"),
    Kind("unstored", 3, 10, (KIB, 70 * KIB), "no-store"),
    Kind("medium", 6, 16, (200 * KIB, MIB, 3 * MIB)),
    Kind("edge", 1.5, 3, (MAX_OBJECT_SIZE, MAX_OBJECT_SIZE + 1, MAX_OBJECT_SIZE - 1)),
    Kind("large", 0.3, 1, (20 * MIB,)),
    Kind("missing", 6, 20, (KIB,), exists=False),
)
# In names, so that they are seen to be percent-encoded and decoded the right number of times.
_ODD = ("", " sp", "+", "%41", "é", "..x", "~")


@dataclass(frozen=True, slots=True)
class Version:
    """What an object was from `written` on; `size` None: there was none."""

    key: str
    number: int
    written: float
    size: int | None
    label: bytes = b""
    offset: int = 0

    @property
    def etag(self) -> str:
        return f'"{self.number}-{self.offset:x}"'

    def body(self, first: int = 0, stop: int | None = None) -> bytes:
        """The bytes from `first` up to `stop`: the label, which names the version, then noise."""
        size = self.size or 0
        stop = size if stop is None else min(stop, size)
        begin = self.label[first:stop]
        at, wanted = first + len(begin) + self.offset, stop - first - len(begin)
        if wanted <= 0:
            return begin
        start = at % _POOL_BYTES
        if start + wanted <= 2 * _POOL_BYTES:
            return begin + _TWICE[start : start + wanted]
        turns = (start + wanted) // _POOL_BYTES + 1
        return begin + (_POOL * turns)[start : start + wanted]


def _new_version(key: str, number: int, written: float, size: int | None) -> Version:
    offset = zlib.crc32(f"{key}\n{number}".encode()) % _POOL_BYTES
    if size is None:
        return Version(key, number, written, None)
    noise = Version(key, number, written, size, b"", offset)
    checksum = zlib.crc32(noise.body())
    label = f"{quote(key)} version {number} of {size} bytes, crc {checksum:08x}\n".encode()
    return Version(key, number, written, size, label[:size], offset)


@dataclass(slots=True)
class History:
    """One object's versions, oldest first, and when the origin last gave each of them."""

    key: str
    kind: Kind
    versions: list[Version] = field(default_factory=list)
    # version number -> (exchanges that are giving it now, when the last one ended)
    _given: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return "/" + quote(self.key, safe="/~")

    @property
    def current(self) -> Version:
        return self.versions[-1]

    def write(self, now: float, size: int | None) -> Version:
        version = _new_version(self.key, len(self.versions), now, size)
        self.versions.append(version)
        return version

    def at(self, now: float) -> Version:
        """The version that was current at a time."""
        return self.versions[max(0, bisect_right(self.versions, now, key=_written) - 1)]

    def begin_giving(self, version: Version, now: float) -> None:
        count, _ = self._given.get(version.number, (0, now))
        self._given[version.number] = (count + 1, now)

    def end_giving(self, version: Version, now: float) -> None:
        count, _ = self._given[version.number]
        self._given[version.number] = (count - 1, now)

    def given_since(self, version: Version, since: float) -> bool:
        """Did the origin give this version at `since` or later?"""
        count, ended = self._given.get(version.number, (0, float("-inf")))
        return count > 0 or ended >= since


def _written(version: Version) -> float:
    return version.written


class Bucket:
    """All objects of a run, by key; chooses among them as the clients' interest is spread."""

    def __init__(self, rng: random.Random, now: float) -> None:
        self._rng = rng
        self.histories: dict[str, History] = {}
        self._by_kind: dict[str, list[History]] = {}
        for kind in KINDS:
            for index in range(kind.count):
                odd = _ODD[index % len(_ODD)]
                history = History(f"soak/{kind.name}/{index % 10}/{index}{odd}", kind)
                history.write(now, self.size(kind) if kind.exists else None)
                self.histories[history.key] = history
                self._by_kind.setdefault(kind.name, []).append(history)
        self._weights = [kind.weight for kind in KINDS]

    def size(self, kind: Kind) -> int:
        """A size that such an object may have; most differ a little from version to version."""
        size = self._rng.choice(kind.sizes)
        return size + self._rng.randrange(8) if kind.name in ("small", "medium") else size

    def choose(self) -> History:
        """An object, the first ones of a kind more often than the last ones."""
        kind = self._rng.choices(KINDS, self._weights)[0]
        histories = self._by_kind[kind.name]
        return histories[int(len(histories) * self._rng.random() ** 2)]

    def covered_by(self, prefix: str) -> list[History]:
        return [each for key, each in self.histories.items() if key.startswith(prefix)]
