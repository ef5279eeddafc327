"""The ASGI application: Django behind the lifespan protocol."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
django.setup(set_prefix=False)

from proxy.server.handler import LeanHandler  # noqa: E402 - needs Django set up
from proxy.service import close_gateway, gateway  # noqa: E402
from s3proxy_site.env import message  # noqa: E402

if settings.S3PROXY is None:
    # Also where another server than ours imports this: status 1, the problems, no traceback.
    raise SystemExit(message(settings.S3PROXY_PROBLEMS))

_handler = LeanHandler()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Serve HTTP; open and close the gateway with the server."""
    if scope["type"] == "http":
        await _handler(scope, receive, send)
    elif scope["type"] == "lifespan":
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
            await send({"type": "lifespan.startup.complete"})
        elif message_type == "lifespan.shutdown":
            await close_gateway()
            await send({"type": "lifespan.shutdown.complete"})
            return
