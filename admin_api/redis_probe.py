"""Asks Redis whether REDIS_URL is right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from admin_api.probe import Finding, Outcome
from proxy.fleet.errors import host_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT: Final = 2.0  # seconds to connect, then as many for an answer
_VARIABLE = "REDIS_URL"


def examine_redis(url: str) -> Iterator[Finding]:
    """Whether it answers to PING, told without the URL's secrets."""
    host = host_of(url)
    began = time.monotonic()
    try:
        with Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        ) as redis:
            redis.ping()
    except Exception as error:  # noqa: BLE001 - whatever it is, Redis cannot be used
        detail = f"{host} cannot be used: {reason_of(error)}"
        yield Finding("redis", Outcome.FAILED, detail, _VARIABLE)
        return
    milliseconds = (time.monotonic() - began) * 1000
    yield Finding("redis", Outcome.OK, f"{host} answers after {milliseconds:.0f} ms")
