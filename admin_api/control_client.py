"""Reaches the parent of the running server's workers, for when they do not answer over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from admin_api.client import AdminError, NoAnswerError, Reply, UnknownOutcomeError
from proxy.management.commands.healthcheck import ANY_ADDRESS, client_hosts
from proxy.server.control import LIMIT_SECONDS, address, uid_of_peer
from s3proxy_site import env

if TYPE_CHECKING:
    from collections.abc import Mapping

# The server gives up before.
TIMEOUT: Final = LIMIT_SECONDS + 5.0
_ROOT = 0


def ask(content: Mapping[str, Any]) -> Reply:
    """Send ``content`` to the server on this machine that the environment configures.

    Of the environment it needs SERVER_ADDR or PORT alone. Raises AdminError; NoAnswerError where
    there is no server, UnknownOutcomeError where none says what became of it.
    """
    config, problems = env.read_some("SERVER_ADDR", "PORT")
    if config is None:
        raise AdminError("; ".join(map(str, problems)))
    if config.port == 0:
        raise AdminError("SERVER_ADDR leaves the port to the system: nobody knows it here")
    where = f"{config.host or '*'}:{config.port}"
    line = json.dumps(content).encode("ascii") + b"\n"
    for host in _hosts(config.host):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(TIMEOUT)
            try:
                connection.connect(address(host, config.port))
            except (FileNotFoundError, ConnectionRefusedError):
                continue
            except OSError as exc:
                raise NoAnswerError(
                    f"the control socket of {where} is out of reach: {exc}"
                ) from exc
            # Anybody could have taken the name. Root cannot know whose server it is.
            if os.geteuid() != _ROOT and uid_of_peer(connection) not in (None, os.geteuid()):
                raise NoAnswerError(f"the control socket of {where} is another user's")
            return Reply(f"{where}, through its control socket", _exchange(connection, line, where))
    raise NoAnswerError(f"{where} has no control socket on this machine")


def _hosts(host: str) -> list[str]:
    """What a server may listen on whom a client would look for there."""
    if host in ANY_ADDRESS:
        return ["", *client_hosts(host)]
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [*dict.fromkeys(str(each[4][0]) for each in found), ""]
    return [host, ""]


def _exchange(connection: socket.socket, line: bytes, where: str) -> dict[str, Any]:
    try:
        # A server that refuses does not read to the end, and has answered.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line)
        with connection.makefile("rb") as stream:
            answer = stream.readline()
        content = json.loads(answer)
    except (OSError, ValueError) as exc:
        reason = "nothing came back" if isinstance(exc, ValueError) else str(exc)
        raise UnknownOutcomeError(
            f"the control socket of {where} gave no answer: {reason}; see the server's log"
        ) from exc
    if not isinstance(content, dict) or "error" in content:
        error = content.get("error") if isinstance(content, dict) else "not as s3proxy does"
        raise AdminError(f"the control socket of {where} answered: {error}")
    return content
