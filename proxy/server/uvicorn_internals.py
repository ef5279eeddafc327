"""Says whether uvicorn still has the internals that our protocol leans on."""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

import uvicorn

logger = logging.getLogger("s3proxy.server")

PROTOCOL = "proxy.server.fast_protocol:FastProtocol"
# What uvicorn chooses by itself: correct, though with no deadlines for clients and slow on hits.
PLAIN_PROTOCOL = "auto"

_IMPLEMENTATION = "uvicorn.protocols.http.httptools_impl"
_FLOW_CONTROL = "uvicorn.protocols.http.flow_control"
_SERVER = "uvicorn.server"

# (module, class) -> methods with the parameters that they are called with.
_METHODS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    (_IMPLEMENTATION, "HttpToolsProtocol"): {
        "connection_made": ("transport",),
        "connection_lost": ("exc",),
        "data_received": ("data",),
        "eof_received": (),
        "pause_writing": (),
        "resume_writing": (),
        "shutdown": (),
        "on_message_begin": (),
        "on_url": ("url",),
        "on_header": ("name", "value"),
        "on_headers_complete": (),
        "on_body": ("body",),
        "on_message_complete": (),
        "on_response_complete": (),
        "send_400_response": ("msg",),
        "_start_asgi_task": ("cycle", "app"),
        "_unsupported_upgrade_warning": (),
    },
    (_IMPLEMENTATION, "RequestResponseCycle"): {"run_asgi": ("app",), "send": ("message",)},
    (_FLOW_CONTROL, "FlowControl"): {
        "__init__": ("transport",),
        "pause_reading": (),
        "resume_reading": (),
        "pause_writing": (),
        "resume_writing": (),
    },
}
# (module, class, method) -> attributes that the method sets, or looks at.
_ATTRIBUTES: dict[tuple[str, str, str], tuple[str, ...]] = {
    (_IMPLEMENTATION, "HttpToolsProtocol", "__init__"): (
        "client",
        "cycle",
        "expect_100_continue",
        "flow",
        "headers",
        "limit_concurrency",
        "logger",
        "loop",
        "parser",
        "pipeline",
        "root_path",
        "server_state",
        "tasks",
        "transport",
    ),
    (_IMPLEMENTATION, "HttpToolsProtocol", "on_message_begin"): (
        "expect_100_continue",
        "headers",
        "scope",
        "url",
    ),
    (_IMPLEMENTATION, "HttpToolsProtocol", "on_response_complete"): ("pipeline", "flow"),
    (_IMPLEMENTATION, "RequestResponseCycle", "__init__"): (
        "access_log",
        "default_headers",
        "disconnected",
        "keep_alive",
        "message_event",
        "on_response",
        "response_complete",
        "response_started",
        "scope",
        "waiting_for_100_continue",
    ),
    (_IMPLEMENTATION, "RequestResponseCycle", "send"): (
        "chunked_encoding",
        "expected_content_length",
    ),
    (_FLOW_CONTROL, "FlowControl", "__init__"): ("write_paused",),
    (_SERVER, "ServerState", "__init__"): ("total_requests",),
}


def missing() -> list[str]:
    """What is gone, by name; empty where all is there."""
    gone = []
    for (module, owner), methods in _METHODS.items():
        found = _find(module, owner)
        for method, parameters in methods.items():
            if not _takes(getattr(found, method, None), parameters):
                gone.append(f"{module}.{owner}.{method}({', '.join(parameters)})")
    for (module, owner, method), attributes in _ATTRIBUTES.items():
        code = getattr(getattr(_find(module, owner), method, None), "__code__", None)
        known = getattr(code, "co_names", ())
        gone += [f"{module}.{owner}().{name}" for name in attributes if name not in known]
    return gone


def http_protocol() -> str:
    """The protocol for uvicorn's ``http`` option: ours, or where that cannot work, its own."""
    gone = missing()
    if not gone:
        return PROTOCOL
    logger.warning(
        "uvicorn %s is not one that this version knows; serving on, slower and without read and"
        " write timeouts. Missing: %s",
        uvicorn.__version__,
        ", ".join(gone),
    )
    return PLAIN_PROTOCOL


def _find(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _takes(method: Any, parameters: tuple[str, ...]) -> bool:
    if method is None:
        return False
    _, *known = inspect.signature(method).parameters
    return tuple(known[: len(parameters)]) == parameters and (bool(parameters) or not known)
