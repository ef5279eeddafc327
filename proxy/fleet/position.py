"""How far in the stream of purges one has come."""

from __future__ import annotations

from typing import Protocol

from proxy.fleet.stream_id import BEGINNING, StreamId


class Position(Protocol):
    """Where the last entry that was applied is kept: as long-lived as what is stored."""

    def get(self) -> StreamId:
        """BEGINNING if there is none."""

    def set(self, at: StreamId) -> None:
        """``at`` has been applied; BEGINNING: the stream is another one."""

    def hear(self, at: StreamId) -> None:
        """``at`` is known, and about to be applied."""

    def number_of(self, sender: bytes) -> int | None:
        """Which of the purges that were sent from here it is; None for another's."""

    def is_finished(self, number: int) -> bool:
        """Has the purge that was sent from here been carried out?"""

    def owe(self, *, now: bool) -> None:
        """Are there purges that this process could not publish?"""

    def inherit(self) -> bool:
        """Is there something to publish of a process that died? It is this one's to do now."""


class PositionInMemory:
    """For a store that ends with the process, which carries out what it sends when it reads it."""

    def __init__(self) -> None:
        self._at = BEGINNING

    def get(self) -> StreamId:
        return self._at

    def set(self, at: StreamId) -> None:
        self._at = at

    def hear(self, at: StreamId) -> None:
        pass

    def number_of(self, sender: bytes) -> int | None:  # noqa: ARG002 - none is its own
        return None

    def is_finished(self, number: int) -> bool:  # noqa: ARG002 - none is its own
        return False

    def owe(self, *, now: bool) -> None:
        pass

    def inherit(self) -> bool:
        return False
