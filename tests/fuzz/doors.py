"""Sends the same bytes to both protocols, which must answer alike."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.server.fast_protocol import FastProtocol
from proxy.server.protocol import HttpProtocol
from tests.fuzz import grammar
from tests.fuzz.bucket import Bucket
from tests.fuzz.wire import Conversation, Wire, difference

if TYPE_CHECKING:
    import asyncio
    from random import Random

_BOUNDARY = re.compile(rb"multipart/byteranges; boundary=([0-9a-f]+)")


class Doors:
    """Both protocols in front of one bucket, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from s3proxy_site.asgi import application

        self.bucket = Bucket(loop)
        self.plain = Wire(HttpProtocol, application)
        self.fast = Wire(FastProtocol, application)

    async def difference(self, random: Random, sent: bytes) -> str | None:
        """How their answers to these bytes differ; None where they do not, as it must be.

        The fast one gets them whole; then twice head by head, so that it knows the heads the
        second time; then in pieces, or for a client that takes its time.
        """
        self.bucket.clock.advance(random.choice((0.0, 0.0, 0.3, 1.0)))
        expected = await self._converse(self.plain, [sent])
        if self.bucket.settle():
            # What was stored is younger now.
            expected = await self._converse(self.plain, [sent])
        heads = grammar.heads(sent)
        slowly = random.random() < 0.3
        for pieces in ([sent], heads, heads, grammar.cuts(random, sent)):
            got = await self._converse(
                self.fast, pieces, expected.asked, slowly=slowly and pieces is not heads
            )
            found = difference(expected, got)
            if found is not None:
                return f"sent as {pieces}:\n{found}"
        return None

    async def _converse(
        self,
        wire: Wire,
        pieces: list[bytes],
        methods: tuple[str, ...] | None = None,
        *,
        slowly: bool = False,
    ) -> Conversation:
        self.bucket.settle()
        said = await wire.converse(pieces, methods, slowly=slowly)
        answers = []
        for answer in said.answers:
            fields, body = answer.fields, answer.body
            # Each multipart body has a boundary of its own.
            found = [_BOUNDARY.fullmatch(value) for _, value in fields]
            for boundary in [each[1] for each in found if each is not None]:
                fields = tuple((name, value.replace(boundary, b"-")) for name, value in fields)
                body = body.replace(boundary, b"-")
            answers.append(replace(answer, fields=fields, body=body))
        return replace(said, answers=tuple(answers))
