"""Who clients are, worked out once each."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from proxy.client_address import client_address, limiter_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3proxy_site.env import Config

_REMEMBERED = 10_000
# Of what forwarding headers say: whoever makes them up must not fill the memory.
_LONGEST_REMEMBERED = 256
_PLAIN = re.compile(r"[0-9a-f:.]+|-")


class Client(NamedTuple):
    """A client: its address, what it is counted by, and the address as it stands in a log line.

    ``logged`` is None where the address has characters that a log line might have to quote.
    """

    address: str
    key: str
    logged: bytes | None


class Clients:
    """Knows the clients of a configuration, by connection and forwarding header."""

    def __init__(self, config: Config) -> None:
        self._trusted = config.trusted_proxies
        # Nobody is believed where nobody is trusted.
        self._field = config.client_ip_header.encode("ascii") if self._trusted else None
        self._remembered = lru_cache(_REMEMBERED)(self._client)
        # The client of a connection from an address, whose request had such lines().
        self.client: Callable[[str | None, tuple[bytes, ...]], Client] = (
            self._remembered if self._field is None else self._remembered_if_short
        )

    def lines(self, fields: list[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
        """The values of the forwarding header, where it could make a difference."""
        if self._field is None:
            return ()
        return tuple([value for name, value in fields if name == self._field])

    def _remembered_if_short(self, peer: str | None, lines: tuple[bytes, ...]) -> Client:
        if sum(map(len, lines)) > _LONGEST_REMEMBERED:
            return self._client(peer, lines)
        return self._remembered(peer, lines)

    def _client(self, peer: str | None, lines: tuple[bytes, ...]) -> Client:
        address = client_address(peer, lines, self._trusted)
        logged = address.encode("ascii") if _PLAIN.fullmatch(address) else None
        return Client(address, limiter_key(address), logged)
