"""Has REDbot judge URLs, as a program of its own.

    python -m tests.redbot.bot < probes.json > verdicts.json

A program, because REDbot's loop is one per process, and because the audit hook that keeps
it on 127.0.0.1 cannot be taken away again. REDbot's own command line takes no request fields.
"""

from __future__ import annotations

import json
import os
import sys
from configparser import ConfigParser
from typing import TYPE_CHECKING, Any

import thor
from redbot.resource import HttpResource  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from httplint.note import Note

ONLY_HOST = "127.0.0.1"
PROBE_SECONDS = 20.0

# REDbot adds notes for a moment after it says that it is done; its own command waits as long.
_SETTLE_SECONDS = 0.1


def objection(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Why the event of an audit hook must not happen: it would leave 127.0.0.1."""
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        # Datagrams would be for a resolver, which asks others even where it is on this machine.
        if event != "socket.connect" or address[0] != ONLY_HOST:
            return f"{event} to {address}"
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        return f"{event} for {arguments[0]}"
    return None


def stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: ends the program before anything leaves this machine."""
    reason = objection(event, arguments)
    if reason is not None:
        # Not an exception: REDbot would take it for one of the server's faults.
        os.write(sys.stderr.fileno(), f"only {ONLY_HOST} may be asked, not {reason}\n".encode())
        os._exit(1)


def judge(probes: Iterable[tuple[str, list[tuple[str, str]]]]) -> list[dict[str, Any]]:
    """The answer to one GET after the other (URL, request fields), and REDbot's notes on each.

    ``{"status", "fields", "notes", "error"}``: the error is null where REDbot has read the
    answer to its end and made its further requests (ranges, conditions, negotiation). The
    first error ends it, the last of the list then being the one that has it.
    """
    waiting = iter(probes)
    verdicts: list[dict[str, Any]] = []

    # One run of the loop for all: its end closes connections that REDbot would use again.
    def begin() -> None:
        probe = next(waiting, None)
        if probe is None:
            thor.stop()
            return
        resource = _resource(*probe)
        limit = thor.schedule(PROBE_SECONDS, end, resource)

        def settle() -> None:
            limit.delete()
            thor.schedule(_SETTLE_SECONDS, end, resource)

        resource.on("check_done", settle)
        resource.check()

    def end(resource: Any) -> None:
        verdicts.append(_verdict(resource))
        if verdicts[-1]["error"] is None:
            begin()
        else:
            thor.stop()

    thor.schedule(0, begin)
    thor.run()
    return verdicts


def _resource(url: str, fields: list[tuple[str, str]]) -> Any:
    config = ConfigParser()
    # Otherwise it refuses private addresses, loopback too.
    config.read_dict({"redbot": {"enable_local_access": "true"}})
    resource = HttpResource(config["redbot"])
    resource.set_request(url, headers=fields)
    return resource


def _verdict(resource: Any) -> dict[str, Any]:
    response = resource.response
    return {
        "status": response.status_code,
        "fields": [list(field) for field in response.headers.text],
        "notes": [_described(note) for note in _with_subnotes(response.notes)],
        "error": _failure(resource),
    }


def _failure(resource: Any) -> str | None:
    if resource.fetch_error is not None:
        return f"{resource.fetch_error.desc} {resource.fetch_error.detail or ''}".strip()
    if not resource.check_done:
        return f"not done after {PROBE_SECONDS:.0f} s"
    return None if resource.response.complete else "the answer is not complete"


def _with_subnotes(notes: Iterable[Note]) -> Iterator[Note]:
    for note in notes:
        yield note
        yield from _with_subnotes(note.subnotes)


def _described(note: Note) -> dict[str, str]:
    return {
        "name": type(note).__name__,
        "level": note.level.name,
        "category": note.category.name,
        "subject": note.subject,
        "summary": note.summary,
    }


def main() -> None:
    """Judge the probes on standard input, ``[[url, [[name, value], ...]], ...]``, in order."""
    sys.addaudithook(stay_on_this_machine)
    json.dump(judge(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
