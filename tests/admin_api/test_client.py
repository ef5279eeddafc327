"""The commands' client against servers that misbehave."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from admin_api import client
from admin_api.client import AdminClient, AdminError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answering(answer: bytes | None) -> Iterator[AdminClient]:
    """A client of a server that sends `answer` to one connection (None: nothing)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        release = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    release.wait(5)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield AdminClient((url,), "", "secret-token")
        finally:
            release.set()
            thread.join(5)


def reply(status: str, body: bytes, *fields: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", body])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "gave no answer"),
        (b"SSH-2.0-something\r\n", "gave no answer"),
        (reply("200 OK", b"ok"), "ADMIN_PREFIX"),
        (reply("200 OK", b"[]"), "ADMIN_PREFIX"),
        (reply("302 Found", b"", b"Location: http://127.0.0.1:9/"), "answered 302"),
        (reply("500 Oops", b"{}"), "answered 500"),
        (reply("401 Unauthorized", b"{}"), "AUTH_TOKEN"),
    ],
)
def test_anything_but_the_answer_is_an_error(answer: bytes, said: str) -> None:
    with answering(answer) as admin, pytest.raises(AdminError, match=said) as caught:
        admin.get("/cache/stats")
    assert "secret-token" not in str(caught.value)


def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with answering(None) as admin, pytest.raises(UnknownOutcomeError, match=r"no answer in 0\.2 s"):
        admin.get("/cache/stats")


def test_the_token_is_not_in_its_repr() -> None:
    assert "secret" not in repr(AdminClient(("http://h",), "", "secret"))
