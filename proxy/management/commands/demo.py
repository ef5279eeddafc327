"""Serves a sample bucket from an embedded S3, with nothing to configure."""

import http.client
import queue
import secrets
import signal
import socket
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from types import FrameType
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from proxy.demo.bucket import MAX_OBJECT_SIZE, sample_objects
from proxy.demo.serve_process import ServeProcess
from proxy.demo.tour import Address, Bucket, Tour
from proxy.management.commands.healthcheck import health_status
from s3proxy_site.places import server_addr

BUCKET: Final = "demo-site"
START_SECONDS: Final = 30.0
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Event(Enum):
    """What a running demo waits for."""

    STOP = auto()
    SERVER_ENDED = auto()


# Of all queues, because a signal's handler may put while the same thread gets.
Events = queue.SimpleQueue[Event]


class Command(BaseCommand):
    """Runs until Ctrl-C or SIGTERM, then exits with 0; with 1 when the proxy ends by itself."""

    help = "Serve a sample bucket from an embedded S3: nothing to install, nothing to configure."
    requires_system_checks = ()  # the proxy it starts gets a configuration of its own

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to listen, in which form to say so."""
        parser.add_argument(
            "--addr",
            type=_address,
            default="127.0.0.1:8080",
            help="where the proxy listens (default: %(default)s; port 0 is any free one)",
        )
        parser.add_argument(
            "--s3-port",
            type=int,
            default=0,
            help="where the embedded S3 listens on 127.0.0.1 (default: any free port)",
        )
        parser.add_argument(
            "--json", action="store_true", help="describe the demo in one line of JSON"
        )

    def handle(self, *, addr: Address, s3_port: int, json: bool, **_options: Any) -> None:
        """Run the demo; raises CommandError for what keeps it from running."""
        try:
            from proxy.demo.embedded_s3 import REGION, EmbeddedS3  # noqa: PLC0415 - may be absent
        except ImportError as error:
            raise CommandError(
                "The demo needs moto and flask: pip install -r requirements/demo.txt"
            ) from error
        address = _free(addr)
        token = secrets.token_urlsafe(24)
        events = Events()
        s3_socket = _bound(Address("127.0.0.1", s3_port), "--s3-port")
        with _stop_signals(events), EmbeddedS3(BUCKET, s3_socket) as s3:
            objects = tuple(sample_objects())
            s3.put(objects)
            bucket = Bucket(s3.endpoint, BUCKET, REGION, s3.access_key, s3.secret_key)
            # The description goes to stdout by itself in JSON, so the server's log must not.
            output = sys.stderr if json else None
            with ServeProcess(_configuration(address, token, bucket), output) as server:
                server.when_it_ends(lambda: events.put(Event.SERVER_ENDED))
                event = _next_event_or_health(events, address)
                if event is None:
                    tour = Tour(address, token, server.pid, bucket, objects)
                    self.stdout.write(tour.as_json() if json else tour.as_text())
                    self.stdout.flush()
                    event = events.get()
                if event is Event.SERVER_ENDED:
                    raise CommandError(f"The proxy ended by itself with status {server.status}.")
        if not json:
            self.stdout.write("The demo has stopped.")


def _address(text: str) -> Address:
    try:
        return Address(*server_addr(text))
    except ValueError as error:
        hint = f" ({error})" if str(error) else ""
        raise ArgumentTypeError(f"{text!r} is not like 127.0.0.1:8080, :8080{hint}") from None


def _bound(address: Address, option: str) -> socket.socket:
    """A listening socket; raises CommandError naming `option` when there can be none."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Cannot listen on {address.server_addr}: {error}. Choose another with {option}."
        ) from error


def _free(address: Address) -> Address:
    """The same address with port 0 made a real one; raises CommandError when it is taken."""
    with _bound(address, "--addr") as probe:
        return Address(address.host, probe.getsockname()[1])


def _configuration(address: Address, token: str, bucket: Bucket) -> dict[str, str]:
    return {
        "AUTH_TOKEN": token,
        "SERVER_ADDR": address.server_addr,
        "S3_ENDPOINT": bucket.endpoint,
        "S3_BUCKET": bucket.name,
        "S3_REGION": bucket.region,
        "S3_ACCESS_KEY": bucket.access_key,
        "S3_SECRET_KEY": bucket.secret_key,
        "MAX_OBJECT_SIZE": MAX_OBJECT_SIZE,
        # Whoever presses Ctrl-C does not want to wait for a player that has paused.
        "DRAIN_TIMEOUT": "2s",
    }


@contextmanager
def _stop_signals(events: Events) -> Iterator[None]:
    """Turn the signals that end a program into an event, so that everything is stopped in order."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        events.put(Event.STOP)

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _next_event_or_health(events: Events, address: Address) -> Event | None:
    """None once the proxy is healthy, unless an event comes first.

    Raises CommandError when neither happens within START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(queue.Empty):
            return events.get(timeout=0.05)
        with suppress(OSError, http.client.HTTPException):
            if health_status(address.reachable_host, address.port) == http.HTTPStatus.OK:
                return None
    raise CommandError(f"The proxy did not become healthy within {START_SECONDS:.0f} s.")
