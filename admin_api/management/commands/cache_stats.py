"""Prints what the running server says of its cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from admin_api.client import AdminClient, AdminError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exits with 0 once the server has answered, else with 1."""

    help = "Show the statistics of the running server on SERVER_ADDR (or PORT)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """In which form, from where."""
        parser.add_argument("--json", action="store_true", help="the server's JSON, nothing else")
        parser.add_argument(
            "--url", help="the server, like http://10.0.0.5:8080, in place of SERVER_ADDR or PORT"
        )

    def handle(self, *, json: bool, url: str | None, **_options: Any) -> None:
        """Print the statistics; raises CommandError."""
        try:
            reply = AdminClient.from_environment(url).get("/cache/stats")
            lines = _as_json(reply.content) if json else _as_text(reply.content, reply.url)
        except AdminError as exc:
            raise CommandError(f"No statistics: {exc}.") from exc
        self.stdout.write("\n".join(lines))


def _as_json(content: dict[str, Any]) -> list[str]:
    return [json.dumps(content, indent=2)]


def _as_text(content: dict[str, Any], url: str) -> list[str]:
    try:
        total, workers = content["total"], content["workers"]
        ratio = total["hit_ratio"]
        rows = [
            ("entries", f"{total['entries']:,} of {total['capacity']:,}"),
            ("bytes", f"{total['bytes']:,} of {total['max_bytes']:,}"),
            ("hit ratio", "no requests yet" if ratio is None else f"{ratio:.1%}"),
            ("requests", _counts(total["requests"])),
            ("evictions", _counts(total["evictions"])),
            ("collapsed", f"{total['collapsed']:,}"),
            ("origin requests", _counts(total["origin_requests"])),
            ("worker restarts", _counts(total["worker_restarts"])),
            ("uptime", f"{total['uptime_seconds']:,.0f} s"),
            *((f"worker {worker['index']}", _worker(worker)) for worker in workers),
        ]
        number = len(workers)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AdminError("the answer is not that of cache/stats; is this s3proxy?") from None
    noun = "worker" if number == 1 else "workers"
    return [*(f"{name:<16}{value}" for name, value in rows), f"Asked {number} {noun} on {url}."]


def _worker(worker: dict[str, Any]) -> str:
    ratio = worker["hit_ratio"]
    return ", ".join(
        (
            f"pid {worker['pid']}",
            f"{worker['state']}, up {worker['uptime_seconds']:,.0f} s",
            f"requests {sum(worker['requests'].values()):,}",
            f"hit ratio {'-' if ratio is None else format(ratio, '.1%')}",
        )
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
