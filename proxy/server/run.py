"""What a server is configured with, and the socket it listens on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from proxy.server.uvicorn_internals import http_protocol

if TYPE_CHECKING:
    from s3proxy_site.env import Config

APPLICATION = "s3proxy_site.asgi:application"
_BACKLOG = 2048


def uvicorn_options(config: Config) -> dict[str, Any]:
    """What uvicorn has to know, for ``serve`` and ``runserver`` alike."""
    return {
        "app": APPLICATION,
        "http": http_protocol(),
        "ws": "none",
        "lifespan": "on",
        "loop": "uvloop",
        "interface": "asgi3",
        "log_config": None,
        "access_log": False,
        # The client's address is worked out by proxy.client_address, from trusted peers only.
        "proxy_headers": False,
        "server_header": False,
        # A stored response keeps the Date that it was made with (RFC 9110 §6.6.1).
        "date_header": False,
        "timeout_keep_alive": config.idle_timeout,
        "timeout_graceful_shutdown": config.drain_timeout,
    }


def bind(config: Config) -> socket.socket:
    """A listening socket; raises OSError. No host means every address, IPv4 and IPv6."""
    if config.host:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        return socket.create_server((config.host, config.port), family=family, backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", config.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
        )
    return socket.create_server(("", config.port), backlog=_BACKLOG)


def url_of(listener: socket.socket) -> str:
    """Where a listening socket can be reached from this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
