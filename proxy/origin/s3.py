"""The one client that talks to S3 for objects."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from proxy import metrics
from proxy.core.ranges import parse_content_range
from proxy.core.storability import OriginHead
from proxy.origin.blocking import in_thread
from proxy.origin.errors import (
    Failure,
    OriginError,
    PreconditionChangedError,
    classify,
    error_code,
)
from proxy.origin.exchange import WHOLE, Absence, Ask, OriginAnswer
from proxy.origin.location import DEFAULT_REGION, Location, ask_region, locate, region_of_host
from proxy.origin.report import report
from proxy.origin.signing import CredentialSource, signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    from storages.backends.s3 import S3Storage

logger = logging.getLogger("s3proxy.origin")

_RETRIED = frozenset({500, 503})
_BACKOFF_SECONDS = 0.1
_ERROR_BODY_BYTES = 64 * 1024
_READ_BUFFER_BYTES = 256 * 1024
_CONNECTIONS = 512


@dataclass(slots=True)
class _Trip:
    """One request on one connection. ``reused``: the connection had been idle before."""

    reused: bool = False


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
) -> None:
    context.trace_request_ctx.reused = True


class S3Origin:
    """GET requests for the objects of one bucket.

    ``timeout`` in seconds bounds connect and time to first byte, retries included, then the
    wait between two chunks; ``retries`` are extra attempts before the first byte.
    """

    def __init__(
        self,
        storage: S3Storage,
        credentials: CredentialSource,
        *,
        region: str,
        timeout: float,
        retries: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._credentials = credentials
        self._configured_region = region
        self._timeout = timeout
        self._retries = retries
        self._clock = clock
        self._location: Location | None = None
        self._locating = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, key: str, ask: Ask = WHOLE) -> OriginAnswer | Absence:
        """Ask for an object, or whether it changed, or for a part of it.

        Raises OriginError; PreconditionChangedError where the object to take a part of is
        another by now.
        """
        deadline = time.monotonic() + self._timeout
        attempt = 0
        while True:
            trip = _Trip()
            try:
                return await self._attempt(key, ask, deadline, trip)
            except OriginError as exc:
                if exc.failure is Failure.CONNECT and trip.reused and time.monotonic() < deadline:
                    # RFC 9112 §9.3.1: closed while it was idle; that says nothing of the origin.
                    continue
                again = exc.failure is Failure.CONNECT or exc.origin_status in _RETRIED
                pause = random.uniform(0, _BACKOFF_SECONDS * 2**attempt)  # noqa: S311 - jitter
                if not again or attempt >= self._retries or time.monotonic() + pause >= deadline:
                    report(exc, key)
                    raise
            attempt += 1
            metrics.origin_retries.inc()
            await asyncio.sleep(pause)

    async def _attempt(
        self, key: str, ask: Ask, deadline: float, trip: _Trip
    ) -> OriginAnswer | Absence:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._exchange(key, ask, trip)
        except TimeoutError as exc:
            raise OriginError(Failure.TIMEOUT, f"no answer within {self._timeout:g} s") from exc
        except aiohttp.ClientResponseError as exc:
            raise OriginError(
                Failure.UNEXPECTED, f"not HTTP as it should be: {exc.message}"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise OriginError(
                Failure.CONNECT,
                f"no connection to {self._storage.endpoint_url} ({_reason(exc)}); "
                "look at S3_ENDPOINT",
                variable="S3_ENDPOINT",
            ) from exc

    async def _exchange(self, key: str, ask: Ask, trip: _Trip) -> OriginAnswer | Absence:
        credentials = await self._credentials.current()
        location = self._location or await self._locate()
        url = location.url(key)
        headers = {
            # As stored, or not at all: nobody on the way may encode the object anew.
            "Accept-Encoding": "identity",
            "Via": "1.1 s3proxy",
            **ask.headers(),
            **signature(url, credentials, location.region),
        }
        request_time = self._clock()
        started = time.perf_counter()
        response = await self._connections().get(
            URL(url, encoded=True),
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=trip,
        )
        metrics.origin_latency.observe(time.perf_counter() - started)
        head = OriginHead(
            response.status,
            tuple((name.lower(), value) for name, value in response.raw_headers),
            request_time,
            self._clock(),
        )
        try:
            return await self._read(response, head, key, ask)
        except BaseException:
            response.close()
            raise

    async def _read(
        self, response: aiohttp.ClientResponse, head: OriginHead, key: str, ask: Ask
    ) -> OriginAnswer | Absence:
        status = response.status
        if status == 200 and ask.part is None:
            metrics.origin_requests["ok"].inc()
            return OriginAnswer(response, head, key)
        if status == 206 and ask.part is not None and _is_a_part(head, ask):
            metrics.origin_requests["ok"].inc()
            return OriginAnswer(response, head, key)
        if status == 304 and ask.conditional:
            metrics.origin_requests["not_modified"].inc()
            return OriginAnswer(response, head, key)
        if status in (412, 416) and ask.part is not None:
            raise PreconditionChangedError
        if status in (200, 206, 304):
            raise OriginError(
                Failure.UNEXPECTED,
                f"{status} that was not asked for; look at S3_ENDPOINT",
                origin_status=status,
                variable="S3_ENDPOINT",
            )
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _ERROR_BODY_BYTES:
                break
        meaning = classify(status, error_code(body), response.headers.get("Retry-After"))
        response.close()
        if isinstance(meaning, OriginError):
            if meaning.variable == "S3_REGION":
                # A region that was found out, not configured, may have been found out wrongly.
                self._location = None
            raise meaning
        if meaning.denied:
            metrics.origin_requests["access_denied"].inc()
            metrics.access_denied.inc()
            logger.warning(
                "origin denied access to an object; it may be missing, or the credentials may "
                "lack s3:GetObject",
                extra={"key": key, "origin_status": status},
            )
        else:
            metrics.origin_requests["not_found"].inc()
        return Absence(head, meaning.status)

    async def _locate(self) -> Location:
        async with self._locating:
            if self._location is None:
                region: str | None = self._configured_region
                endpoint = self._storage.endpoint_url
                if region == "auto":
                    region = region_of_host(endpoint)
                if region is None:
                    region = await in_thread(ask_region, self._storage)
                self._location = locate(
                    endpoint,
                    self._storage.bucket_name,
                    self._storage.addressing_style,
                    region or DEFAULT_REGION,
                )
        return self._location

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ttl_dns_cache=30),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._timeout),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER_BYTES,
                skip_auto_headers=("User-Agent",),
                requote_redirect_url=False,
                raise_for_status=False,
                trace_configs=[trace],
            )
            # aiohttp would repeat a request by itself, also on a new connection: beyond
            # S3_RETRIES, and unseen.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session


def _reason(error: aiohttp.ClientError | OSError) -> str:
    """Why there is no connection, in the words of the operating system where it has any."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    return os.strerror(number) if number else type(error).__name__


def _is_a_part(head: OriginHead, ask: Ask) -> bool:
    """Is it the part asked for?

    Raises PreconditionChangedError where it is, but of another representation.
    """
    received = parse_content_range(head.get(b"content-range") or "")
    if received is None or ask.part is None or received[:2] != (ask.part.first, ask.part.last):
        return False
    etag = head.get(b"etag")
    if received[2] not in (None, ask.length_of_whole) or etag != ask.etag_of_whole:
        raise PreconditionChangedError
    return True
