"""What may go wrong on a connection to the origin, told in words that an operator can use."""

from __future__ import annotations

import os
import socket
import ssl


class ConnectionFaultError(Exception):
    """The exchange on a connection did not come to its end."""


class NotConnectedError(ConnectionFaultError):
    """No connection could be opened; the cause says why."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(reason_of(cause))


class DisconnectedError(ConnectionFaultError):
    """The origin ended the connection too early, by FIN or by RST."""


class MalformedResponseError(ConnectionFaultError):
    """What the origin sent is not HTTP/1.1 as RFC 9112 has it."""


class SilenceError(ConnectionFaultError):
    """Nothing more of a body came in time."""


def reason_of(error: OSError) -> str:
    """Why there is no connection, in the words of the operating system where it has any."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        what = (error.reason or "failed").replace("_", " ").lower()
        return f"TLS: {what}"
    if error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
