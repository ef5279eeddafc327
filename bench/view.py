"""Serves the proxy's view on uvicorn's own HTTP protocol, as a program of its own.

``python -m bench.view HANDLER PORT``, configured by the environment as `manage.py serve` is.
Settings, middleware, routes and event loop are the proxy's. The handler is Django's own
(``stock``), as in a Django project on uvicorn, or the proxy's (``lean``) as `serve` runs it: with
its options for uvicorn, but without its protocol, and with the garbage collector frozen.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import django
import uvicorn

from proxy import conf
from proxy.server.run import uvicorn_options

# What uvicorn has of its own; Django's handler knows no lifespan.
_STOCK: dict[str, Any] = {
    "app": "django.core.asgi:get_asgi_application",
    "factory": True,
    "http": "httptools",
    "loop": "uvloop",
    "lifespan": "off",
    "interface": "asgi3",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,
}


def main() -> None:
    """Serve until stopped."""
    handler, port = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
    django.setup(set_prefix=False)
    if handler == "stock":
        options = _STOCK
    else:
        options = uvicorn_options(conf.config()) | {"http": "httptools"}
    config = uvicorn.Config(**options, host="127.0.0.1", port=int(port))
    config.load()
    if handler != "stock":
        gc.collect()
        gc.freeze()
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
