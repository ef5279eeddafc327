"""Production: worker processes and their parent, until it is told to stop."""

from __future__ import annotations

import logging
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from admin_api import control
from proxy import conf
from proxy.server.run import bind, url_of
from proxy.server.supervisor import Supervisor

logger = logging.getLogger("s3proxy.server")


class Command(BaseCommand):
    """``manage.py serve``."""

    help = "Serve the bucket as configured by the environment, until SIGTERM or SIGINT."
    requires_system_checks = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - Django's signature
        config = conf.config()
        try:
            listener = bind(config)
        except OSError as exc:
            # The exception's own text has the address again, as Python writes it. A host name
            # that has none has a number that is not the system's.
            reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
            raise CommandError(
                f"cannot listen on {config.host or '*'}:{config.port}: {reason}; "
                "SERVER_ADDR or PORT says where"
            ) from exc
        where = f"{config.host or '*'}:{listener.getsockname()[1]}"
        logger.info("listening on %s, %s", where, url_of(listener))
        if not Supervisor(config, listener, control.purge).run():
            raise CommandError("the server did not start; the log says why")
        logger.info("stopped")
