"""How places are written in environment variables: addresses, URLs, buckets, paths.

The parsers keep the conventions of `s3proxy_site.notation`.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import urlsplit

from s3proxy_site.notation import HintedError, integer

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|{_HOST_NAME})"
_ENDPOINT = re.compile(rf"(https?)://({_HOST})(?::([0-9]+))?/?", re.ASCII | re.IGNORECASE)
_SERVER_ADDR = re.compile(rf"({_HOST})?:([0-9]+)", re.ASCII)
_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", re.ASCII)
_MAPPED = IPv6Network("::ffff:0:0/96")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_port = integer(1, 65535)
# Port 0 asks the system for a free one, which is what tests want.
_listening_port = integer(0, 65535)


def _host(text: str) -> str:
    """Lower-case host without brackets; raises `ValueError` for a bad IP address."""
    if text.startswith("["):
        return str(IPv6Address(text[1:-1]))
    if re.fullmatch(r"[0-9.]+", text, re.ASCII):
        return str(IPv4Address(text))
    if len(text) > 253:
        raise ValueError
    return text.lower()


def endpoint(text: str) -> str:
    """`scheme://host[:port]` in the normal form of RFC 3986 §6.2.2, §6.2.3."""
    if "@" in text:
        raise HintedError("credentials belong in S3_ACCESS_KEY and S3_SECRET_KEY")
    if "://" not in text:
        raise HintedError("begin with https:// or http://")
    found = _ENDPOINT.fullmatch(text)
    if not found:
        if _ENDPOINT.fullmatch(text.partition("://")[0] + "://" + text.split("/")[2]):
            raise HintedError("leave out the path: the bucket goes into S3_BUCKET")
        raise ValueError
    scheme, host = found[1].lower(), _host(found[2])
    port = _port(found[3]) if found[3] else None
    authority = f"[{host}]" if ":" in host else host
    if port is None or port == _DEFAULT_PORTS[scheme]:
        return f"{scheme}://{authority}"
    return f"{scheme}://{authority}:{port}"


def server_addr(text: str) -> tuple[str, int]:
    """Host, port; the host is `""` for all interfaces, IPv6 addresses are without brackets."""
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        raise HintedError("write a colon before the port")
    if text.count(":") > 1 and not text.startswith("["):
        raise HintedError("write an IPv6 address in brackets, as in [::1]:8080")
    found = _SERVER_ADDR.fullmatch(text)
    if not found:
        raise ValueError
    return _host(found[1]) if found[1] else "", _listening_port(found[2])


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks from a list of CIDRs or addresses, separated by commas or spaces."""
    return tuple(_network(item) for item in re.split(r" *, *| +", text))


def _network(text: str) -> IPv4Network | IPv6Network:
    if not _NETWORK.fullmatch(text):
        raise ValueError
    try:
        network = ip_network(text)
    except ValueError:
        # Raises again where the address itself is the trouble, not the bits past the prefix.
        raise HintedError(f"write {ip_network(text, strict=False)} for the whole network") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        # Peers of a dual-stack socket are compared as the IPv4 addresses they are.
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - 96))
    return network


def redis_url(text: str) -> str:
    """`redis://` or `rediss://` URL with a host and perhaps a database number, unchanged."""
    if not re.fullmatch(r"rediss?://[!-~]+", text, re.ASCII):
        raise ValueError
    if "?" in text:
        # Options of the client library: a wrong one would fail at the first connection only.
        raise HintedError("without a query (a ? in a password is %3F)")
    parts = urlsplit(text)  # raises ValueError for unbalanced brackets
    if not parts.hostname or parts.fragment or not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise ValueError
    if parts.port == 0:  # raises ValueError when no number or out of range
        raise ValueError
    return text


def bucket(text: str) -> str:
    """Bucket name; looser than AWS, because other servers are."""
    if not re.fullmatch(r"[a-zA-Z0-9._-]{3,63}", text, re.ASCII) or ".." in text:
        raise ValueError
    return text


def region(text: str) -> str:
    """`auto` in lower case, or a region name, which is a label of a host name."""
    if not re.fullmatch(_LABEL, text, re.ASCII) or text.isdecimal():
        raise ValueError
    return "auto" if text.lower() == "auto" else text


def key_prefix(text: str) -> str:
    """Start of every object key, never one that could lead out of the bucket."""
    if len(text.encode()) > 512 or any(unicodedata.category(char) == "Cc" for char in text):
        raise ValueError
    if text.startswith("/"):
        raise HintedError("leave out the leading /")
    if not {".", ".."}.isdisjoint(text.split("/")):
        raise ValueError
    return text


def admin_prefix(text: str) -> str:
    """Path prefix like `/-`, of the unreserved characters of RFC 3986 §2.3."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text, re.ASCII) or len(text) > 128:
        raise ValueError
    # Requests for such segments are refused before any route is looked at.
    if not {".", ".."}.isdisjoint(text.split("/")):
        raise ValueError
    return text
