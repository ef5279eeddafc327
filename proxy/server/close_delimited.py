"""Bodies for HTTP/1.0 clients, which know no chunks: RFC 9112 §6.1."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    Send = Callable[[Any], Awaitable[None]]
    Application = Callable[[Any, Any, Any], Awaitable[None]]


def close_delimited(cycle: RequestResponseCycle, app: Application) -> Application:
    """The application, with bodies of unknown length that end where the connection does.

    uvicorn would send them in chunks to a client of any version.
    """

    async def application(scope: Any, receive: Any, send: Send) -> None:
        counted = True

        async def send_without_chunks(message: Any) -> None:
            nonlocal counted
            if message["type"] == "http.response.start":
                counted = any(name.lower() == b"content-length" for name, _ in message["headers"])
                if not counted:
                    cycle.chunked_encoding = False
                    cycle.expected_content_length = sys.maxsize
            elif not counted and not message.get("more_body", False):
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_without_chunks)

    return application
