"""Development: the same server, started again whenever the code changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError

from proxy import conf
from proxy.server.run import uvicorn_options
from s3proxy_site.places import server_addr

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """``manage.py runserver``, in place of Django's, which is WSGI."""

    help = "Serve for development: as `serve` does, reloading when the code changes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", help="[host]:port, by default SERVER_ADDR")
        parser.add_argument("--noreload", action="store_true", help="do not watch the code")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - Django's signature
        config = conf.config()
        host, port = config.host, config.port
        if options["address"]:
            try:
                host, port = server_addr(_full(options["address"]))
            except ValueError as exc:
                raise CommandError(f"{options['address']!r} is no address: {exc}") from exc
        host = host or "127.0.0.1"
        # The process that serves after a change of the code is told by the same way.
        os.environ["WEB_CONCURRENCY"] = "1"
        self.stdout.write(f"http://{host}:{port}/ (quit with Ctrl-C)")
        uvicorn.run(
            **uvicorn_options(config),
            host=host,
            port=port,
            workers=1,
            reload=not options["noreload"],
            # To name some where nothing is watched would be warned of.
            reload_dirs=None if options["noreload"] else [str(Path(__file__).resolve().parents[3])],
        )


def _full(address: str) -> str:
    # Django's own runserver takes a bare port.
    return f":{address}" if address.isdigit() else address
