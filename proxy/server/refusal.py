"""Errors that a connection answers with by itself, before any application is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.access_log import log_request
from proxy.client_address import client_address
from proxy.core.error_page import error_page
from proxy.request_id import new_request_id
from proxy.server.wire import date_line, field_lines, status_line

if TYPE_CHECKING:
    import asyncio

# In place of a status: close, because what was asked is answered already.
NO_ANSWER = 0


class RefusedError(Exception):
    """The request head is not one to answer but with ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def write_refusal(transport: asyncio.Transport, status: int, peer: str | None) -> None:
    """Answer with an error, after which the connection is to be closed; log it.

    ``peer`` is the connection's address: of a request that was not read nothing is known.
    """
    request_id = new_request_id()
    added = (
        (b"x-request-id", request_id.encode("ascii")),
        (b"connection", b"close"),
    )
    head = error_page(status, "GET", "", added)
    body = b"".join(part for part in head.segments if isinstance(part, bytes))
    lines = status_line(status), field_lines(head.fields), date_line(), b"\r\n"
    transport.write(b"".join((*lines, body)))
    log_request(
        method=None,
        path=None,
        status=status,
        sent_bytes=len(body),
        seconds=0.0,
        client=client_address(peer, (), ()),
        request_id=request_id,
    )
