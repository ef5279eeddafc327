"""The one client that talks to S3 for objects."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from functools import partial
from typing import TYPE_CHECKING

from proxy import metrics
from proxy.core.ranges import parse_content_range
from proxy.core.storability import OriginHead
from proxy.origin import impostors
from proxy.origin.admission import Admission, Place
from proxy.origin.blocking import Shared
from proxy.origin.connections import Connections, Trip
from proxy.origin.dialing import tls_context
from proxy.origin.errors import (
    OUTDATED_KEYS,
    Failure,
    OriginError,
    PreconditionChangedError,
    SaturatedError,
    classify,
    error_code,
)
from proxy.origin.exchange import EVERYTHING, WHOLE, Absence, Ask, Cut, OriginAnswer
from proxy.origin.faults import ConnectionFaultError, MalformedResponseError, SilenceError
from proxy.origin.location import DEFAULT_REGION, Location, ask_region, locate, region_of_host
from proxy.origin.report import report, report_refusal
from proxy.origin.request_head import request_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from storages.backends.s3 import S3Storage

    from proxy.origin.response import Response
    from proxy.origin.signing import CredentialSource

logger = logging.getLogger("s3proxy.origin")

_RETRIED = frozenset({500, 503})
_BACKOFF_SECONDS = 0.1
_ERROR_BODY_BYTES = 64 * 1024
_DEFAULT_CONCURRENCY = 256
# How much is read past to get at a part, from an origin that sends the whole instead.
_MOST_SKIPPED_BYTES = 16 * 1024 * 1024


def _always() -> bool:
    return True


class S3Origin:
    """GET requests for the objects of one bucket.

    ``timeout`` in seconds bounds connect and time to first byte, retries included, then the
    wait between two chunks; ``retries`` are extra attempts before the first byte. At most
    ``max_concurrency`` requests are under way at once; see Admission for the rest.
    """

    def __init__(
        self,
        storage: S3Storage,
        credentials: CredentialSource,
        *,
        region: str,
        timeout: float,
        retries: int,
        max_concurrency: int = _DEFAULT_CONCURRENCY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._credentials = credentials
        self._configured_region = region
        self._timeout = timeout
        self._retries = retries
        self._clock = clock
        self._location: Location | None = None
        self._region_asked = Shared(partial(ask_region, storage))
        self._connections = Connections(max_concurrency, timeout)
        if storage.endpoint_url.startswith("https:"):
            # Not when the first request waits for it.
            tls_context()
        self.admission = Admission(max_concurrency, timeout)

    async def aclose(self) -> None:
        """Close every connection."""
        self._region_asked.close()
        self._credentials.close()
        await self._connections.aclose()

    async def get(
        self,
        key: str,
        ask: Ask = WHOLE,
        *,
        wanted: Callable[[], bool] = _always,
        goes_on: bool = False,
    ) -> OriginAnswer | Absence:
        """Ask for an object, or whether it changed, or for a part of it.

        ``wanted`` says whether anybody still waits for it; ``goes_on``: it is the rest of a
        response that has begun. Raises OriginError; PreconditionChangedError where the part
        cannot be had, though the whole may.
        """
        try:
            place = await self.admission.enter(wanted, goes_on=goes_on)
        except SaturatedError as exc:
            report_refusal(exc, key)
            raise
        try:
            answer = await self._get(key, ask, place)
        except BaseException:
            place.release()
            raise
        if isinstance(answer, Absence):
            place.release()
        return answer

    async def _get(self, key: str, ask: Ask, place: Place) -> OriginAnswer | Absence:
        deadline = time.monotonic() + self._timeout
        attempt = 0
        keys_renewed = False
        while True:
            trip = Trip()
            try:
                return await self._attempt(key, ask, deadline, trip, place)
            except OriginError as exc:
                if (
                    exc.code in OUTDATED_KEYS
                    and not keys_renewed
                    and self._credentials.rejected(trip.keys)
                ):
                    keys_renewed = True
                    continue
                if exc.failure is Failure.CONNECT and trip.reused and time.monotonic() < deadline:
                    # RFC 9112 §9.3.1: closed while it was idle; that says nothing of the origin.
                    continue
                # Who was told how long to wait passes that on, and does not wait with others.
                again = exc.failure is Failure.CONNECT or (
                    exc.origin_status in _RETRIED and not exc.told_to_wait
                )
                pause = random.uniform(0, _BACKOFF_SECONDS * 2**attempt)  # noqa: S311 - jitter
                if not again or attempt >= self._retries or time.monotonic() + pause >= deadline:
                    report(exc, key)
                    raise
            attempt += 1
            metrics.origin_retries.inc()
            await asyncio.sleep(pause)

    async def _attempt(
        self, key: str, ask: Ask, deadline: float, trip: Trip, place: Place
    ) -> OriginAnswer | Absence:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._exchange(key, ask, trip, place)
        except (TimeoutError, SilenceError) as exc:
            raise OriginError(Failure.TIMEOUT, f"no answer within {self._timeout:g} s") from exc
        except MalformedResponseError as exc:
            raise OriginError(Failure.UNEXPECTED, f"not HTTP as it should be: {exc}") from exc
        except ConnectionFaultError as exc:
            self._connections.forget_addresses()
            raise OriginError(
                Failure.CONNECT,
                f"no connection to {self._storage.endpoint_url} ({exc}); look at S3_ENDPOINT",
                variable="S3_ENDPOINT",
            ) from exc

    async def _exchange(
        self, key: str, ask: Ask, trip: Trip, place: Place
    ) -> OriginAnswer | Absence:
        trip.keys = await self._credentials.current()
        location = self._location or await self._locate()
        asked = request_head(location, key, ask, trip.keys)
        request_time = self._clock()
        started = time.perf_counter()
        response = await self._connections.get(location.endpoint, asked, trip)
        metrics.origin_latency.observe(time.perf_counter() - started)
        head = OriginHead(response.status, tuple(response.fields), request_time, self._clock())
        try:
            return await self._read(response, head, key, ask, place)
        except BaseException:
            response.close()
            raise

    async def _read(
        self, response: Response, head: OriginHead, key: str, ask: Ask, place: Place
    ) -> OriginAnswer | Absence:
        status = response.status
        cut: Cut | None = None
        begun = b""
        if status == 200:
            if impostors.is_markup(head):
                begun = await self._refuse_impostor(response, head)
            cut = EVERYTHING if ask.part is None else _cut_of_whole(head, ask, response)
        elif status == 206:
            cut = _cut_of_part(head, ask)
        if cut is not None:
            metrics.origin_requests["ok"].inc()
            return OriginAnswer(response, head, key, place, cut=cut, begun=begun)
        if status == 304 and ask.conditional:
            metrics.origin_requests["not_modified"].inc()
            return OriginAnswer(response, head, key, place)
        if status in (412, 416) and ask.part is not None:
            raise PreconditionChangedError
        if status in (206, 304):
            raise OriginError(
                Failure.UNEXPECTED,
                f"{status} that was not asked for; look at S3_ENDPOINT",
                origin_status=status,
                variable="S3_ENDPOINT",
            )
        body = await _beginning(response, _ERROR_BODY_BYTES)
        meaning = classify(
            status,
            error_code(body),
            head.get(b"retry-after"),
            self._credentials.variable,
            foreign=impostors.is_foreign_page(head),
        )
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

    async def _refuse_impostor(self, response: Response, head: OriginHead) -> bytes:
        """What had to be read of the body to see that it is an object's; raises OriginError."""
        if impostors.is_foreign_page(head):
            raise OriginError(
                Failure.UNEXPECTED,
                "an HTML page without a trace of S3, from a portal on the way or another server; "
                "look at S3_ENDPOINT",
                origin_status=head.status,
                variable="S3_ENDPOINT",
            )
        if not impostors.may_be_error_document(head):
            return b""
        begun = await _beginning(response, impostors.ERROR_PREFIX_BYTES)
        if impostors.is_error_document(begun):
            begun += await _beginning(response, _ERROR_BODY_BYTES)
            code = error_code(begun)
            error = classify(502, code, keys_from=self._credentials.variable)
            if code is not None and isinstance(error, OriginError):
                error.origin_status = head.status
                raise error
        metrics.origin_bytes.inc(len(begun))
        return bytes(begun)

    async def _locate(self) -> Location:
        region: str | None = self._configured_region
        endpoint = self._storage.endpoint_url
        if region == "auto":
            region = region_of_host(endpoint)
        if region is None:
            region = await self._region_asked.result()
        self._location = locate(
            endpoint,
            self._storage.bucket_name,
            self._storage.addressing_style,
            region or DEFAULT_REGION,
        )
        return self._location


async def _beginning(response: Response, count: int) -> bytearray:
    """At least the next ``count`` bytes of a body, or all that is left of it."""
    begun = bytearray()
    while len(begun) < count and (piece := await response.read()):
        begun += piece
    return begun


def _cut_of_part(head: OriginHead, ask: Ask) -> Cut | None:
    """The cut of a 206; None where it is not the part asked for.

    Raises PreconditionChangedError where it is, but of another representation.
    """
    received = parse_content_range(head.get(b"content-range") or "")
    if received is None or ask.part is None or received[:2] != (ask.part.first, ask.part.last):
        return None
    if received[2] not in (None, ask.length_of_whole) or head.get(b"etag") != ask.etag_of_whole:
        raise PreconditionChangedError
    return Cut(take=ask.part.length)


def _cut_of_whole(head: OriginHead, ask: Ask, response: Response) -> Cut:
    """Where the part lies in a 200: a server may ignore Range (RFC 9110 §14.2).

    Raises PreconditionChangedError where it lies too far in, or it is another representation.
    """
    assert ask.part is not None
    length = response.content_length
    if (
        head.get(b"etag") != ask.etag_of_whole
        or length not in (None, ask.length_of_whole)
        or ask.part.first > _MOST_SKIPPED_BYTES
    ):
        raise PreconditionChangedError
    end = ask.part.last + 1
    return Cut(ask.part.first, ask.part.length, rest_follows=end != ask.length_of_whole)
