"""The commands' end of the control socket, against servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from admin_api import control_client
from admin_api.client import AdminError, NoAnswerError, UnknownOutcomeError
from proxy.server.control import Control
from proxy.server.run import bind
from s3proxy_site import env

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = b'{"purged": 1, "not_found": []}\n'


@pytest.fixture(autouse=True)
def _no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)


@contextmanager
def answering(answer: bytes | None, server_addr: str = "127.0.0.1:0") -> Iterator[int]:
    """The port of a server whose parent sends `answer` to one connection (None: nothing)."""
    config, _ = env.parse(
        {
            "AUTH_TOKEN": "t" * 16,
            "S3_ENDPOINT": "http://127.0.0.1:9",
            "S3_BUCKET": "bucket",
            "S3_CREDENTIALS": "anonymous",
            "SERVER_ADDR": server_addr,
        }
    )
    assert config is not None
    with bind(config) as listener:
        host, port = listener.getsockname()[:2]
        with closing(Control(lambda _line, _reply: None)) as control:
            control.open(host, port)
            [waiting] = control.waiting_for()
            waiting.setblocking(True)
            release = threading.Event()

            def serve() -> None:
                connection = control.accept()
                if connection is not None:
                    with connection:
                        if answer is None:
                            release.wait(5)
                        elif connection.recv(65536):
                            connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield port
            finally:
                release.set()
                waiting.shutdown(socket.SHUT_RDWR)
                thread.join(5)


@pytest.mark.parametrize("looked_for", ["localhost", "127.0.0.1", "0.0.0.0", "[::]", ""])
@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0", "[::]", ""])
def test_a_server_is_found_as_over_http(
    monkeypatch: pytest.MonkeyPatch, listening: str, looked_for: str
) -> None:
    with answering(GOOD, f"{listening}:0") as port:
        monkeypatch.setenv("SERVER_ADDR", f"{looked_for}:{port}")
        assert control_client.ask({"all": True}).content == json.loads(GOOD)


def test_a_server_on_another_address_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(GOOD, "127.0.0.2:0") as port:
        monkeypatch.setenv("SERVER_ADDR", f"127.0.0.1:{port}")
        with pytest.raises(NoAnswerError, match="no control socket"):
            control_client.ask({"all": True})


@pytest.mark.parametrize(
    ("answer", "said", "kind"),
    [
        (b"", "gave no answer", UnknownOutcomeError),
        (b"what?\n", "gave no answer", UnknownOutcomeError),
        (b'{"purged": 1', "gave no answer", UnknownOutcomeError),
        (b"[]\n", "not as s3proxy does", AdminError),
        (b'{"error": "no keys"}\n', "no keys", AdminError),
    ],
)
def test_anything_but_the_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str, kind: type[AdminError]
) -> None:
    with answering(answer) as port:
        monkeypatch.setenv("SERVER_ADDR", f"127.0.0.1:{port}")
        with pytest.raises(AdminError, match=said) as caught:
            control_client.ask({"all": True})
    assert caught.type is kind


def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "TIMEOUT", 0.2)
    with answering(None) as port:
        monkeypatch.setenv("SERVER_ADDR", f"127.0.0.1:{port}")
        with pytest.raises(NoAnswerError, match="timed out"):
            control_client.ask({"all": True})


@pytest.mark.parametrize(("address", "said"), [(":0", "the port"), ("8080", "colon")])
def test_the_address_must_say_where(
    monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("SERVER_ADDR", address)
    with pytest.raises(AdminError, match=said):
        control_client.ask({"all": True})
