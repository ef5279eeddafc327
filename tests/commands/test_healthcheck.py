"""`manage.py healthcheck` against real sockets."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from proxy.management.commands import healthcheck

MANAGE_PY = Path(__file__).resolve().parents[2] / "manage.py"
ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def answering(answer: bytes | None, host: str = "127.0.0.1") -> Iterator[int]:
    """A server that sends `answer` to each connection (None: nothing, ever); yields its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, 0), family=family)
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            held.append(connection)
            if answer is not None:
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        for connection in held:
            connection.close()


@pytest.fixture
def listen_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets SERVER_ADDR, PORT or neither, whatever the environment says."""

    def configure(**variables: str) -> None:
        for name in ("SERVER_ADDR", "PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return configure


def healthy() -> str:
    output = StringIO()
    call_command("healthcheck", stdout=output)
    return output.getvalue()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_a_server_that_answers_200_is_alive(listen_on: Callable[..., None]) -> None:
    with answering(ALIVE) as port:
        listen_on(SERVER_ADDR=f"127.0.0.1:{port}")
        assert healthy() == f"127.0.0.1 port {port} is alive.\n"


@pytest.mark.parametrize("address", ["", "0.0.0.0"])
def test_a_server_on_all_interfaces_is_asked_on_loopback(
    listen_on: Callable[..., None], address: str
) -> None:
    with answering(ALIVE) as port:
        listen_on(SERVER_ADDR=f"{address}:{port}")
        assert "127.0.0.1" in healthy()


def test_a_server_on_ipv6_alone_is_found(listen_on: Callable[..., None]) -> None:
    with answering(ALIVE, host="::1") as port:
        listen_on(SERVER_ADDR=f"[::]:{port}")
        assert healthy() == f"::1 port {port} is alive.\n"


def test_the_hosts_port_is_used_without_server_addr(listen_on: Callable[..., None]) -> None:
    with answering(ALIVE) as port:
        listen_on(PORT=str(port))
        assert "alive" in healthy()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_any_other_status_is_named(listen_on: Callable[..., None], answer: bytes) -> None:
    with answering(answer) as port:
        listen_on(SERVER_ADDR=f"127.0.0.1:{port}")
        with pytest.raises(CommandError, match=f"with {answer[9:12].decode()}"):
            healthy()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-something\r\n"])
def test_an_answer_that_is_not_http_is_no_answer(
    listen_on: Callable[..., None], answer: bytes
) -> None:
    with answering(answer) as port:
        listen_on(SERVER_ADDR=f"127.0.0.1:{port}")
        with pytest.raises(CommandError, match="gave no answer"):
            healthy()


def test_a_server_that_hangs_is_given_up(
    listen_on: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healthcheck, "TIMEOUT", 0.2)
    with answering(None) as port:
        listen_on(SERVER_ADDR=f":{port}")
        with pytest.raises(CommandError, match="timed out"):
            healthy()


def test_nobody_listening_is_said(listen_on: Callable[..., None]) -> None:
    listen_on(SERVER_ADDR=f":{free_port()}")
    with pytest.raises(CommandError, match="refused"):
        healthy()


def test_a_malformed_address_is_named(listen_on: Callable[..., None]) -> None:
    listen_on(SERVER_ADDR="8080")
    with pytest.raises(CommandError, match="SERVER_ADDR"):
        healthy()


def test_a_port_that_the_system_chose_cannot_be_known(listen_on: Callable[..., None]) -> None:
    listen_on(SERVER_ADDR="127.0.0.1:0")
    with pytest.raises(CommandError, match="SERVER_ADDR"):
        healthy()


def test_a_shell_without_any_configuration_can_ask() -> None:
    """The exit status is what Docker looks at; the environment lacks every required variable."""
    bare = {"PATH": os.environ["PATH"]}
    command = [sys.executable, str(MANAGE_PY), "healthcheck"]
    with answering(ALIVE) as port:
        alive = subprocess.run(command, env=bare | {"PORT": str(port)}, timeout=30)
    dead = subprocess.run(
        command, env=bare | {"PORT": str(port)}, capture_output=True, text=True, timeout=30
    )
    assert alive.returncode == 0
    assert dead.returncode == 1
    assert dead.stderr.startswith("CommandError: localhost port ")
