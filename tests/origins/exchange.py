"""Defines what a scripted origin hands to the steps of a script."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    method: str
    # Exactly as received, query included.
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    # The object key, decoded once; None for a target outside the bucket, "" for the bucket.
    key: str | None
    # Numbers connections from 1 in the order of their arrival.
    connection: int
    # time.monotonic() when the request was complete.
    arrived: float

    def header(self, name: str) -> str | None:
        """The field's values joined with ", ", or None."""
        wanted = name.lower().encode()
        values = [
            value.decode("latin-1") for field, value in self.headers if field.lower() == wanted
        ]
        return ", ".join(values) if values else None


def key_of(target: bytes, bucket: str) -> str | None:
    """The key in a path-style target."""
    path = unquote(target.partition(b"?")[0].decode("latin-1"), errors="surrogateescape")
    if path.rstrip("/") == f"/{bucket}":
        return ""
    prefix = f"/{bucket}/"
    return path[len(prefix) :] if path.startswith(prefix) else None


class Hangup(Exception):  # noqa: N818 - an order, not an error
    """Ends the connection now; with `reset`, by RST instead of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("reset" if reset else "close")
        self.reset = reset


@dataclass(slots=True)
class Exchange:
    request: RecordedRequest
    send: Callable[[bytes], Awaitable[None]]
    keep_alive: bool = True


class Step(Protocol):
    async def play(self, exchange: Exchange) -> None: ...


def describe(requests: Iterable[RecordedRequest]) -> str:
    """One line a request, for failure messages."""
    lines = [f"{r.method} {r.target.decode('latin-1')} (key {json.dumps(r.key)})" for r in requests]
    return "\n".join(lines) or "no requests"
