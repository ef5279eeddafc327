"""Who the client is, behind proxies that are trusted to say so."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

Address = IPv4Address | IPv6Address
_IPV6_CLIENT_BITS = 64


def client_address(
    peer: str | None,
    header_lines: Iterable[bytes],
    trusted: Sequence[IPv4Network | IPv6Network],
) -> str:
    """The client's address: the rightmost that no trusted proxy has.

    ``peer`` is the connection's; ``header_lines`` the forwarding header's lines, read only if
    the peer itself is trusted. What does not parse ends the list: whoever wrote it could have
    written anything to its left. "-" where there is no address at all (a Unix socket).
    """
    address = _parse(peer or "")
    if address is None:
        return peer or "-"
    if trusted and _is_trusted(address, trusted):
        listed = b",".join(header_lines).decode("latin-1").split(",")
        for text in reversed(listed):
            forwarded = _parse(text.strip())
            if forwarded is None:
                break
            address = forwarded
            if not _is_trusted(address, trusted):
                break
    return str(address)


def limiter_key(address: str) -> str:
    """What requests are counted by: an IPv4 address, or an IPv6 network of 64 bits.

    A single IPv6 client commands a whole /64.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _IPV6_CLIENT_BITS), strict=False))
    return address if parsed is None else str(parsed)


def _is_trusted(address: Address, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in trusted)


def _parse(text: str) -> Address | None:
    """An address, also with a port behind it; IPv4 where IPv6 only wraps it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
