"""The installed uvicorn is one that the protocol was written for."""

from __future__ import annotations

import ast
import inspect
import logging
from typing import TYPE_CHECKING

import pytest
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

from proxy import conf
from proxy.server.exchange import Exchange
from proxy.server.run import uvicorn_options
from proxy.server.uvicorn_internals import http_protocol, missing

if TYPE_CHECKING:
    from collections.abc import Callable


def test_everything_that_we_lean_on_is_there() -> None:
    assert missing() == [], f"uvicorn {uvicorn.__version__} changed; see proxy/server/protocol.py"


def test_our_protocol_is_served() -> None:
    assert uvicorn_options(conf.config())["http"] == "proxy.server.fast_protocol:FastProtocol"


def test_an_exchange_has_all_that_uvicorn_asks_of_its_own_cycle() -> None:
    tree = ast.parse(inspect.getsource(httptools_impl.HttpToolsProtocol))
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in {"self.cycle", "existing_cycle"}
    }
    assert {"response_complete", "message_event", "keep_alive"} < asked
    # Bodies are the application's, and so are the requests that have one.
    assert asked - {"body", "more_body"} <= set(dir(Exchange))


def without_a_method(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(httptools_impl.HttpToolsProtocol, "_start_asgi_task")


def with_another_signature(patch: pytest.MonkeyPatch) -> None:
    def send_400_response(self: object) -> None:
        """Takes no message."""

    patch.setattr(httptools_impl.HttpToolsProtocol, "send_400_response", send_400_response)


def without_an_attribute(patch: pytest.MonkeyPatch) -> None:
    def __init__(self: object, transport: object) -> None:  # noqa: N807
        """Sets nothing."""

    patch.setattr(flow_control.FlowControl, "__init__", __init__)


def without_a_class(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(httptools_impl, "RequestResponseCycle")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (without_a_method, "HttpToolsProtocol._start_asgi_task(cycle, app)"),
        (with_another_signature, "HttpToolsProtocol.send_400_response(msg)"),
        (without_an_attribute, "FlowControl().write_paused"),
        (without_a_class, "RequestResponseCycle.send(message)"),
    ],
)
def test_what_is_gone_is_named_and_uvicorns_own_protocol_takes_its_place(
    change: Callable[[pytest.MonkeyPatch], None],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    change(monkeypatch)
    assert any(gone.endswith(name) for gone in missing())
    with caplog.at_level(logging.WARNING, "s3proxy.server"):
        assert http_protocol() == "auto"
    assert name in caplog.text
    assert uvicorn_options(conf.config())["http"] == "auto"
