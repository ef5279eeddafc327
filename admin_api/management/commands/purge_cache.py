"""Purges stored responses from the running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from admin_api import control_client
from admin_api.client import (
    AdminClient,
    AdminError,
    NoAnswerError,
    RefusedError,
    Reply,
    UnknownOutcomeError,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exits with 0 once the server has carried out the purge, else with 1.

    Also with 1 where it is carried out, but other replicas were not told.
    """

    help = (
        "Purge stored responses from the running server on SERVER_ADDR (or PORT). Where it gives "
        "no answer over HTTP, as its workers hang or the address is out of reach from here, its "
        "parent process is asked through the control socket, which takes the same machine (or "
        "container) and the server's user or root, and tells no other replicas."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to purge, where, by which way."""
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
        way = parser.add_mutually_exclusive_group()
        way.add_argument(
            "--url",
            help="the server, like http://10.0.0.5:8080, in place of SERVER_ADDR or PORT; "
            "by HTTP alone",
        )
        way.add_argument(
            "--without-http",
            action="store_true",
            help="ask by the control socket at once; needs no AUTH_TOKEN",
        )

    def handle(
        self,
        *,
        keys: list[str],
        prefixes: list[str],
        everything: bool,
        soft: bool,
        url: str | None,
        without_http: bool,
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
            reply = control_client.ask(asked) if without_http else self._ask(asked, url)
            purged, not_found = _outcome(reply.content)
        except UnknownOutcomeError as exc:
            raise CommandError(f"{exc}; the purge may still be carried out.") from exc
        except AdminError as exc:
            raise CommandError(f"Nothing was purged: {exc}.") from exc
        for key in not_found:
            self.stdout.write(f"not stored: {key!r}")
        responses = f"{purged} stored response{'' if purged == 1 else 's'}"
        done = f"Marked {responses} as stale" if soft else f"Purged {responses}"
        self.stdout.write(f"{done} on {reply.url}.")
        if "error" in reply.content:
            raise CommandError(
                "The other replicas could not be told, as Redis is unavailable. The server tells "
                "them once Redis is back, if it lives so long; else purge again."
            )
        if reply.content.get("replicas") is False:
            raise CommandError(
                "Other replicas were not told, and what they share through Redis still has what "
                "was purged, also for this server: purge again once it answers over HTTP."
            )

    def _ask(self, asked: dict[str, Any], url: str | None) -> Reply:
        """Over HTTP, else by the control socket; raises AdminError."""
        try:
            return AdminClient.from_environment(url).post("/cache/purge", asked)
        except RefusedError as exc:
            if "purged" not in exc.content:
                raise
            # Carried out there, but the other replicas were not told.
            return Reply(exc.url, exc.content)
        except NoAnswerError as exc:
            if url is not None:
                raise
            self.stderr.write(f"{exc}; asking by the control socket")
            try:
                return control_client.ask(asked)
            except NoAnswerError as also:
                unknown = isinstance(exc, UnknownOutcomeError) or isinstance(
                    also, UnknownOutcomeError
                )
                kind = UnknownOutcomeError if unknown else NoAnswerError
                raise kind(f"{exc}; {also}") from also


def _outcome(content: dict[str, Any]) -> tuple[int, list[str]]:
    try:
        return int(content["purged"]), [str(key) for key in content["not_found"]]
    except (KeyError, TypeError, ValueError):
        raise AdminError("the answer is not that of a purge; is this s3proxy?") from None
