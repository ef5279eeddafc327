"""What has been purged lately, for fetches that began before.

A ring of rows in memory that forked processes share: a sequence number, what is purged, by key,
by prefix or all, and a hash. A fetch remembers the sequence number at its start; what it brings
may not be stored if a later row covers its key. Hashes may agree by chance, and rows are
overwritten: then something is fetched again that need not have been, and no more than that.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from proxy.cache.shared_memory import WORD, SharedMemory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.purge import Purge

_ROWS = 4096

_KEY, _PREFIX, _ALL = range(1, 4)

# The words of a row, and of the header.
_SEQUENCE, _KIND, _HASH, _LENGTH = range(4)
_ROW_WORDS = 4
_NEWEST = 0
_HEADER_WORDS = 1

_HASH_MASK = 2**64 - 1

_Row = tuple[int, int, int]
_EVERYTHING: _Row = (_ALL, 0, 0)


class PurgeLog:
    """The last 4,096 keys, prefixes and purges of everything."""

    def __init__(self) -> None:
        self._memory = SharedMemory("purge-log", WORD * (_HEADER_WORDS + _ROWS * _ROW_WORDS))
        self._memory.on_damage = self._count_everything_as_purged
        self._header = self._memory.words(0, _HEADER_WORDS)
        self._rows = self._memory.words(WORD * _HEADER_WORDS, _ROWS * _ROW_WORDS)
        # Python's hash is keyed per family of forked processes, the salt is for where it is not.
        self._salt = secrets.token_hex(8)

    @property
    def sequence(self) -> int:
        """The number of the newest row. Without the lock."""
        return self._header[_NEWEST]

    def append(self, purge: Purge) -> int:
        """Enter a purge; the sequence number from which on fetches have nothing to do with it."""
        if len(purge.keys) + len(purge.prefixes) > _ROWS:
            rows = [_EVERYTHING]
        else:
            rows = list(self._rows_of(purge))
        with self._memory:
            newest = self._header[_NEWEST] + len(rows)
            for sequence, row in enumerate(rows, self._header[_NEWEST] + 1):
                at = sequence % _ROWS * _ROW_WORDS
                for word, value in enumerate((sequence, *row)):
                    self._rows[at + word] = value
            # Last: whoever reads it without the lock has to find the rows.
            self._header[_NEWEST] = newest
        return newest

    def has_purged(self, key: str, since: int) -> bool:
        """Has a purge covered the key that was entered after the number ``since``?"""
        if self._header[_NEWEST] == since:
            return False
        with self._memory:
            newest = self._header[_NEWEST]
            if newest - since > _ROWS:
                return True
            whole = self._hash(key)
            beginnings: dict[int, int] = {}
            for sequence in range(since + 1, newest + 1):
                at = sequence % _ROWS * _ROW_WORDS
                written, kind, hashed, length = self._rows[at : at + _ROW_WORDS]
                if written != sequence or kind == _ALL:
                    return True
                if kind == _KEY and hashed == whole:
                    return True
                if kind == _PREFIX and length <= len(key):
                    if length not in beginnings:
                        beginnings[length] = self._hash(key[:length])
                    if hashed == beginnings[length]:
                        return True
        return False

    def _rows_of(self, purge: Purge) -> Iterable[_Row]:
        if purge.everything:
            yield _EVERYTHING
            return
        for key in purge.keys:
            yield _KEY, self._hash(key), 0
        for prefix in purge.prefixes:
            yield _PREFIX, self._hash(prefix), len(prefix)

    def _hash(self, text: str) -> int:
        return hash(self._salt + text) & _HASH_MASK

    def _count_everything_as_purged(self) -> None:
        # A purge that was being entered may have been half entered. No row is older than the
        # newest number by more than the ring, so every fetch under way finds its own too old.
        self._header[_NEWEST] += _ROWS + 1
