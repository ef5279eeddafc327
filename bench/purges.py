"""An object that changes, and the purges that say so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contestants import TOKEN
from bench.errors import BenchError
from bench.wrk import BROWSER_FIELDS

if TYPE_CHECKING:
    from bench.client import Connection
    from bench.contestants import Origin


@dataclass(slots=True)
class Versions:
    """An object of the origin below fresh/, replaced again and again."""

    origin: Origin
    key: str
    _number: int = 0
    _body: bytes = b""

    def next(self) -> None:
        """Replace it."""
        self._number += 1
        self._body = self.origin.put_version(self.key, self._number)

    def is_newest(self, connection: Connection) -> bool:
        """Is that what a server answers with? Raises BenchError for anything but a 200."""
        head, body = connection.get(f"/{self.key}", BROWSER_FIELDS)
        if head.status != 200:
            raise BenchError(f"{self.key}: {head.status}, not 200")
        return body == self._body


@dataclass(frozen=True, slots=True)
class SentPurge:
    """A purge of one key, sent over a connection of its own."""

    connection: Connection
    key: str

    def send(self) -> None:
        """Returns once it is acknowledged; raises BenchError where it is not."""
        body = json.dumps({"keys": [self.key]}).encode()
        head, answer = self.connection.post(
            "/cache/purge", {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}, body
        )
        if head.status != 200:
            raise BenchError(f"a purge was answered with {head.status}: {answer[:200]!r}")
