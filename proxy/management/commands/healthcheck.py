"""Asks the running server whether it is alive.

Made for Docker's HEALTHCHECK: it needs SERVER_ADDR or PORT alone, whatever else is missing from
the environment of the shell that runs it.
"""

import http.client
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from s3proxy_site import env

TIMEOUT: Final = 3.0  # seconds to connect, then as many for the answer
ANY_ADDRESS: Final = frozenset(("", "0.0.0.0", "::"))  # noqa: S104 - recognised, not bound


class Command(BaseCommand):
    """Exits with 0 when `GET /healthz` is answered with 200, else with 1."""

    help = "Ask the running server on SERVER_ADDR (or PORT) whether it is alive."
    requires_system_checks = ()

    def handle(self, **_options: Any) -> None:
        """Print one sentence; raises CommandError unless the server is alive."""
        host, port = _listening_on()
        if port == 0:
            raise CommandError("SERVER_ADDR leaves the port to the system: nobody knows it here.")
        problem: Exception | None = None
        for address in client_hosts(host):
            try:
                status = health_status(address, port)
            except ConnectionRefusedError as error:
                problem = problem or error
                continue
            except (OSError, http.client.HTTPException) as error:
                problem = error
                break
            if status != http.HTTPStatus.OK:
                raise CommandError(f"{address} port {port} answered /healthz with {status}.")
            self.stdout.write(f"{address} port {port} is alive.")
            return
        raise CommandError(f"{host or 'localhost'} port {port} gave no answer: {problem}.")


def client_hosts(host: str) -> tuple[str, ...]:
    """Hosts by which a client on this machine may reach a server that listens on `host`."""
    return ("127.0.0.1", "::1") if host in ANY_ADDRESS else (host,)


def health_status(host: str, port: int) -> int:
    """Status of `GET /healthz`; raises OSError or HTTPException where none comes in time."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()


def _listening_on() -> tuple[str, int]:
    """Host and port of the server; the host is `""` for all interfaces."""
    config, problems = env.read_some("SERVER_ADDR", "PORT")
    if config is None:
        raise CommandError("; ".join(map(str, problems)))
    return config.host, config.port
