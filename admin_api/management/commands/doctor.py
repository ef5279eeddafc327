"""Asks the origin, with REDIS_URL Redis too, whether the configuration is right."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, cast

from django.core.files.storage import storages
from django.core.management.base import BaseCommand, CommandError

from admin_api.probe import Finding, Outcome, examine
from admin_api.redis_probe import TIMEOUT, examine_redis
from proxy import conf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storages.backends.s3 import S3Storage


class Command(BaseCommand):
    """Exits with 0 when every step went well, with or without warnings, else with 1."""

    help = (
        "Ask the origin: endpoint, clock, region, bucket, credentials, permission, addressing. "
        "With REDIS_URL, ask Redis too."
    )
    # As `check` does, it says what is wrong with the environment itself.
    requires_system_checks = "__all__"

    def handle(self, **_options: Any) -> None:
        """Print a line a step; raises CommandError where one failed."""
        config = conf.config()
        storage = cast("S3Storage", storages["default"])
        # Two requests, each tried twice.
        patience = 4 * config.request_timeout + 5
        asked = ["origin"]
        failed = self._tell(
            _findings(lambda: examine(storage, config), patience, "answer", "S3_ENDPOINT"),
        )
        url = config.redis_url
        if url is not None:
            asked.append("Redis")
            failed += self._tell(
                # A name server too has to answer.
                _findings(lambda: examine_redis(url), 2 * TIMEOUT + 5, "redis", "REDIS_URL"),
            )
        whole = " and ".join(asked)
        if failed:
            raise CommandError(f"The {whole} cannot be used as configured: {', '.join(failed)}.")
        self.stdout.write(f"The {whole} can be used as configured.")

    def _tell(self, findings: Iterator[Finding]) -> list[str]:
        """Print a line a step; what failed."""
        failed = []
        for finding in findings:
            self.stdout.write(str(finding))
            if finding.outcome is Outcome.FAILED:
                failed.append(finding.variable or finding.step)
        return failed


def _findings(
    examination: Callable[[], Iterator[Finding]], patience: float, step: str, variable: str
) -> Iterator[Finding]:
    """Those of an examination, each within ``patience`` seconds.

    In a thread, because neither a name server nor a server that drips has to stop by itself.
    """
    findings: queue.SimpleQueue[Finding | Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            for finding in examination():
                findings.put(finding)
        except Exception as exc:  # noqa: BLE001 - raised again where it can be seen
            findings.put(exc)
        else:
            findings.put(None)

    threading.Thread(target=ask, daemon=True).start()
    while True:
        try:
            finding = findings.get(timeout=patience)
        except queue.Empty:
            detail = f"nothing learned for {patience:g} s"
            yield Finding(step, Outcome.FAILED, detail, variable)
            return
        if isinstance(finding, Exception):
            raise finding
        if finding is None:
            return
        yield finding
