"""Sends Django's responses by the messages of ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from proxy import metrics
from proxy.origin.errors import OriginError
from proxy.responses import cookies_of, fields_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable

    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

# The ASGI extension by which the server offers to cut a connection: {"abort": callable}.
ABORT_EXTENSION = "s3proxy.abort"
# The one by which it offers to send in one piece what is at hand whole: {"send": callable} of a
# status, fields and a body, which says whether it did. Otherwise it is to be sent as always.
WHOLE_EXTENSION = "s3proxy.whole"

_WITHOUT_LENGTH = frozenset({204, 304})


class Sending:
    """One response on its way to the client; ``sent_bytes`` of its body were sent so far."""

    __slots__ = ("_extensions", "_receive", "_send", "sent_bytes")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._extensions: dict[str, Any] | None = scope.get("extensions")
        self._receive = receive
        self._send = send
        self.sent_bytes = 0

    async def whole(self, request: HttpRequest, response: HttpResponse) -> None:
        """Send a response whose body is at hand."""
        content, status = response.content, response.status_code
        fields = fields_of(response)
        is_head = request.method == "HEAD"
        if (
            b"content-length" not in fields
            and status not in _WITHOUT_LENGTH
            # Nothing to send for a HEAD says nothing of what a GET would be sent.
            and (content or not is_head)
        ):
            fields[b"content-length"] = b"%d" % len(content)
        _date(fields)
        if is_head:
            content = b""
        cookies = cookies_of(response)
        if self._extensions and not cookies:
            offered = self._extensions.get(WHOLE_EXTENSION)
            if offered is not None and offered["send"](status, fields, content):
                self.sent_bytes = len(content)
                return
        headers = [*fields.items(), *cookies]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.sent_bytes = len(content)
        await self._send({"type": "http.response.body", "body": content, "more_body": False})

    async def stream(self, response: Any) -> bool:
        """Send a response whose body comes in pieces; did the client get all of it?"""
        fields = fields_of(response)
        _date(fields)
        headers = [*fields.items(), *cookies_of(response)]
        status = response.status_code
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        # A server drops silently what is sent to a client that has gone; without listening, a
        # stream would go on for nobody.
        sending = asyncio.create_task(self._send_all(response))
        listening = asyncio.create_task(_disconnected(self._receive))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                metrics.client_disconnects.inc()
                return False
            await sending
        except OriginError:
            # In the log already. A body that looked complete would be a lie.
            self._abort()
            return False
        finally:
            sending.cancel()
            listening.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
        return True

    async def _send_all(self, chunks: AsyncIterable[bytes]) -> None:
        async for chunk in chunks:
            self.sent_bytes += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _abort(self) -> None:
        offered = (self._extensions or {}).get(ABORT_EXTENSION)
        if offered is not None:
            offered["abort"]()


def _date(fields: dict[bytes, bytes]) -> None:
    if b"date" not in fields:
        fields[b"date"] = formatdate(usegmt=True).encode("ascii")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def close(response: HttpResponseBase) -> None:
    """As response.close(), without a signal for databases and caches that nothing here closes."""
    closers: list[Callable[[], object]] = response._resource_closers  # type: ignore[attr-defined]  # noqa: SLF001
    if closers:
        for closer in closers:
            with contextlib.suppress(Exception):
                closer()
        closers.clear()
    response.closed = True
