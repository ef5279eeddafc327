"""The one client that talks to S3 for objects."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from proxy import metrics
from proxy.core.http_date import format_http_date
from proxy.core.ranges import ByteRange, parse_content_range
from proxy.core.storability import OriginHead
from proxy.origin.errors import (
    Failure,
    OriginError,
    PreconditionChangedError,
    classify,
    error_code,
)
from proxy.origin.location import DEFAULT_REGION, Location, ask_region, locate, region_of_host
from proxy.origin.signing import CredentialSource, signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from storages.backends.s3 import S3Storage

logger = logging.getLogger("s3proxy.origin")

_RETRIED = frozenset({500, 503})
_BACKOFF_SECONDS = 0.1
_ERROR_BODY_BYTES = 64 * 1024
_READ_BUFFER_BYTES = 256 * 1024
_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask the origin for beyond the key.

    ``etag`` and ``last_modified`` (seconds since the epoch) make the request conditional;
    ``part`` asks for a slice of the representation with that entity tag and length (bytes).
    """

    etag: str | None = None
    last_modified: float | None = None
    part: ByteRange | None = None
    etag_of_whole: str | None = None
    length_of_whole: int | None = None

    @property
    def conditional(self) -> bool:
        """May the answer be a 304?"""
        return self.etag is not None or self.last_modified is not None

    def headers(self) -> dict[str, str]:
        """The request's header fields for it."""
        fields: dict[str, str] = {}
        if self.etag is not None:
            fields["If-None-Match"] = self.etag
        if self.last_modified is not None:
            fields["If-Modified-Since"] = format_http_date(self.last_modified)
        if self.part is not None:
            fields["Range"] = f"bytes={self.part.first}-{self.part.last}"
        # RFC 9110 §13.1.1: a weak entity tag never matches.
        if self.etag_of_whole is not None and not self.etag_of_whole.startswith("W/"):
            fields["If-Match"] = self.etag_of_whole
        return fields


WHOLE = Ask()


@dataclass(frozen=True, slots=True)
class Absence:
    """There is no such object: ``status`` is what the client gets, 404 or 410."""

    head: OriginHead
    status: int


class OriginAnswer:
    """A 200, 206 or 304 whose body is still to come. Whoever holds it must close it."""

    def __init__(self, response: aiohttp.ClientResponse, head: OriginHead, key: str) -> None:
        self._response = response
        self._key = key
        connection = response.connection
        self._protocol = None if connection is None else connection.protocol
        self.head = head

    @property
    def length(self) -> int | None:
        """The body's length in bytes as announced."""
        return self._response.content_length

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises OriginError where it breaks off, stalls or is not of the announced length.
        """
        try:
            async for chunk in self._response.content.iter_any():
                metrics.origin_bytes.inc(len(chunk))
                yield chunk
        except TimeoutError as exc:
            raise _broken("no more of the body in time", self._key, Failure.TIMEOUT) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise _broken(f"the body broke off ({type(exc).__name__})", self._key) from exc
        if self._protocol is not None and isinstance(
            self._protocol.exception(), HttpProcessingError
        ):
            # More came than Content-Length said: which of the two is wrong cannot be told.
            raise _broken("the body is longer than Content-Length", self._key)

    def close(self) -> None:
        """Let go of the connection: back to the pool if the body was read, else closed."""
        self._response.close()


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
            try:
                return await self._attempt(key, ask, deadline)
            except OriginError as exc:
                again = exc.failure is Failure.CONNECT or exc.origin_status in _RETRIED
                pause = random.uniform(0, _BACKOFF_SECONDS * 2**attempt)  # noqa: S311 - jitter
                if not again or attempt >= self._retries or time.monotonic() + pause >= deadline:
                    _report(exc, key)
                    raise
            attempt += 1
            metrics.origin_retries.inc()
            await asyncio.sleep(pause)

    async def _attempt(self, key: str, ask: Ask, deadline: float) -> OriginAnswer | Absence:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._exchange(key, ask)
        except TimeoutError as exc:
            raise OriginError(Failure.TIMEOUT, f"no answer within {self._timeout:g} s") from exc
        except aiohttp.ClientResponseError as exc:
            raise OriginError(
                Failure.UNEXPECTED, f"not HTTP as it should be: {exc.message}"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise OriginError(Failure.CONNECT, f"no connection ({type(exc).__name__})") from exc

    async def _exchange(self, key: str, ask: Ask) -> OriginAnswer | Absence:
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
            URL(url, encoded=True), headers=headers, allow_redirects=False
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
        body = await response.content.read(_ERROR_BODY_BYTES)
        meaning = classify(status, error_code(body), response.headers.get("Retry-After"))
        response.close()
        if isinstance(meaning, OriginError):
            raise meaning
        if meaning.denied:
            metrics.origin_requests["access_denied"].inc()
            metrics.access_denied.inc()
            logger.warning(
                "origin denied access to an object; it may be missing, or S3_ACCESS_KEY may lack "
                "s3:GetObject",
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
                    region = await asyncio.to_thread(ask_region, self._storage)
                self._location = locate(
                    endpoint,
                    self._storage.bucket_name,
                    self._storage.addressing_style,
                    region or DEFAULT_REGION,
                )
        return self._location

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ttl_dns_cache=30),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._timeout),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER_BYTES,
                skip_auto_headers=("User-Agent",),
                requote_redirect_url=False,
                raise_for_status=False,
            )
        return self._session


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


def _broken(message: str, key: str, failure: Failure = Failure.BROKEN_BODY) -> OriginError:
    error = OriginError(failure, message)
    _report(error, key)
    return error


def _report(error: OriginError, key: str) -> None:
    metrics.origin_requests["error"].inc()
    metrics.origin_errors[error.failure].inc()
    logger.error(
        "origin: %s",
        error,
        extra={
            "key": key,
            "reason": error.failure.value,
            "origin_status": error.origin_status,
            "code": error.code,
            "variable": error.variable,
        },
    )
