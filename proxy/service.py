"""The gateway as configured, one for each event loop."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from botocore.credentials import Credentials
from django.core.cache import caches
from django.core.files.storage import storages

from proxy import conf, processes
from proxy.absences import Absences
from proxy.cache.backend import MemoryCache
from proxy.cache.leases import Leases
from proxy.cache.purge_log import PurgeLog
from proxy.core.freshness import Policy
from proxy.fleet.link import Link
from proxy.fleet.service import close_fleet, open_fleet
from proxy.fleet.shared_position import SharedPosition
from proxy.gateway import Gateway
from proxy.origin.s3 import S3Origin
from proxy.origin.signing import ChainCredentials, CredentialSource, FixedCredentials
from proxy.store import Store
from proxy.turns import Turns

if TYPE_CHECKING:
    from storages.backends.s3 import S3Storage

    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge
    from s3proxy_site.env import Config

# Of so many responses that may be stored, one may be an absence.
_RESPONSES_AN_ABSENCE = 8

# Connections belong to the loop that opened them; a server has one loop, tests have many.
_gateways: WeakKeyDictionary[asyncio.AbstractEventLoop, Gateway] = WeakKeyDictionary()


def gateway() -> Gateway:
    """The running loop's gateway; raises ImproperlyConfigured."""
    loop = asyncio.get_running_loop()
    found = _gateways.get(loop)
    if found is None:
        found = _gateways[loop] = build_gateway(conf.config())
    return found


async def close_gateway() -> None:
    """Close the running loop's gateway, if there is one."""
    found = _gateways.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.aclose()
    await close_fleet()


def build_gateway(config: Config) -> Gateway:
    """A gateway on Django's default cache and default storage."""
    storage = cast("S3Storage", storages["default"])
    origin = S3Origin(
        storage,
        _credentials(config, storage),
        region=config.s3_region,
        timeout=config.request_timeout,
        retries=config.s3_retries,
        max_concurrency=_own_share(config.s3_max_concurrency, config),
    )
    stored = store()
    return Gateway(
        stored,
        _turns(config, stored),
        origin,
        policy_of(config),
        nosniff=config.nosniff,
        link=_link(config, stored),
    )


def _turns(config: Config, stored: Store) -> Turns | None:
    """What keeps the server's processes from asking for the same; None where there is one."""
    if config.web_concurrency == 1 or not processes.index():
        return None
    return Turns(_leases(), stored, seconds=config.request_timeout)


def _link(config: Config, stored: Store) -> Link | None:
    """What connects the running loop with the other replicas; None where there are none."""
    position = _position()

    def apply(purge: Purge, _at: StreamId) -> None:
        stored.purge_at_once(purge, time.time())

    fleet = open_fleet(config, apply=apply, mistrust=stored.mistrust, position=position)
    return None if fleet is None else Link(fleet, position)


def _own_share(of_server: int, config: Config) -> int:
    """What one worker may use of something that is the server's."""
    workers = config.web_concurrency if processes.index() else 1
    return max(1, of_server // workers)


def store() -> Store:
    """The stored responses of this server."""
    config = conf.config()
    most = _own_share(config.cache_capacity // _RESPONSES_AN_ABSENCE, config)
    return Store(cast("MemoryCache", caches["default"]), _purge_log(), _absences(most))


def _share(_highest_index: int) -> None:
    """Make what the processes of a server share, before they part."""
    _shared_caches()
    _purge_log()
    _leases()
    _position()


def _forget_process(index: int) -> None:
    """Give back what a process that has died held."""
    for cache in _shared_caches():
        cache.forget_process(index)
    _leases().forget_process(index)
    _position().forget_process(index)


processes.before_fork.append(_share)
processes.on_death.append(_forget_process)


def _shared_caches() -> list[MemoryCache]:
    opened = [caches[alias] for alias in caches.settings]
    return [cache for cache in opened if isinstance(cache, MemoryCache)]


@functools.cache
def _position() -> SharedPosition:
    return SharedPosition()


@functools.cache
def _purge_log() -> PurgeLog:
    return PurgeLog()


@functools.cache
def _absences(most: int) -> Absences:
    return Absences(most)


@functools.cache
def _leases() -> Leases:
    return Leases()


def policy_of(config: Config) -> Policy:
    """The part of the configuration that caching decisions take."""
    return Policy(
        ttl=config.cache_ttl,
        stale_while_revalidate=config.cache_stale_ttl,
        stale_if_error=config.cache_stale_if_error,
        negative_ttl=config.cache_negative_ttl,
        max_object_size=config.max_object_size,
    )


def _credentials(config: Config, storage: S3Storage) -> CredentialSource:
    match config.s3_credentials:
        case "static":
            return FixedCredentials(
                Credentials(storage.access_key, storage.secret_key, storage.security_token)
            )
        case "chain":
            return ChainCredentials()
        case "anonymous":
            return FixedCredentials(None)
