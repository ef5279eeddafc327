"""The pool of connections to the origin, as aiohttp keeps it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

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


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
) -> None:
    context.trace_request_ctx.reused = True


class Connections:
    """Opened when first needed; at most ``limit``, each silent for at most ``timeout`` seconds."""

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._connector: aiohttp.TCPConnector | None = None
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = self._connector = None

    async def get(self, url: str, headers: Mapping[str, str], trip: Trip) -> aiohttp.ClientResponse:
        """Send one GET request, once; ``url`` goes out as it is. Raises what aiohttp raises."""
        return await self._opened().get(
            URL(url, encoded=True), headers=headers, allow_redirects=False, trace_request_ctx=trip
        )

    def forget_addresses(self) -> None:
        """Resolve the host name anew for the next connection: the origin may have moved."""
        if self._connector is not None:
            self._connector.clear_dns_cache()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._connector = aiohttp.TCPConnector(
                limit=self._limit, ttl_dns_cache=_DNS_CACHE_SECONDS
            )
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._timeout),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER_BYTES,
                max_headers=_MOST_FIELDS,
                max_field_size=_FIELD_BYTES,
                skip_auto_headers=("User-Agent",),
                requote_redirect_url=False,
                raise_for_status=False,
                trace_configs=[trace],
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
