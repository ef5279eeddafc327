"""A Django cache backend on Redis or Valkey for bytes and whole numbers alone.

    CACHES = {"shared": {"BACKEND": "proxy.fleet.cache.RedisCache", "LOCATION": "redis://host"}}

Django's own pickles whatever it is given, and unpickles whatever the server answers: who can write
to the server could run code here. This one refuses other types than bytes and int. Its ``a*``
methods talk to the server from the event loop, where Django's hop to a thread that all share.
Every wait is bounded by `guard.BOUND_SECONDS`, and nothing is tried twice.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.core.cache.backends.redis import RedisCacheClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.fleet.clients import client
from proxy.fleet.guard import BOUND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis

_NUMBER = re.compile(rb"-?[0-9]{1,20}")
_MARK = b"="


class BytesSerializer:
    """Writes numbers as the server counts them; marks bytes that would read as one."""

    def dumps(self, obj: object) -> Any:
        """Raises TypeError for anything but bytes and int."""
        if type(obj) is int:
            return obj
        if type(obj) is not bytes:
            raise TypeError(f"bytes or int can be stored, not {type(obj).__name__}")
        if obj.startswith(_MARK) or _NUMBER.fullmatch(obj):
            return _MARK + obj
        return obj

    def loads(self, data: object) -> Any:
        """Raises TypeError for what no server answers a GET with."""
        if type(data) is not bytes:
            raise TypeError(f"the server answered {type(data).__name__} instead of bytes")
        if data.startswith(_MARK):
            return data[len(_MARK) :]
        return int(data) if _NUMBER.fullmatch(data) else data


class _Client(RedisCacheClient):
    def incr(self, key: Any, delta: int) -> int:
        with self.get_client(key, write=True).pipeline(transaction=True) as pipe:
            pipe.exists(key)
            pipe.incrby(key, delta)
            existed, count = pipe.execute()
        if not existed:
            self.delete(key)
            raise ValueError(f"Key {key!r} not found.")
        return int(count)


# Django makes an instance for each thread and async context; connections are shared by all.
_sync_clients: dict[str, _Client] = {}
_sync_clients_lock = threading.Lock()


class RedisCache(DjangoRedisCache):
    """Raises redis.exceptions.RedisError, OSError, and TypeError for values it does not take."""

    def __init__(self, server: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._url = server if isinstance(server, str) else server[0]
        self._serializer = BytesSerializer()

    @property
    def _cache(self) -> _Client:
        with _sync_clients_lock:
            if self._url not in _sync_clients:
                _sync_clients[self._url] = _Client(
                    [self._url],
                    serializer=self._serializer,
                    socket_connect_timeout=BOUND_SECONDS,
                    socket_timeout=BOUND_SECONDS,
                    retry=Retry(NoBackoff(), 0),
                    protocol=2,
                )
            return _sync_clients[self._url]

    @property
    def _redis(self) -> Redis:
        return client(self._url)

    def _seconds(self, timeout: Any) -> int | None:
        seconds = self.get_backend_timeout(timeout)
        return None if seconds is None else int(seconds)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        found = await self._redis.get(self.make_and_validate_key(key, version=version))
        return default if found is None else self._serializer.loads(found)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        wanted = list(keys)
        if not wanted:
            return {}
        names = [self.make_and_validate_key(key, version=version) for key in wanted]
        values = await self._redis.mget(names)
        return {
            key: self._serializer.loads(value)
            for key, value in zip(wanted, values, strict=True)
            if value is not None
        }

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        name = self.make_and_validate_key(key, version=version)
        seconds = self._seconds(timeout)
        if seconds == 0:
            await self._redis.delete(name)
        else:
            await self._redis.set(name, self._serializer.dumps(value), ex=seconds)

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        for key, value in data.items():
            await self.aset(key, value, timeout, version)
        return []

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name = self.make_and_validate_key(key, version=version)
        seconds = self._seconds(timeout)
        # Stored for no time is stored not at all; the answer tells whether there was one.
        if seconds == 0:
            return not await self._redis.exists(name)
        return bool(await self._redis.set(name, self._serializer.dumps(value), ex=seconds, nx=True))

    async def atouch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name = self.make_and_validate_key(key, version=version)
        seconds = self._seconds(timeout)
        if seconds is None:
            # PERSIST says no where there was no timeout to take away.
            await self._redis.persist(name)
            return bool(await self._redis.exists(name))
        return bool(await self._redis.expire(name, seconds))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return bool(await self._redis.delete(self.make_and_validate_key(key, version=version)))

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        names = [self.make_and_validate_key(key, version=version) for key in keys]
        if names:
            await self._redis.delete(*names)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return bool(await self._redis.exists(self.make_and_validate_key(key, version=version)))

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        name = self.make_and_validate_key(key, version=version)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.exists(name)
            pipe.incrby(name, delta)
            existed, count = await pipe.execute()
        if not existed:
            # A counter that INCRBY has made would stay for ever.
            await self._redis.delete(name)
            raise ValueError(f"Key {key!r} not found")
        return int(count)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await self.aincr(key, -delta, version)
