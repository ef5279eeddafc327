"""A gateway whose objects are in memory, before an origin that is asked without a network."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from proxy import service
from proxy.cache.backend import MemoryCache
from proxy.core import storability
from proxy.core.freshness import Policy
from proxy.core.http_date import format_http_date
from proxy.core.storability import OriginHead
from proxy.gateway import Gateway
from proxy.origin.exchange import WHOLE, Absence, Ask, OriginAnswer
from tests.gateway.subject import Clock, store_on

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from proxy.origin.s3 import S3Origin

_HOUR = 3600.0
_POLICY = Policy(
    ttl=_HOUR, stale_while_revalidate=0, stale_if_error=0, negative_ttl=0, max_object_size=2**20
)
# What is stored is so old when a conversation begins.
_AGE_SECONDS = 1.25


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    fields: tuple[tuple[bytes, bytes], ...] = ()
    status: int = 200


# Named as the grammar's targets are. One is longer than what is sent joined to its head.
OBJECTS = {
    "a": _Object(b"hello", ((b"content-type", b"text/plain"), (b"etag", b'"x"'))),
    "b": _Object(b"", ((b"last-modified", b"Thu, 01 Jan 1970 00:00:00 GMT"),)),
    "c": _Object(b"", ((b"cache-control", b"max-age=3600"),), 404),
    "d": _Object(bytes(range(256)) * 80, ((b"etag", b'W/"x"'), (b"x-amz-meta-a", b"\xff"))),
    "e": _Object(b"validated", ((b"cache-control", b"no-cache"), (b"etag", b'"x"'))),
    "f": _Object(b"varied", ((b"vary", b"accept, te"),)),
}


class _Origin:
    """Has the objects, and knows how often it was asked for one of them."""

    def __init__(self, clock: Clock) -> None:
        self.asked = 0
        self._clock = clock

    async def get(self, key: str, ask: Ask = WHOLE, **_: object) -> OriginAnswer | Absence:
        found = OBJECTS.get(key)
        self.asked += found is not None
        if found is None or found.status != 200:
            return Absence(_head(_Object(b"", (), 404), self._clock.now), 404)
        return cast("OriginAnswer", _Whole(found, self._clock.now))

    async def aclose(self) -> None:
        """Nothing is open."""


class _Whole:
    """As an OriginAnswer that has come with all of its body."""

    is_received = True

    def __init__(self, found: _Object, now: float) -> None:
        self.head = _head(found, now)
        self.length = len(found.body)
        self._body = found.body

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    def close(self) -> None:
        """Nothing is open."""


class Bucket:
    """Stands in for the gateway of an event loop, on a clock of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = Clock()
        self._origin = _Origin(self.clock)
        cache = MemoryCache(f"fuzz-{uuid.uuid4().hex}", {"OPTIONS": {"CLOCK": self.clock}})
        self._store = store_on(cache)
        origin = cast("S3Origin", cast("Any", self._origin))
        gateway = Gateway(self._store, None, origin, _POLICY, self.clock)
        service._gateways[loop] = gateway
        self._asked = -1
        self._stored_at = 0.0

    def settle(self) -> bool:
        """Have in memory what there was at first; did anything have to be done for it?

        Where nothing has changed it stays as it is, with what was remembered of it.
        """
        now = self.clock.now
        if self._origin.asked == self._asked and now - self._stored_at < _HOUR / 2:
            return False
        self._asked, self._stored_at = self._origin.asked, now
        for key, found in OBJECTS.items():
            head = _head(found, now - _AGE_SECONDS)
            assessed = storability.assess(
                head, _POLICY, length=len(found.body), status=found.status
            )
            whole = storability.with_body(assessed.response, found.body)
            assert assessed.storable
            assert self._store.put(key, whole, now)
        return True


def _head(found: _Object, now: float) -> OriginHead:
    date = (b"date", format_http_date(now).encode("ascii"))
    return OriginHead(found.status, (date, *found.fields), now, now)
