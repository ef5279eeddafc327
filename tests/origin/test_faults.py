"""Why there is no connection, in words that an operator can use."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from proxy.origin.faults import reason_of


def not_verified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1)")
    error.verify_message = "self-signed certificate"
    return error


def of_tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service"), "the name does not resolve"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "Connection refused"),
        (OSError(errno.EHOSTUNREACH, "x"), "No route to host"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "Connection timed out"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "Connection reset by peer"),
        (ConnectionResetError(), "ConnectionResetError"),
        (ConnectionAbortedError("SSL handshake is taking long"), "SSL handshake is taking long"),
        (not_verified(), "TLS: certificate verify failed: self-signed certificate"),
        (of_tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS: tlsv1 alert protocol version"),
    ],
)
def test_the_reason_of(error: OSError, reason: str) -> None:
    assert reason_of(error) == reason
