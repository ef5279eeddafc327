"""Clients that ask all the time, and count what goes wrong."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Load:
    """Threads that ask one path of one port until the block is left.

    A fresh client opens a connection for each request; a kept one goes on with its connection, and
    opens another only where the old one was closed before a byte of an answer, as HTTP allows.
    """

    port: int
    path: str
    body: bytes
    fresh: int = 2
    kept: int = 2
    answers: int = 0
    closed_between: int = 0
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        clients = [self._ask_on_fresh_connections] * self.fresh + [self._ask_on_one] * self.kept
        self._threads = [
            threading.Thread(target=self._until_over, args=(client,), daemon=True)
            for client in clients
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def _until_over(self, client: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                client()
            except Exception as exc:  # noqa: BLE001 - any is one too many
                with self._lock:
                    self.errors.append(repr(exc))

    def _ask_on_fresh_connections(self) -> None:
        connection = self._connection()
        try:
            connection.request("GET", self.path)
            self._take(connection.getresponse())
        finally:
            connection.close()

    def _ask_on_one(self) -> None:
        connection = self._connection()
        asked = 0
        try:
            while not self._over.is_set():
                try:
                    connection.request("GET", self.path)
                    response = connection.getresponse()
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    if not asked:
                        raise
                    with self._lock:
                        self.closed_between += 1
                    return
                asked += 1
                self._take(response)
                if response.will_close:
                    return
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def _take(self, response: http.client.HTTPResponse) -> None:
        body = response.read()
        with self._lock:
            if response.status == http.HTTPStatus.OK and body == self.body:
                self.answers += 1
            else:
                self.errors.append(f"{response.status}, {len(body)} bytes")
