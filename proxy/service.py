"""The gateway as configured, one for each event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from botocore.credentials import Credentials
from django.core.cache import caches
from django.core.files.storage import storages

from proxy import conf
from proxy.core.freshness import Policy
from proxy.gateway import Gateway
from proxy.origin.s3 import S3Origin
from proxy.origin.signing import ChainCredentials, CredentialSource, FixedCredentials
from proxy.store import Store

if TYPE_CHECKING:
    from storages.backends.s3 import S3Storage

    from proxy.cache.backend import MemoryCache
    from s3proxy_site.env import Config

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


def build_gateway(config: Config) -> Gateway:
    """A gateway on Django's default cache and default storage."""
    storage = cast("S3Storage", storages["default"])
    origin = S3Origin(
        storage,
        _credentials(config, storage),
        region=config.s3_region,
        timeout=config.request_timeout,
        retries=config.s3_retries,
    )
    return Gateway(store(), origin, policy_of(config), nosniff=config.nosniff)


def store() -> Store:
    """The stored responses of this process."""
    return Store(cast("MemoryCache", caches["default"]))


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
