"""Clients that ask all the time, and count what goes wrong."""

from __future__ import annotations

import http.client
from functools import partial
from typing import TYPE_CHECKING

from tests.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable


class Load(Background):
    """Threads that ask one path of one port until the block is left.

    A fresh client opens a connection for each request; a kept one goes on with its connection, and
    opens another only where the old one was closed before a byte of an answer, as HTTP allows.
    """

    def __init__(self, port: int, path: str, body: bytes, *, fresh: int = 2, kept: int = 2) -> None:
        self.answers = 0
        self.closed_between = 0
        self.errors: list[str] = []
        self._port, self._path, self._body = port, path, body
        clients = [self._ask_on_fresh_connections] * fresh + [self._ask_on_one] * kept
        super().__init__([partial(self._until_over, each) for each in clients], join_seconds=10)

    def _until_over(self, client: Callable[[], None]) -> None:
        while not self.over.is_set():
            try:
                client()
            except Exception as exc:  # noqa: BLE001 - any is one too many
                with self.lock:
                    self.errors.append(repr(exc))

    def _ask_on_fresh_connections(self) -> None:
        connection = self._connection()
        try:
            connection.request("GET", self._path)
            self._take(connection.getresponse())
        finally:
            connection.close()

    def _ask_on_one(self) -> None:
        connection = self._connection()
        asked = 0
        try:
            while not self.over.is_set():
                try:
                    connection.request("GET", self._path)
                    response = connection.getresponse()
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    if not asked:
                        raise
                    with self.lock:
                        self.closed_between += 1
                    return
                asked += 1
                self._take(response)
                if response.will_close:
                    return
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)

    def _take(self, response: http.client.HTTPResponse) -> None:
        body = response.read()
        with self.lock:
            if response.status == http.HTTPStatus.OK and body == self._body:
                self.answers += 1
            else:
                self.errors.append(f"{response.status}, {len(body)} bytes")
