"""Asks the origin whether the configuration is right, naming the variable at fault."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, cast

from django.core.files.storage import storages
from django.core.management.base import BaseCommand, CommandError

from admin_api.probe import Finding, Outcome, examine
from proxy import conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storages.backends.s3 import S3Storage

    from s3proxy_site.env import Config


class Command(BaseCommand):
    """Exits with 0 when every step went well, with or without warnings, else with 1."""

    help = "Ask the origin: endpoint, clock, region, bucket, credentials, permission, addressing."
    # As `check` does, it says what is wrong with the environment itself.
    requires_system_checks = "__all__"

    def handle(self, **_options: Any) -> None:
        """Print a line a step; raises CommandError where one failed."""
        failed = []
        for finding in _findings(conf.config()):
            self.stdout.write(str(finding))
            if finding.outcome is Outcome.FAILED:
                failed.append(finding.variable or finding.step)
        if failed:
            raise CommandError(f"The origin cannot be used as configured: {', '.join(failed)}.")
        self.stdout.write("The origin can be used as configured.")


def _findings(config: Config) -> Iterator[Finding]:
    """Those of `examine`, with a bound on how long each may take.

    In a thread, because neither a name server nor a server that drips has to stop by itself.
    """
    findings: queue.SimpleQueue[Finding | Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            for finding in examine(cast("S3Storage", storages["default"]), config):
                findings.put(finding)
        except Exception as exc:  # noqa: BLE001 - raised again where it can be seen
            findings.put(exc)
        else:
            findings.put(None)

    threading.Thread(target=ask, daemon=True).start()
    # Two requests, each tried twice.
    patience = 4 * config.request_timeout + 5
    while True:
        try:
            finding = findings.get(timeout=patience)
        except queue.Empty:
            detail = f"nothing learned for {patience:g} s"
            yield Finding("answer", Outcome.FAILED, detail, "S3_ENDPOINT")
            return
        if isinstance(finding, Exception):
            raise finding
        if finding is None:
            return
        yield finding
