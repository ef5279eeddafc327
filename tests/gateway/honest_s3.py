"""A model of an S3 bucket that answers as asked, with everything that was ever in it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.storability import OriginHead
from proxy.origin.errors import Failure, OriginError, PreconditionChangedError
from proxy.origin.exchange import WHOLE, Absence, Ask, OriginAnswer
from proxy.origin.s3 import S3Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_PIECE = 16


@dataclass(eq=False)
class Version:
    """What was under a key from one tick to another; ``body`` is None for nothing."""

    number: int
    body: bytes | None
    from_tick: int
    until_tick: float = math.inf
    until_time: float = math.inf

    @property
    def etag(self) -> str:
        return f'"v{self.number}"'


class ModelAnswer(OriginAnswer):
    """A response of the model."""

    def __init__(self, head: OriginHead, body: bytes, s3: HonestS3) -> None:
        self.head = head
        self._body = body
        self._s3 = s3

    @property
    def is_received(self) -> bool:
        return False

    @property
    def length(self) -> int:
        return len(self._body)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _PIECE):
            await self._s3.gate.wait()
            yield self._body[start : start + _PIECE]
            if self._s3.breaks:
                raise OriginError(Failure.BROKEN_BODY, "as told")

    def close(self) -> None:
        pass


class HonestS3(S3Origin):
    """S3Origin's interface on a dictionary.

    Reads an object when it is asked, and answers when the gate is open. ``ticks`` orders all
    that happens, ``clock`` says the time.
    """

    def __init__(self, clock: Callable[[], float], keys: tuple[str, ...]) -> None:
        self._now = clock
        self.tick = 0
        self.history = {key: [Version(0, None, 0)] for key in keys}
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False
        self.breaks = False
        # The ticks at which the exchanges under way read their object, by key.
        self.reading: dict[str, list[int]] = {key: [] for key in keys}
        self._versions = 0

    def put(self, key: str, size: int | None) -> None:
        """Write an object of ``size`` bytes, or delete it."""
        self.tick += 1
        self._versions += 1
        last = self.history[key][-1]
        last.until_tick, last.until_time = self.tick, self._now()
        # No two versions have four bytes in a row in common.
        body = None if size is None else (f"{self._versions:04d}".encode() * size)[:size]
        self.history[key].append(Version(self._versions, body, self.tick))

    async def aclose(self) -> None:
        pass

    async def get(
        self,
        key: str,
        ask: Ask = WHOLE,
        *,
        wanted: Callable[[], bool] = bool,
        goes_on: bool = False,
    ) -> OriginAnswer | Absence:
        self.tick += 1
        version, read_at, asked_at = self.history[key][-1], self.tick, self._now()
        self.reading[key].append(read_at)
        try:
            await self.gate.wait()
        finally:
            self.reading[key].remove(read_at)
        if self.fails:
            raise OriginError(Failure.SERVER_ERROR, "as told", origin_status=502)
        return self._answer(version, ask, asked_at)

    def _answer(self, version: Version, ask: Ask, asked_at: float) -> OriginAnswer | Absence:
        def head(status: int, *fields: tuple[bytes, bytes]) -> OriginHead:
            return OriginHead(status, fields, asked_at, self._now())

        if version.body is None:
            return Absence(head(404), 404)
        etag = (b"etag", version.etag.encode())
        if ask.etag == version.etag:
            return ModelAnswer(head(304, etag), b"", self)
        if ask.part is None:
            return ModelAnswer(head(200, etag), version.body, self)
        if ask.etag_of_whole != version.etag:
            raise PreconditionChangedError
        part = version.body[ask.part.first : ask.part.last + 1]
        return ModelAnswer(head(206, etag), part, self)
