"""What went wrong on purpose, and when: the only excuses that a failed request has."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

# How much later than its cause a failure may show: the time that two busy cores take to tell it.
GRACE_SECONDS = 1.0
# What a purge takes to travel from one replica to the others at the most, on two busy cores.
TRAVEL_SECONDS = 1.0
_REMEMBERED = 200


@dataclass(slots=True)
class Trouble:
    """A time in which something was wrong; `end` grows until it is over."""

    begin: float
    end: float = float("inf")
    # Of a stop: by SIGKILL, and the number of the server.
    abrupt: bool = False
    server: int = 0

    def overlaps(self, begin: float, end: float, grace: float = GRACE_SECONDS) -> bool:
        return self.begin <= end and begin <= self.end + grace


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker's end by SIGKILL: `ports` are those of the clients whose connections it held."""

    at: float
    ports: frozenset[int]


class Troubles:
    """Faulty exchanges of the origin by key, its outages, those of Valkey, kills and stops."""

    def __init__(self) -> None:
        self.outages: list[Trouble] = []
        # From its end, or pause, until every replica is well again; in order.
        self.valkey: list[Trouble] = []
        self.kills: list[Kill] = []
        # From SIGTERM until the next server answers.
        self.stops: list[Trouble] = []
        # From SIGHUP until every worker is a new one.
        self.reloads: list[Trouble] = []
        self._faults: defaultdict[str, deque[Trouble]] = defaultdict(
            lambda: deque(maxlen=_REMEMBERED)
        )

    def begin(self, key: str, now: float) -> Trouble:
        """An origin request for `key` suffers a fault from now until the result's `end` is set."""
        trouble = Trouble(now)
        self._faults[key].append(trouble)
        return trouble

    def of_origin(self, key: str, begin: float, end: float) -> bool:
        """Did the origin fail for a key, or altogether, meanwhile?"""
        return any(
            trouble.overlaps(begin, end)
            for troubles in (self._faults[key], self.outages)
            for trouble in troubles
        )

    def of_connection(self, port: int, begin: float, end: float) -> bool:
        """Was the client's connection held by a worker that was killed meanwhile?"""
        return any(
            port in kill.ports and begin <= kill.at <= end + GRACE_SECONDS for kill in self.kills
        )

    def purge_holds_everywhere(self, acknowledged: float) -> float:
        """When the other replicas know of a purge, too; later where Valkey was away meanwhile."""
        due = acknowledged + TRAVEL_SECONDS
        for trouble in self.valkey:
            if trouble.begin <= due and acknowledged <= trouble.end:
                due = max(due, trouble.end + TRAVEL_SECONDS)
        return due

    def closed_idle(self, server: int, port: int, begin: float, end: float) -> bool:
        """Was there a reason to close a connection that a request was just being sent on?"""
        return (
            any(port in kill.ports for kill in self.kills[-3:])
            or self.of_server(server, begin, end)
            or any(reload.overlaps(begin, end) for reload in self.reloads)
        )

    def of_server(
        self, server: int, begin: float, end: float, settled: float = float("inf")
    ) -> bool:
        """Was the whole of a server stopping, or away?

        SIGTERM is no excuse for requests that were `settled` seconds old by then.
        """
        return any(
            stop.server == server
            and stop.overlaps(begin, end, grace=0.0)
            and (stop.abrupt or stop.begin - begin < settled)
            for stop in self.stops
        )
