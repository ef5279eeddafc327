"""The pool of connections to the origin, as aiohttp keeps it."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace
    from botocore.credentials import ReadOnlyCredentials

_READ_BUFFER_BYTES = 256 * 1024
_DNS_CACHE_SECONDS = 30
# An object of S3 has 2 KiB of metadata at most, one of R2 8 KiB: in fields as short as can be, or
# all in one.
_MOST_FIELDS = 1024
_FIELD_BYTES = 16 * 1024


@dataclass(slots=True)
class Trip:
    """One request on one connection.

    ``reused``: the connection had been idle before; ``keys`` signed it.
    """

    reused: bool = False
    keys: ReadOnlyCredentials | None = None


# The one under way in a task: what makes the request has no way to hand it to the connector.
_trip: ContextVar[Trip] = ContextVar("trip")


class _Request(aiohttp.ClientRequest):
    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add nothing: no User-Agent, and what else there should be is given."""


class _Connector(aiohttp.TCPConnector):
    """Notes which trips go on connections that have been idle.

    aiohttp's tracing would tell as well, at a fifth of what a request costs.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit, ttl_dns_cache=_DNS_CACHE_SECONDS)
        self._known: WeakSet[object] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.protocol in self._known:
            _trip.get().reused = True
        else:
            self._known.add(connection.protocol)
        return connection


class Connections:
    """Opened when first needed; at most ``limit``, each silent for at most ``timeout`` seconds."""

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._connector: _Connector | None = None
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = self._connector = None

    async def get(self, url: str, headers: Mapping[str, str], trip: Trip) -> aiohttp.ClientResponse:
        """Send one GET request, once; ``url`` goes out as it is. Raises what aiohttp raises."""
        session = self._opened()
        _trip.set(trip)
        return await session.get(URL(url, encoded=True), headers=headers, allow_redirects=False)

    def forget_addresses(self) -> None:
        """Resolve the host name anew for the next connection: the origin may have moved."""
        if self._connector is not None:
            self._connector.clear_dns_cache()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._connector = _Connector(self._limit)
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._timeout),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER_BYTES,
                max_headers=_MOST_FIELDS,
                max_field_size=_FIELD_BYTES,
                request_class=_Request,
                requote_redirect_url=False,
                raise_for_status=False,
            )
            # aiohttp would repeat a request by itself, also on a new connection: beyond
            # S3_RETRIES, and unseen.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session


def reason_of(error: aiohttp.ClientError | OSError) -> str:
    """Why there is no connection, in the words of the operating system where it has any."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    return os.strerror(number) if number else type(error).__name__
