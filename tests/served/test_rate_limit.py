"""RATE_LIMIT_RPS, TRUSTED_PROXIES and CLIENT_IP_HEADER of a running proxy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, respond
from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = "0.05"  # one request in twenty seconds: longer than these tests


@pytest.fixture(scope="module")
def hello() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello"))
        yield origin


@pytest.fixture(scope="module")
def limited(hello: ScriptedOrigin) -> Iterator[Served]:
    """Trusts this machine to say who the client is."""
    environ = {"RATE_LIMIT_RPS": SLOW, "TRUSTED_PROXIES": "127.0.0.0/8"}
    with Served(hello.environ() | environ) as served:
        yield served


def statuses(served: Served, *clients: str | None, header: str = "X-Forwarded-For") -> list[int]:
    return [
        served.get("/a", headers={} if client is None else {header: client}).status_code
        for client in clients
    ]


def test_hits_count_and_the_answer_says_when_to_come_again(limited: Served) -> None:
    client = {"X-Forwarded-For": "192.0.2.1"}
    assert limited.get("/a", headers=client).status_code == 200
    refused = limited.get("/a", headers=client)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.headers["X-Request-ID"]
    assert refused.headers["Cache-Control"] == "no-store"
    assert "X-Cache" not in refused.headers
    assert refused.text == "429 Too Many Requests\n"
    assert limited.request("HEAD", "/b", headers=client).status_code == 429


def test_health_checks_are_never_limited(limited: Served) -> None:
    answers = [limited.get("/healthz", headers={"X-Forwarded-For": "192.0.2.2"}) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}


def test_refusals_are_counted(limited: Served) -> None:
    client = {"X-Forwarded-For": "192.0.2.3"}
    for _ in range(3):
        limited.get("/a", headers=client)
    text = limited.admin("GET", "/metrics", headers={"X-Forwarded-For": "192.0.2.4"}).text
    [line] = [line for line in text.splitlines() if line.startswith("proxy_rate_limited_total ")]
    assert float(line.rpartition(" ")[2]) >= 2


def test_the_rightmost_untrusted_address_of_a_list_counts(limited: Served) -> None:
    assert statuses(limited, "9.9.9.1, 192.0.2.10", "9.9.9.2, 192.0.2.10, 127.0.0.9") == [200, 429]
    assert statuses(limited, "192.0.2.10, 192.0.2.11") == [200]


def test_a_list_over_several_lines_is_one_list(limited: Served) -> None:
    with RawConnection("127.0.0.1", limited.port) as client:
        for status in (200, 429):
            client.get("/a", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 192.0.2.12")
            assert client.read_response().status == status
        client.get("/a", "X-Forwarded-For: 192.0.2.12", "X-Forwarded-For: 192.0.2.13")
        assert client.read_response().status == 200


def test_garbage_counts_as_the_proxy_that_sent_it(limited: Served) -> None:
    first, *others = statuses(limited, "127.0.0.50", "x, 127.0.0.50", "9.9.9.9, <b>, 127.0.0.50")
    assert first == 200
    assert others == [429, 429]


def test_mapped_addresses_and_ports_are_the_same_client(limited: Served) -> None:
    assert statuses(limited, "192.0.2.20", "::ffff:192.0.2.20", "192.0.2.20:81") == [200, 429, 429]


def test_an_ipv6_network_is_one_client(limited: Served) -> None:
    assert statuses(limited, "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1") == [200, 429, 200]


def test_the_client_is_logged(limited: Served) -> None:
    limited.get("/logged", headers={"X-Forwarded-For": "192.0.2.30"})
    record = limited.wait_for_log(lambda record: record.get("path") == "/logged")
    assert record["client"] == "192.0.2.30"


def test_an_untrusted_peer_cannot_choose_its_address(hello: ScriptedOrigin) -> None:
    environ = {"RATE_LIMIT_RPS": SLOW, "TRUSTED_PROXIES": "10.0.0.0/8"}
    with Served(hello.environ() | environ) as served:
        assert statuses(served, "192.0.2.1", "192.0.2.2", "10.0.0.1") == [200, 429, 429]
        # By address, not by connection.
        for _ in range(2):
            with RawConnection("127.0.0.1", served.port) as client:
                client.get("/a")
                assert client.read_response().status == 429
        assert served.wait_for_log(lambda r: r.get("status") == 429)["client"] == "127.0.0.1"


def test_another_header_can_be_trusted_instead(hello: ScriptedOrigin) -> None:
    environ = {
        "RATE_LIMIT_RPS": SLOW,
        "TRUSTED_PROXIES": "127.0.0.1",
        "CLIENT_IP_HEADER": "X-Real-IP",
    }
    with Served(hello.environ() | environ) as served:
        found = statuses(served, "192.0.2.1", "192.0.2.1", "192.0.2.2", header="X-Real-IP")
        assert found == [200, 429, 200]
        # The default one means nothing then.
        assert statuses(served, "192.0.2.8", "192.0.2.9") == [200, 429]


def test_a_fraction_admits_one_request_in_its_window(hello: ScriptedOrigin) -> None:
    with Served(hello.environ() | {"RATE_LIMIT_RPS": "0.5"}) as served:
        began, admitted = time.monotonic(), 0
        while time.monotonic() - began < 4.2:
            answer = served.get("/a")
            admitted += answer.status_code == 200
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) in {1, 2}
            time.sleep(0.05)  # a client that asks again and again
        # Of the windows of two seconds that this touches, the first and last may be cut short.
        assert 2 <= admitted <= 4


def test_without_a_limit_nobody_is_refused(hello: ScriptedOrigin) -> None:
    with Served(hello.environ()) as served:
        assert set(statuses(served, *[None] * 200)) == {200}
