"""An honest S3 of many versions, whose faults are switched on and off."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import time
from collections import Counter, defaultdict
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from tests.origins.ports import free_ports

if TYPE_CHECKING:
    import random

    from tests.soak.objects import Bucket, History, Version
    from tests.soak.troubles import Troubles

BUCKET_NAME = "bucket"
_PIECE_BYTES = 256 * 1024
_ASKER = re.compile(r"Credential=([^/]+)/")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_MISSING = b"<Error><Code>NoSuchKey</Code></Error>"
_BUSY = b"<Error><Code>SlowDown</Code></Error>"


class Fault(enum.Enum):
    """What an origin may do to a request."""

    BUSY = "503 SlowDown"
    BROKEN = "500 InternalError"
    CUT = "cut within the body"
    DROPPED = "closed without an answer"
    SILENT = "no answer at all"
    SLOW = "late but right"


class SoakOrigin:
    """Serves a bucket's current versions on 127.0.0.1 from the running event loop.

    While `fault` is set, one request in two suffers it; each is told to `troubles`, except for
    SLOW, which excuses nothing.
    """

    def __init__(self, bucket: Bucket, troubles: Troubles, rng: random.Random) -> None:
        self.bucket = bucket
        self.port = free_ports(1)[0]
        self.fault: Fault | None = None
        # By access key, then by what was sent: 200, 206, 304, 404 that nothing went wrong with,
        # else the fault's name; "broken off" are those of them that may not have arrived.
        self.sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._busy: Counter[str] = Counter()
        self._troubles = troubles
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def environ(self, access_key: str) -> dict[str, str]:
        """The proxy's variables that point it here, by an access key of its own."""
        return {
            "S3_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "S3_BUCKET": BUCKET_NAME,
            "S3_ACCESS_KEY": access_key,
            "S3_SECRET_KEY": "test-secret-key",
            "S3_REGION": "us-east-1",
        }

    @property
    def busy(self) -> int:
        """How many requests are being answered."""
        return self._busy.total()

    async def open(self) -> None:
        """Listen; a no-op if it does."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Refuse connections and end those there are, until `open`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        # What was written to them may have been received or not.
        for access_key, count in self._busy.items():
            self.sent[access_key]["broken off"] += count
        self.drop_connections()
        await asyncio.sleep(0)

    def drop_connections(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await reader.readuntil(b"\r\n\r\n")
        line, *lines = request.decode("latin-1").split("\r\n")
        target = line.split(" ")[1]
        fields = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }
        history = self.bucket.histories.get(unquote(target.removeprefix(f"/{BUCKET_NAME}/")))
        asker = _ASKER.search(fields.get("authorization", ""))
        if history is None or asker is None:
            return False
        sent = self.sent[asker[1]]
        version = history.current
        fault = self.fault if self.fault and self._rng.random() < 0.5 else None
        began = time.monotonic()
        history.begin_giving(version, began)
        self._busy[asker[1]] += 1
        trouble = None
        if fault not in (None, Fault.SLOW):
            trouble = self._troubles.begin(history.key, began)
        try:
            if fault is Fault.SILENT:
                sent[fault.value] += 1
                # Until the proxy has had enough of it.
                await reader.read(1)
                return False
            return await self._answer(version, history, fields, fault, writer, sent)
        except ConnectionError:
            sent["broken off"] += 1
            raise
        finally:
            self._busy[asker[1]] -= 1
            ended = time.monotonic()
            history.end_giving(version, ended)
            if trouble is not None:
                trouble.end = ended

    async def _answer(
        self,
        version: Version,
        history: History,
        fields: dict[str, str],
        fault: Fault | None,
        writer: asyncio.StreamWriter,
        sent: Counter[str],
    ) -> bool:
        if fault is Fault.SLOW:
            await asyncio.sleep(self._rng.uniform(0.05, 0.8))
        elif fault in (Fault.BUSY, Fault.BROKEN):
            sent[fault.value] += 1
            line = b"503 Slow Down" if fault is Fault.BUSY else b"500 Internal Error"
            again = b"Retry-After: 1\r\n" if self._rng.random() < 0.5 else b""
            writer.write(
                b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (line, again, len(_BUSY), _BUSY)
            )
            await writer.drain()
            return True
        elif fault is Fault.DROPPED:
            sent[fault.value] += 1
            return False
        if writer.transport.is_closing():
            raise ConnectionResetError
        status, head, first, stop = _head(version, history, fields)
        body_bytes = stop - first
        if fault is Fault.CUT and body_bytes:
            sent[f"{fault.value} {status}"] += 1
            stop = first + body_bytes // 2
        else:
            sent[str(status)] += 1
        writer.write(head)
        if status == 404:
            writer.write(_MISSING)
        for at in range(first, stop, _PIECE_BYTES):
            if writer.transport.is_closing():
                raise ConnectionResetError
            writer.write(version.body(at, min(at + _PIECE_BYTES, stop)))
            await writer.drain()
        await writer.drain()
        if fault is Fault.CUT and body_bytes:
            # Let what was sent arrive: an abort at once would take it back.
            await asyncio.sleep(0.02)
            return False
        return True


def _head(
    version: Version, history: History, fields: dict[str, str]
) -> tuple[int, bytes, int, int]:
    """(status, encoded head, first, stop) of the answer to a conditional or partial request."""
    lines = [f"Date: {formatdate(usegmt=True)}"]
    if version.size is None:
        lines.append(f"Content-Length: {len(_MISSING)}")
        return 404, _encoded("404 Not Found", lines), 0, 0
    lines += [
        f"ETag: {version.etag}",
        f"x-amz-meta-version: {version.number}",
        f"x-amz-meta-key: {quote(version.key)}",
        "Content-Type: application/octet-stream",
        "Accept-Ranges: bytes",
    ]
    if history.kind.cache_control is not None:
        lines.append(f"Cache-Control: {history.kind.cache_control}")
    if fields.get("if-none-match") == version.etag:
        return 304, _encoded("304 Not Modified", lines), 0, 0
    if fields.get("if-match", version.etag) != version.etag:
        lines.append("Content-Length: 0")
        return 412, _encoded("412 Precondition Failed", lines), 0, 0
    part = _RANGE.fullmatch(fields.get("range", ""))
    if part is None:
        lines.append(f"Content-Length: {version.size}")
        return 200, _encoded("200 OK", lines), 0, version.size
    first, stop = int(part[1]), min(int(part[2]) + 1, version.size)
    lines.append(f"Content-Range: bytes {first}-{stop - 1}/{version.size}")
    lines.append(f"Content-Length: {stop - first}")
    return 206, _encoded("206 Partial Content", lines), first, stop


def _encoded(status: str, lines: list[str]) -> bytes:
    return ("\r\n".join([f"HTTP/1.1 {status}", *lines]) + "\r\n\r\n").encode("latin-1")
