"""How far one server has come in the stream of purges, for all of its workers."""

from __future__ import annotations

import secrets

from proxy import processes
from proxy.cache.shared_memory import WORD, SharedMemory
from proxy.fleet.stream_id import BEGINNING, StreamId

# So many of the server's own purges are remembered: more than are on their way at once.
_OWN = 256
# More than a server has workers.
_PROCESSES = 4096

_APPLIED, _KNOWN, _NEXT, _HEIRLESS, _FINISHED = 0, 2, 4, 5, 6
_OWING = _FINISHED + _OWN
_WORDS = _OWING + _PROCESSES
_NOTHING_OWED = bytes(WORD * _PROCESSES)


class SharedPosition:
    """In memory that forked processes share, as what is stored is.

    A purge of the server's own has a number, which ``name_of`` makes unique in the stream.
    """

    def __init__(self) -> None:
        self._memory = SharedMemory("purge-position", WORD * _WORDS)
        self._memory.on_damage = self._begin_anew
        self._words = self._memory.words(0, _WORDS)
        self._server = secrets.token_hex(8)

    def get(self) -> StreamId:
        """The last purge of the stream that was applied; BEGINNING if there is none."""
        with self._memory:
            return self._read(_APPLIED)

    def set(self, at: StreamId) -> None:
        """``at`` has been applied; BEGINNING: the stream is another one."""
        with self._memory:
            self._write(_APPLIED, at)
            if at == BEGINNING:
                self._write(_KNOWN, at)

    @property
    def known(self) -> StreamId:
        """The latest purge that a worker of this server has heard of, or published.

        A worker that has not come so far must not use the second tier: what it gets from there
        would stay in the memory of all workers, where the purge has been carried out already.
        """
        with self._memory:
            return self._read(_KNOWN)

    def hear(self, at: StreamId) -> None:
        """A worker knows of a purge, and is about to carry it out."""
        with self._memory:
            self._write(_KNOWN, max(at, self._read(_KNOWN)))

    def begin(self) -> int:
        """The number of a purge of the server's own."""
        with self._memory:
            self._words[_NEXT] += 1
            return self._words[_NEXT]

    def name_of(self, number: int) -> bytes:
        """The sender of a purge, as the stream has it."""
        return f"{self._server}-{number}".encode()

    def number_of(self, sender: bytes) -> int | None:
        """Which purge of this server it is; None for another's."""
        server, _, number = sender.partition(b"-")
        own = server == self._server.encode() and number.isdigit()
        return int(number) if own else None

    def finish(self, number: int) -> None:
        """The server's own purge has been carried out."""
        with self._memory:
            self._words[_FINISHED + number % _OWN] = number

    def is_finished(self, number: int) -> bool:
        """Has the server's own purge been carried out?"""
        return self._words[_FINISHED + number % _OWN] == number

    @property
    def owes(self) -> bool:
        """Does any worker have purges that the other replicas could not be told of?

        The second tier may still have what these forbid.
        """
        with self._memory:
            return bool(self._words[_HEIRLESS]) or bytes(self._words[_OWING:]) != _NOTHING_OWED

    def owe(self, *, now: bool) -> None:
        """Are there purges that this process could not publish?"""
        with self._memory:
            self._words[_OWING + processes.index() % _PROCESSES] = now

    def forget_process(self, index: int) -> None:
        """A process has died, and with it what it had yet to publish."""
        with self._memory:
            word = _OWING + index % _PROCESSES
            self._words[_HEIRLESS] |= self._words[word]
            self._words[word] = 0

    def inherit(self) -> bool:
        """Is there something to publish of a process that died? It is this one's to do now."""
        if not self._words[_HEIRLESS]:
            return False
        with self._memory:
            found = bool(self._words[_HEIRLESS])
            self._words[_HEIRLESS] = 0
            if found:
                self._words[_OWING + processes.index() % _PROCESSES] = 1
            return found

    def _read(self, word: int) -> StreamId:
        return StreamId(self._words[word], self._words[word + 1])

    def _write(self, word: int, at: StreamId) -> None:
        self._words[word], self._words[word + 1] = at

    def _begin_anew(self) -> None:
        # Only ids take two words. An unknown position means that all may have missed something.
        self._words[_APPLIED] = self._words[_APPLIED + 1] = 0
