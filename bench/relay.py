"""Passes objects on as they come, with aiohttp at both ends, as a program of its own.

``python -m bench.relay PORT ORIGIN_PORT``. This is what streaming costs where nothing is signed,
looked up or decided.
"""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web

from bench.contestants import BUCKET

_READ_BUFFER = 256 * 1024


async def application(origin_port: int) -> web.Application:
    """A relay of the bucket."""
    session = aiohttp.ClientSession(
        auto_decompress=False,
        read_bufsize=_READ_BUFFER,
        timeout=aiohttp.ClientTimeout(total=None),
    )

    async def relay(request: web.Request) -> web.StreamResponse:
        async with session.get(
            f"http://127.0.0.1:{origin_port}/{BUCKET}{request.path}"
        ) as upstream:
            response = web.StreamResponse(status=upstream.status)
            response.content_length = upstream.content_length
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        return response

    async def close(_: web.Application) -> None:
        await session.close()

    app = web.Application()
    app.router.add_get("/{key:.*}", relay)
    app.on_cleanup.append(close)
    return app


def main() -> None:
    """Serve until stopped."""
    port, origin_port = map(int, sys.argv[1:])
    web.run_app(
        application(origin_port),
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
