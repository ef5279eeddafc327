"""The addresses of the origin's name, remembered for a while."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

# family, type, protocol, canonical name, address: as getaddrinfo has them.
AddressInfo: TypeAlias = tuple[
    int, int, int, str, "tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]"
]
_REMEMBERED_SECONDS = 30.0


class Addresses:
    """What names resolve to; one look-up for all who ask at the same time."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], tuple[float, Sequence[AddressInfo]]] = {}
        self._looking: dict[tuple[str, int], asyncio.Task[Sequence[AddressInfo]]] = {}
        self._turn = itertools.count()

    async def of(self, host: str, port: int) -> list[AddressInfo]:
        """The addresses in the order in which to try them; raises OSError.

        The families take turns (RFC 8305 §4), and so do the addresses of a family: an origin with
        several is asked at each.
        """
        found = self._found.get((host, port))
        if found is None or time.monotonic() >= found[0]:
            infos = _without_asking(host, port) or await self._look_up(host, port)
        else:
            infos = found[1]
        return _in_turn(infos, next(self._turn))

    def forget(self) -> None:
        """Look up anew what is asked for next: the origin may have moved."""
        self._found.clear()

    def close(self) -> None:
        """Wait for no look-up any more."""
        for task in self._looking.values():
            task.cancel()

    async def _look_up(self, host: str, port: int) -> Sequence[AddressInfo]:
        name = (host, port)
        task = self._looking.get(name)
        if task is None:
            task = self._looking[name] = asyncio.create_task(self._ask(host, port))
            task.add_done_callback(lambda done: self._asked(name, done))
        # Who gives up does not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, host: str, port: int) -> Sequence[AddressInfo]:
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except UnicodeError as exc:
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from exc
        if not infos:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self._found[host, port] = (time.monotonic() + _REMEMBERED_SECONDS, infos)
        return infos

    def _asked(self, name: tuple[str, int], task: asyncio.Task[Sequence[AddressInfo]]) -> None:
        self._looking.pop(name, None)
        if not task.cancelled():
            # Nobody may be left who asks for it.
            task.exception()


def _without_asking(host: str, port: int) -> Sequence[AddressInfo]:
    """What an address in the place of a name stands for; nothing for a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ()
    return socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )


def _in_turn(infos: Sequence[AddressInfo], turn: int) -> list[AddressInfo]:
    if len(infos) == 1:
        return list(infos)
    families: dict[int, list[AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    rotated = [
        family[turn % len(family) :] + family[: turn % len(family)] for family in families.values()
    ]
    rows = itertools.zip_longest(*rotated)
    return [info for row in rows for info in row if info is not None]
