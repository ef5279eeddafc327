"""The socket by which commands on the same machine reach the parent of the workers.

For when no worker answers over HTTP. A connection brings one line and takes one line back, both a
JSON object; who may connect is decided by the user, so nothing secret passes. On Linux the socket
has an abstract name, which needs no disk that can be written to and goes with the last process that
holds it (unix(7)); elsewhere it is a file that its owner alone can open.

The parent itself reads nothing: each connection gets a process of its own, one at a time, with a
time limit. Neither a silent client nor a lock that a stopped worker holds can keep the parent from
looking after its workers, and so from killing that one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("s3proxy.server")

# A request is a line of so many bytes at most, its end included: 1 MiB as over HTTP, and that end.
MAX_REQUEST_BYTES: Final = 2**20 + 1
# From the connection's beginning to the answer. Longer than the default WORKER_TIMEOUT: what a
# worker that hangs has locked is free once the parent has killed it.
LIMIT_SECONDS: Final = 60
_READ_SECONDS = 1.0
_BACKLOG = 16
_ABSTRACT = sys.platform == "linux"
_EVERY_HOST = ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not bound
# struct ucred of Linux: pid, uid, gid
_CREDENTIALS = struct.Struct("iII")
_ROOT = 0

Reply: TypeAlias = "Callable[[dict[str, Any]], None]"
# Gets a request's line, and answers by calling the reply; it may do more after that.
Answer: TypeAlias = "Callable[[bytes, Reply], None]"


class RequestTooLongError(Exception):
    """A request has more than MAX_REQUEST_BYTES."""


def address(host: str, port: int, *, abstract: bool = _ABSTRACT) -> str:
    """Where the control socket of a server is that listens on a host (or on every) and port."""
    name = f"s3proxy-{'any' if host in _EVERY_HOST else host}-{port}"
    return f"\0{name}" if abstract else str(Path(tempfile.gettempdir(), f"{name}.sock"))


def uid_of_peer(connection: socket.socket) -> int | None:
    """Whom the process at the other end runs as; None where the system does not say so."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(found)[1]
    return uid


class Control:
    """The parent's end; without a socket where none could be made, or there is no ``answer``.

    ``users`` are the uids that may ask: this process's and root unless it says otherwise.
    """

    def __init__(self, answer: Answer | None, users: frozenset[int] | None = None) -> None:
        self._answer = answer
        self._users = frozenset((os.geteuid(), _ROOT)) if users is None else users
        self._listener: socket.socket | None = None
        self._file: Path | None = None
        # The process that answers.
        self._pid: int | None = None

    def open(self, host: str, port: int, *, abstract: bool = _ABSTRACT) -> None:
        """Begin to listen, for a server on this host and port; a failure is logged."""
        if self._answer is None:
            return
        where = address(host, port, abstract=abstract)
        listener = socket.socket(socket.AF_UNIX)
        try:
            if not abstract:
                _make_file(listener, Path(where))
                self._file = Path(where)
            else:
                listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError as exc:
            listener.close()
            logger.warning("no control socket", extra={"reason": str(exc)})
            return
        listener.setblocking(False)
        self._listener = listener

    def waiting_for(self) -> list[socket.socket]:
        """What to select on: a connection is taken only while none is being answered."""
        return [] if self._listener is None or self._pid is not None else [self._listener]

    def accept(self) -> socket.socket | None:
        """The connection of somebody who may ask, if there is one; others are refused."""
        if self._listener is None:
            return None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # It went away again.
            return None
        uid = uid_of_peer(connection)
        if uid is None or uid in self._users:
            return connection
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            _send(connection, {"error": "only the server's own user, or root, may ask it here"})
        return None

    def answered_by(self, pid: int) -> None:
        """This process of ours answers the connection that was accepted."""
        self._pid = pid

    def ended(self, pid: int) -> None:
        """A child of ours has ended, perhaps that one."""
        if pid == self._pid:
            self._pid = None

    def converse(self, connection: socket.socket) -> None:
        """Answer, in the process made for it, which ends with the time limit."""
        self.leave()
        signal.alarm(LIMIT_SECONDS)
        with connection:
            replied = False

            def reply(content: dict[str, Any]) -> None:
                nonlocal replied
                replied = True
                # Who does not wait for the answer does not get it.
                with contextlib.suppress(OSError):
                    connection.settimeout(_READ_SECONDS)
                    _send(connection, content)
                    connection.close()

            try:
                assert self._answer is not None
                self._answer(_read_line(connection), reply)
            except RequestTooLongError:
                reply({"error": f"the request is over {MAX_REQUEST_BYTES} bytes; send several"})
            except TimeoutError:
                reply({"error": "the request did not come in time"})
            except ConnectionError:
                pass
            except Exception:
                logger.exception("a request by the control socket failed")
                if not replied:
                    reply({"error": "the server failed; its log says why"})

    def leave(self) -> None:
        """Let go of it in a child, for which it is not."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Listen no more, and leave no file."""
        self.leave()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None


def _make_file(listener: socket.socket, file: Path) -> None:
    """Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        # Of a server that was killed: as we listen on its port, it is there no more.
        if stat.S_ISSOCK(file.lstat().st_mode):
            file.unlink()
    mask = os.umask(0o177)
    try:
        listener.bind(str(file))
    finally:
        os.umask(mask)


def _read_line(connection: socket.socket) -> bytes:
    """Without its end, which may be that of what the client sends.

    Raises RequestTooLongError, TimeoutError, ConnectionError.
    """
    until = time.monotonic() + _READ_SECONDS
    line = bytearray()
    connection.setblocking(False)
    while True:
        ready, _, _ = select.select([connection], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise TimeoutError
        received = connection.recv(65536)
        line += received
        if not received and not line:
            raise ConnectionAbortedError
        if len(line) > MAX_REQUEST_BYTES:
            raise RequestTooLongError
        if not received or line.endswith(b"\n"):
            return bytes(line).removesuffix(b"\n")


def _send(connection: socket.socket, content: dict[str, Any]) -> None:
    connection.sendall(json.dumps(content).encode("ascii") + b"\n")
