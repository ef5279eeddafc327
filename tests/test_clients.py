"""Clients are worked out once each, and nobody can fill the memory with who they might be."""

from __future__ import annotations

import tracemalloc

import pytest

from proxy.clients import Client, Clients
from s3proxy_site import env
from tests.environment import BASELINE

HEADER = b"x-forwarded-for"


def clients(**environ: str) -> Clients:
    config, problems = env.parse(dict(BASELINE) | environ)
    assert config is not None, problems
    return Clients(config)


def test_a_client_is_worked_out_once() -> None:
    known = clients(TRUSTED_PROXIES="127.0.0.0/8")
    lines = known.lines([(b"host", b"h"), (HEADER, b"192.0.2.1")])
    assert known.client("127.0.0.1", lines) is known.client("127.0.0.1", lines)
    assert known.client("127.0.0.1", lines).address == "192.0.2.1"


def test_where_nobody_is_trusted_the_header_makes_no_difference() -> None:
    known = clients()
    assert known.lines([(HEADER, b"192.0.2.1")]) == ()
    assert known.client("192.0.2.9", ()) == Client("192.0.2.9", "192.0.2.9", b"192.0.2.9")


@pytest.mark.parametrize("length", [10, 30_000])
def test_the_last_address_counts_however_much_stands_before_it(length: int) -> None:
    known = clients(TRUSTED_PROXIES="127.0.0.0/8")
    lines = known.lines([(HEADER, b"x" * length + b", 192.0.2.1")])
    assert known.client("127.0.0.1", lines).address == "192.0.2.1"


@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.1"])
def test_long_made_up_headers_do_not_stay_in_memory(peer: str) -> None:
    known = clients(TRUSTED_PROXIES="127.0.0.0/8")
    tracemalloc.start()
    try:
        for number in range(300):
            known.client(peer, known.lines([(HEADER, b"%d " % number + b"x" * 20_000)]))
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All of them would be 6 MB.
    assert left < 500_000
