"""Who the client is."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.client_address import client_address, limiter_key

TRUSTED = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def from_trusted(*lines: bytes) -> str:
    return client_address("127.0.0.1", lines, TRUSTED)


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "11.0.0.1"])
def test_an_untrusted_peer_is_the_client_whatever_it_says(peer: str) -> None:
    assert client_address(peer, [b"203.0.113.9"], TRUSTED) == peer


def test_nobody_is_trusted_by_default() -> None:
    assert client_address("127.0.0.1", [b"203.0.113.9"], ()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "127.0.0.1"),
        ([b"203.0.113.9"], "203.0.113.9"),
        ([b"198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ([b"198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        ([b"198.51.100.1", b"203.0.113.9", b"10.1.2.3"], "203.0.113.9"),
        ([b"10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ([b"  203.0.113.9\t"], "203.0.113.9"),
        ([b"203.0.113.9:4711"], "203.0.113.9"),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
        ([b"2001:DB8:0::1"], "2001:db8::1"),
        ([b"::ffff:203.0.113.9"], "203.0.113.9"),
        ([b"203.0.113.9, ::ffff:10.0.0.1"], "203.0.113.9"),
        ([b"203.0.113.9, fd00::1"], "203.0.113.9"),
    ],
)
def test_of_a_list_the_rightmost_untrusted_address_is_the_client(
    lines: list[bytes], client: str
) -> None:
    assert from_trusted(*lines) == client


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b",",
        b"unknown",
        b"_hidden",
        b"203.0.113.999",
        b"1",
        b"0x7f.1",
        b"\xff\xfe",
        b"for=1.2.3.4",
        b"203.0.113.9/32",
        b"[",
        b"a" * 10_000,
    ],
)
def test_garbage_ends_the_list_at_the_last_trusted_address(garbage: bytes) -> None:
    assert from_trusted(garbage) == "127.0.0.1"
    # Whoever wrote the garbage could have written anything to its left.
    assert from_trusted(b"198.51.100.1, " + garbage + b", 10.0.0.7") == "10.0.0.7"


def test_a_mapped_peer_is_the_ipv4_address_it_is() -> None:
    assert client_address("::ffff:192.0.2.1", [], TRUSTED) == "192.0.2.1"
    assert client_address("::ffff:127.0.0.1", [b"203.0.113.9"], TRUSTED) == "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "client"), [(None, "-"), ("", "-"), ("/run/socket", "/run/socket")]
)
def test_a_peer_without_an_address(peer: str | None, client: str) -> None:
    assert client_address(peer, [b"203.0.113.9"], TRUSTED) == client


def test_ipv6_clients_are_counted_by_their_network() -> None:
    assert limiter_key("2001:db8:1:2::1") == limiter_key("2001:db8:1:2:ffff::9")
    assert limiter_key("2001:db8:1:2::1") != limiter_key("2001:db8:1:3::1")


def test_link_local_clients_are_counted_too() -> None:
    assert limiter_key("fe80::1%eth0") == limiter_key("fe80::2%eth0")


def test_ipv4_clients_are_counted_one_by_one() -> None:
    assert limiter_key("192.0.2.1") != limiter_key("192.0.2.2")
    assert limiter_key("::ffff:192.0.2.1") == limiter_key("192.0.2.1")
