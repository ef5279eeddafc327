"""The gateway under test, on a clock that the test holds, in front of any endpoint."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

from botocore.credentials import Credentials

from proxy.cache.backend import MemoryCache
from proxy.cache.leases import Leases
from proxy.cache.purge_log import PurgeLog
from proxy.core.cache_key import object_key
from proxy.core.freshness import Policy
from proxy.core.messages import Request
from proxy.gateway import Gateway
from proxy.origin.errors import OriginError
from proxy.origin.s3 import S3Origin
from proxy.origin.signing import CredentialSource, FixedCredentials
from proxy.purge import Purge
from proxy.store import Store
from proxy.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from storages.backends.s3 import S3Storage

    from proxy.answer import Answer
    from proxy.core.cache_status import Handling

KEYS = FixedCredentials(Credentials("scripted-access-key", "scripted-secret-key"))
MINUTE, HOUR = 60.0, 3600.0


class Clock:
    """Seconds since the epoch, which pass when the test says so."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Bucket:
    """What S3Origin reads of a storage."""

    endpoint_url: str
    bucket_name: str = "bucket"
    addressing_style: str = "path"


def s3_origin(
    storage: Any,
    credentials: CredentialSource = KEYS,
    *,
    region: str = "us-east-1",
    timeout: float = 5.0,
    retries: int = 2,
    max_concurrency: int = 256,
    clock: Clock | None = None,
) -> S3Origin:
    """The S3 client on a storage, or on something that looks like one."""
    return S3Origin(
        cast("S3Storage", storage),
        credentials,
        region=region,
        timeout=timeout,
        retries=retries,
        max_concurrency=max_concurrency,
        clock=clock or Clock(),
    )


def store_on(cache: MemoryCache) -> Store:
    """A store with a purge log of its own."""
    return Store(cache, PurgeLog())


def gateway_on(store: Store, s3: Any, policy: Policy, clock: Clock) -> Gateway:
    """A gateway on an S3 client, or on something that acts like one."""
    turns = Turns(Leases(), store, seconds=5.0)
    return Gateway(store, turns, cast("S3Origin", s3), policy, clock)


@dataclass
class Reply:
    """What a client got; ``error`` is what broke the body off."""

    status: int
    headers: dict[str, str]
    body: bytes
    handling: Handling | None
    error: OriginError | None = None

    @property
    def cache(self) -> str:
        """The X-Cache field."""
        return self.headers["x-cache"]

    @property
    def cache_status(self) -> list[str]:
        """The parameters in Cache-Status."""
        return self.headers["cache-status"].split("; ")[1:]


async def reply_of(answer: Answer) -> Reply:
    """Read an answer to its end."""
    reader = ReplyReader(answer)
    await reader.rest()
    return reader.reply


class ReplyReader:
    """Reads an answer as far as the test wants."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        fields: dict[str, str] = {}
        for name, value in answer.head.fields:
            text = name.decode()
            assert text not in fields, f"two {text} fields"
            fields[text] = value.decode("latin-1")
        self.reply = Reply(answer.head.status, fields, b"", answer.handling)
        self._chunks: AsyncIterator[bytes] | None = None
        if isinstance(answer.body, bytes):
            self.reply.body = answer.body
        else:
            self._chunks = answer.body.__aiter__()

    async def read(self, count: int) -> bytes:
        """Read until there are ``count`` bytes or the end; all there are so far."""
        while self._chunks is not None and len(self.reply.body) < count:
            try:
                self.reply.body += await asyncio.wait_for(anext(self._chunks), 10)
            except StopAsyncIteration:
                break
            except OriginError as error:
                self.reply.error = error
                break
        return self.reply.body

    async def rest(self) -> Reply:
        """Read to the end."""
        if self._chunks is not None:
            parts = [self.reply.body]
            try:
                async with asyncio.timeout(20):
                    async for chunk in self._chunks:
                        parts.append(chunk)  # noqa: PERF401 - what came before an error counts
            except OriginError as error:
                self.reply.error = error
            self.reply.body = b"".join(parts)
        self.close()
        return self.reply

    def close(self) -> None:
        """Go away."""
        self._answer.close()


@dataclass
class Proxy:
    """A gateway with what it is made of."""

    endpoint: str
    bucket: str = "bucket"
    credentials: CredentialSource = KEYS
    ttl: float = 5 * MINUTE
    swr: float = 2 * MINUTE
    sie: float = HOUR
    negative_ttl: float = 5.0
    max_object_size: int = 16 * 1024 * 1024
    timeout: float = 5.0
    retries: int = 2
    max_concurrency: int = 256
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        location = f"test-{uuid.uuid4().hex}"
        self.cache = MemoryCache(location, {"OPTIONS": {"CLOCK": self.clock}})
        self.store = store_on(self.cache)
        self.s3 = s3_origin(
            Bucket(self.endpoint, self.bucket),
            self.credentials,
            timeout=self.timeout,
            retries=self.retries,
            max_concurrency=self.max_concurrency,
            clock=self.clock,
        )
        policy = Policy(self.ttl, self.swr, self.sie, self.negative_ttl, self.max_object_size)
        self.gateway = gateway_on(self.store, self.s3, policy, self.clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.aclose()

    async def answer(self, key: str, *lines: str, method: str = "GET") -> Answer:
        """Ask for a key with header lines such as "Range: bytes=0-4"."""
        pairs = (line.partition(":") for line in lines)
        fields = [(n.lower().encode(), v.strip().encode("latin-1")) for n, _, v in pairs]
        return await self.gateway.answer(Request.from_fields(method, key, fields))

    async def get(self, key: str, *lines: str, method: str = "GET") -> Reply:
        """The whole reply."""
        return await reply_of(await self.answer(key, *lines, method=method))

    async def get_path(self, path: bytes) -> Reply:
        """The reply to a request target's path."""
        return await self.get(object_key(path))

    async def open(self, key: str, *lines: str, method: str = "GET") -> ReplyReader:
        """A reply whose body the test reads itself; to be closed."""
        return ReplyReader(await self.answer(key, *lines, method=method))

    def begin(self, key: str, *lines: str, method: str = "GET") -> asyncio.Task[Reply]:
        """A request that goes on while the test does something else."""
        return asyncio.create_task(self.get(key, *lines, method=method))

    async def purge(self, *keys: str, soft: bool = False) -> int:
        """Purge some keys."""
        return await self.gateway.purge(Purge(keys=frozenset(keys), soft=soft))

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until something is so in this process; AssertionError if it does not get so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not condition():
            assert loop.time() < end, "not in time"
            await asyncio.sleep(0.002)

    async def idle(self) -> None:
        """Wait until nothing is being fetched any more."""
        await self.until(lambda: self.gateway._fetcher.is_idle)
