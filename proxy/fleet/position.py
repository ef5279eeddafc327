"""How far one server has come in the stream of purges, for all of its workers."""

from __future__ import annotations

from proxy.cache.shared_memory import WORD, SharedMemory
from proxy.fleet.stream_id import StreamId

# So many of the server's own purges are remembered: more than are on their way at once.
_OWN = 256

_APPLIED, _KNOWN, _NEXT, _RING = 0, 2, 4, 5


class SharedPosition:
    """In memory that forked processes share, as what is stored is."""

    def __init__(self) -> None:
        words = _RING + 2 * _OWN
        self._memory = SharedMemory("purge-position", WORD * words)
        # From the beginning: then what is stored may have missed something.
        self._memory.on_damage = self._clear
        self._words = self._memory.words(0, words)

    def get(self) -> StreamId:
        """The last purge of the stream that was applied; BEGINNING if there is none."""
        with self._memory:
            return self._read(_APPLIED)

    def set(self, at: StreamId) -> None:
        """``at`` has been applied."""
        with self._memory:
            self._write(_APPLIED, at)

    @property
    def known(self) -> StreamId:
        """The latest purge that a worker of this server has published.

        Who has not heard of it from the stream yet must not use the second tier.
        """
        with self._memory:
            return self._read(_KNOWN)

    def publish(self, at: StreamId) -> None:
        """A worker has published a purge, and is about to carry it out."""
        with self._memory:
            self._write(_KNOWN, max(at, self._read(_KNOWN)))

    def finish(self, at: StreamId) -> None:
        """The purge has been carried out on this server."""
        with self._memory:
            number = self._words[_NEXT]
            self._write(_RING + 2 * (number % _OWN), at)
            self._words[_NEXT] = number + 1

    def is_finished(self, at: StreamId) -> bool:
        """Has this server carried the purge out as its own?"""
        with self._memory:
            return any(self._read(_RING + 2 * number) == at for number in range(_OWN))

    def _read(self, word: int) -> StreamId:
        return StreamId(self._words[word], self._words[word + 1])

    def _write(self, word: int, at: StreamId) -> None:
        self._words[word], self._words[word + 1] = at

    def _clear(self) -> None:
        for word in range(_RING + 2 * _OWN):
            self._words[word] = 0
