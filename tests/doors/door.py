"""The ways into the proxy that must answer alike."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the client sees it; names are lower-case, the body as it was on the wire."""

    status: int
    fields: Fields
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """The value of a field that may be there once."""
        values = [value for field, value in self.fields if field == name]
        assert len(values) < 2, f"{name} occurs {len(values)} times"
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.fields}


class Door(Protocol):
    async def ask(self, target: str, *fields: str, method: str = "GET") -> Reply:
        """One request; fields as ``"Name: value"``."""


class HttpxDoor:
    """Whatever httpx has a transport for."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, target: str, *fields: str, method: str = "GET") -> Reply:
        pairs = [(name, value.strip()) for name, _, value in (f.partition(":") for f in fields)]
        async with self._client.stream(method, target, headers=httpx.Headers(pairs)) as response:
            body = b"".join([chunk async for chunk in response.aiter_raw()])
            received = tuple(
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in response.headers.raw
            )
            return Reply(response.status_code, received, body)


@asynccontextmanager
async def door_over(
    url: str, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Door]:
    """A door to a server, or through a transport."""
    async with httpx.AsyncClient(
        base_url=url, transport=transport, trust_env=False, verify=False, timeout=10
    ) as client:
        # httpx would say what it accepts.
        client.headers.clear()
        yield HttpxDoor(client)
