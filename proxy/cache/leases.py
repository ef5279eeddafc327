"""One origin request for a key over all processes of a server.

A row of shared memory says who fetches a key, and until when that is believed. Rows are found by
the key's hash within a few places; where those are taken, two processes may fetch one key, which
costs a request.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from proxy import processes
from proxy.cache.shared_memory import WORD, SharedMemory

_ROWS = 4096
_PLACES = 16

# How long it is known of a response that nobody else could use it.
_GIVEN_UP_SECONDS = 1.0

# The words of a row: a lease has an id, what was given up has 0. Times in nanoseconds.
_HASH, _ENDS, _HOLDER, _ID, _PURGES = range(5)
_ROW_WORDS = 5
_NEWEST_ID = 0
_HEADER_WORDS = 1

_HASH_MASK = 2**64 - 1
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a process does about a key, begun after so many ``purges``.

    ``gave_up``: it found that nobody else can use what it fetched.
    """

    purges: int
    gave_up: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to fetch a key, for one process. With ``id`` 0 it keeps nobody from doing so too."""

    row: int
    id: int


_EXCLUDES_NOBODY = Lease(-1, 0)


class Leases:
    """At most 4,096 leases, each until it is released, ends, or its process is forgotten.

    ``now`` is in seconds on a clock that all processes have in common.
    """

    def __init__(self) -> None:
        self._memory = SharedMemory("leases", WORD * (_HEADER_WORDS + _ROWS * _ROW_WORDS))
        self._memory.on_damage = self._forget_all
        self._header = self._memory.words(0, _HEADER_WORDS)
        self._rows = self._memory.words(WORD * _HEADER_WORDS, _ROWS * _ROW_WORDS)
        self._salt = secrets.token_hex(8)

    def take(self, key: str, purges: int, now: float, seconds: float) -> Lease | None:
        """Leave to fetch the key within so many seconds; None while another has it.

        ``purges`` is how many purges went before the fetch. What was just found to be of no use
        to others anyone may fetch.
        """
        key_hash = self._hash(key)
        with self._memory:
            row = self._find(key_hash, now)
            if row is not None:
                held = self._rows[row + _ID] != 0
                return None if held else _EXCLUDES_NOBODY
            row = self._free_place(key_hash, now)
            if row is None:
                return _EXCLUDES_NOBODY
            self._header[_NEWEST_ID] += 1
            lease = Lease(row, self._header[_NEWEST_ID])
            self._write(row, key_hash, now + seconds, lease.id, purges)
            return lease

    def release(self, lease: Lease, now: float, *, stored: bool) -> None:
        """Have fetched. Not ``stored``: those who waited shall each fetch for themselves."""
        if lease == _EXCLUDES_NOBODY:
            return
        with self._memory:
            if self._rows[lease.row + _ID] != lease.id:
                # It had ended, or was forgotten.
                return
            if stored:
                self._clear(lease.row)
            else:
                purges = self._rows[lease.row + _PURGES]
                ends = now + _GIVEN_UP_SECONDS
                self._write(lease.row, self._rows[lease.row + _HASH], ends, 0, purges)

    def held(self, key: str, now: float) -> Held | None:
        """What is known of the key, if anything."""
        key_hash = self._hash(key)
        with self._memory:
            row = self._find(key_hash, now)
            if row is None:
                return None
            return Held(self._rows[row + _PURGES], gave_up=self._rows[row + _ID] == 0)

    def forget_process(self, index: int) -> None:
        """End the leases of a process that has died."""
        with self._memory:
            for row in range(0, _ROWS * _ROW_WORDS, _ROW_WORDS):
                if self._rows[row + _ID] and self._rows[row + _HOLDER] == index:
                    self._clear(row)

    def _find(self, key_hash: int, now: float) -> int | None:
        for row in self._places(key_hash):
            if self._rows[row + _HASH] == key_hash and now * _NANO < self._rows[row + _ENDS]:
                return row
        return None

    def _free_place(self, key_hash: int, now: float) -> int | None:
        for row in self._places(key_hash):
            if now * _NANO >= self._rows[row + _ENDS]:
                return row
        return None

    def _places(self, key_hash: int) -> list[int]:
        return [(key_hash + place) % _ROWS * _ROW_WORDS for place in range(_PLACES)]

    def _write(self, row: int, key_hash: int, ends: float, lease_id: int, purges: int) -> None:
        words = key_hash, int(ends * _NANO), processes.index(), lease_id, purges
        for word, value in enumerate(words):
            self._rows[row + word] = value

    def _clear(self, row: int) -> None:
        for word in range(_ROW_WORDS):
            self._rows[row + word] = 0

    def _forget_all(self) -> None:
        for row in range(0, _ROWS * _ROW_WORDS, _ROW_WORDS):
            self._clear(row)

    def _hash(self, text: str) -> int:
        return hash(self._salt + text) & _HASH_MASK
