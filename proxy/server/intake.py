"""What a connection takes in of requests, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import FlowControl

from proxy.server.framing import MAX_HEAD_BYTES, Field, head_bytes
from proxy.server.refusal import NO_ANSWER, RefusedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Trailers(list[Field]):
    """Takes the fields behind a request's body, and keeps none (RFC 9110 §6.5.1).

    Raises RefusedError where they go on beyond what a head may have.
    """

    # Of the class until there are any: most requests have none.
    _bytes = 0

    def append(self, field: Field) -> None:
        self._bytes += head_bytes(b"", b"", (field,))
        if self._bytes > MAX_HEAD_BYTES:
            raise RefusedError(NO_ANSWER)


class OneAheadFlow(FlowControl):
    """Reads nothing further while requests wait for those before them.

    Else a client that sends requests faster than it takes answers would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, has_waiting: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._has_waiting = has_waiting

    def resume_reading(self) -> None:
        if not self._has_waiting():
            super().resume_reading()
