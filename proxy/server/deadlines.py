"""The deadlines of a server's connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol
from weakref import WeakKeyDictionary

from proxy import conf
from proxy.server.tcp import bytes_taken

if TYPE_CHECKING:
    import asyncio

    from uvicorn.server import ServerState


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a client may take: to send a head, to take any bytes, to ask again."""

    read: float
    write: float
    idle: float

    @property
    def interval(self) -> float:
        """How often to look, so that a deadline is kept to within half a second."""
        return max(0.02, min(0.25, self.read / 4, self.write / 4, self.idle / 4))


class Taking:
    """Whether a peer takes what was written to it: slowly is enough."""

    def __init__(self) -> None:
        self._taken = 0
        self._since: float | None = None

    def nothing_waits(self) -> None:
        """All that was written is gone."""
        self._since = None

    def has_stalled(self, transport: asyncio.Transport, now: float, seconds: float) -> bool:
        """Has nothing been taken for so long, as far as that was looked at?"""
        taken = bytes_taken(transport)
        if self._since is None or taken != self._taken:
            self._taken, self._since = taken, now
            return False
        return now - self._since >= seconds


class Connection(Protocol):
    """What has deadlines."""

    def check_deadlines(self, now: float, deadlines: Deadlines) -> None:
        """Close the connection if it has overrun one; ``now`` is the loop's time."""


class Sweeper:
    """Looks after the deadlines of every connection of one server.

    One timer for all: none is set or cancelled on the way of a request.
    """

    _sweepers: ClassVar[WeakKeyDictionary[ServerState, Sweeper]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self.connections: set[Connection] = set()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, state: ServerState, loop: asyncio.AbstractEventLoop) -> Sweeper:
        """The sweeper of a server."""
        sweeper = cls._sweepers.get(state)
        if sweeper is None:
            config = conf.config()
            sweeper = cls(
                loop, Deadlines(config.read_timeout, config.write_timeout, config.idle_timeout)
            )
            cls._sweepers[state] = sweeper
        return sweeper

    def add(self, connection: Connection) -> None:
        """Look after a connection from now on."""
        self.connections.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self.deadlines.interval, self._sweep)

    def discard(self, connection: Connection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self.connections):
            connection.check_deadlines(now, self.deadlines)
        if self.connections:
            self._timer = self._loop.call_later(self.deadlines.interval, self._sweep)
