"""The ASGI application: Django behind the lifespan protocol."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
django.setup(set_prefix=False)

from proxy import processes  # noqa: E402 - needs Django set up
from proxy.server.handler import LeanHandler  # noqa: E402
from proxy.service import close_gateway, gateway  # noqa: E402
from s3proxy_site.env import message  # noqa: E402

if settings.S3PROXY is None:
    # Also where another server than ours imports this: status 1, the problems, no traceback.
    raise SystemExit(message(settings.S3PROXY_PROBLEMS))

logger = logging.getLogger("s3proxy.server")


async def _beside_http(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Open and close the gateway with the server."""
    if scope["type"] == "lifespan":
        try:
            await _lifespan(receive, send)
        except asyncio.CancelledError:
            # The server was told twice to stop, and waits for nobody.
            await close_gateway()
    else:
        raise ValueError(f"s3proxy speaks HTTP only, not {scope['type']}")


async def _lifespan(
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    while True:
        message_type = (await receive())["type"]
        if message_type == "lifespan.startup":
            gateway()
            _warn_of_several_processes()
            await send({"type": "lifespan.startup.complete"})
        elif message_type == "lifespan.shutdown":
            await close_gateway()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _warn_of_several_processes() -> None:
    """uvicorn and gunicorn read WEB_CONCURRENCY too; their processes share no memory."""
    asked = os.environ.get("WEB_CONCURRENCY", "")
    if processes.index() or not asked.isdecimal() or int(asked) < 2:
        return
    logger.warning(
        "each process of this server has a cache, limits and purges of its own: "
        "run one, or `manage.py serve`",
        extra={"variable": "WEB_CONCURRENCY"},
    )


application = LeanHandler(_beside_http)
