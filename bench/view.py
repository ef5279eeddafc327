"""Serves the proxy's view on uvicorn's own HTTP protocol, as a program of its own.

``python -m bench.view HANDLER PORT``, configured by the environment as `manage.py serve` is.
Settings, middleware, routes and event loop are the proxy's. The handler is Django's own
(``stock``), as in a Django project on uvicorn, or the proxy's (``lean``).
"""

from __future__ import annotations

import os
import sys

import uvicorn

_APPLICATIONS = {
    "stock": "django.core.asgi:get_asgi_application",
    "lean": "s3proxy_site.asgi:application",
}


def main() -> None:
    """Serve until stopped."""
    handler, port = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
    uvicorn.run(
        _APPLICATIONS[handler],
        factory=handler == "stock",
        host="127.0.0.1",
        port=int(port),
        http="httptools",
        loop="uvloop",
        # Django's own handler has no lifespan; the proxy's opens the gateway in it.
        lifespan="off" if handler == "stock" else "on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
