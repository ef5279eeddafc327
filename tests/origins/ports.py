"""Finds loopback ports that nobody listens on."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# Below Linux's ephemeral range (32768 and up): between our look and the server's bind no
# outgoing connection of this machine can take the port.
_CANDIDATES = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports of 127.0.0.1 that were free a moment ago."""
    with ExitStack() as held:
        return [held.enter_context(_bound()).getsockname()[1] for _ in range(count)]


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port whose connections are refused for as long as the context lasts."""
    with _bound() as held:
        yield held.getsockname()[1]


@contextmanager
def unaccepting(port: int) -> Iterator[None]:
    """Makes attempts to connect to `port`, which must be free, last for ever.

    A listener that accepts nobody has its queue filled; Linux then drops what asks for more.
    """
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", port), backlog=0))
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield


def _bound() -> socket.socket:
    for port in random.sample(_CANDIDATES, 100):
        candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
        else:
            return candidate
    raise RuntimeError("no free port on 127.0.0.1")
