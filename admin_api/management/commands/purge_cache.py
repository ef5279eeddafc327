"""Purges stored responses from the running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from admin_api.client import AdminClient, AdminError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exits with 0 once the server has carried out the purge, else with 1."""

    help = "Purge stored responses from the running server on SERVER_ADDR (or PORT)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to purge, where."""
        parser.add_argument(
            "keys",
            nargs="*",
            metavar="KEY",
            help="an S3 key, or with a / in front the path of its URL, percent-encoded",
        )
        parser.add_argument(
            "--prefix",
            action="append",
            default=[],
            dest="prefixes",
            metavar="P",
            help="every key that begins with P; may be given several times",
        )
        parser.add_argument(
            "--all", action="store_true", dest="everything", help="everything that is stored"
        )
        parser.add_argument(
            "--soft", action="store_true", help="mark as stale, to be validated, not removed"
        )
        parser.add_argument(
            "--url", help="the server, like http://10.0.0.5:8080, in place of SERVER_ADDR or PORT"
        )

    def handle(
        self,
        *,
        keys: list[str],
        prefixes: list[str],
        everything: bool,
        soft: bool,
        url: str | None,
        **_options: Any,
    ) -> None:
        """Print which keys were not stored, then what was done; raises CommandError."""
        if everything == bool(keys or prefixes):
            raise CommandError("Say what to purge: keys and --prefix, or --all alone.")
        asked: dict[str, Any] = {"soft": soft}
        if everything:
            asked["all"] = True
        else:
            asked |= {"keys": keys, "prefixes": prefixes}
        try:
            reply = AdminClient.from_environment(url).post("/cache/purge", asked)
            purged, not_found = _outcome(reply.content)
        except AdminError as exc:
            raise CommandError(f"Nothing was purged: {exc}.") from exc
        for key in not_found:
            self.stdout.write(f"not stored: {key!r}")
        responses = f"{purged} stored response{'' if purged == 1 else 's'}"
        done = f"Marked {responses} as stale" if soft else f"Purged {responses}"
        self.stdout.write(f"{done} on {reply.url}.")


def _outcome(content: dict[str, Any]) -> tuple[int, list[str]]:
    try:
        return int(content["purged"]), [str(key) for key in content["not_found"]]
    except (KeyError, TypeError, ValueError):
        raise AdminError("the answer is not that of a purge; is this s3proxy?") from None
