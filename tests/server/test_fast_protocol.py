"""Requests that come again in the very same bytes are answered without being parsed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, conditional, respond
from tests.raw_http import RawConnection
from tests.served.process import Served
from tests.server.conversation import eventually, request, rest_of
from tests.server.process_state import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raw_http import OpenRaw, RawResponse
    from tests.served.process import LogRecord, Serve

FRESH = {"Cache-Control": "max-age=600", "Content-Type": "text/plain", "ETag": '"e"'}


def warmed(served: Served) -> Served:
    """Has `/a` in memory, and its head among those that it knows."""
    with RawConnection("127.0.0.1", served.port) as client:
        ask(client, 3)
    return served


@pytest.fixture(scope="module")
def warm() -> Iterator[Served]:
    """Does nothing but answer; `/a` is known. For tests that change nothing in it."""
    with ScriptedOrigin() as origin:
        origin.on("a", respond(200, b"hello", FRESH))
        origin.on("missing", respond(404))
        with Served(origin.environ() | {"ACCESS_LOG": "off"}) as served:
            yield warmed(served)


@pytest.fixture
def own_warm(serve: Serve, origin: ScriptedOrigin) -> Served:
    """As ``warm``, for one test alone."""
    origin.on("a", respond(200, b"hello", FRESH))
    return warmed(serve(origin, ACCESS_LOG="off"))


def ask(client: RawConnection, times: int, sent: bytes | None = None) -> list[RawResponse]:
    answers = []
    for _ in range(times):
        client.send(request("/a") if sent is None else sent)
        answers.append(client.read_response())
    return answers


def cache(answer: RawResponse) -> bytes | None:
    return answer.header("X-Cache")


def test_each_answer_is_whole_and_has_an_id_of_its_own(warm: Served, raw: OpenRaw) -> None:
    answers = ask(raw(warm.port), 20)
    assert {(answer.status, answer.body, cache(answer)) for answer in answers} == {
        (200, b"hello", b"HIT")
    }
    assert len({answer.header("X-Request-ID") for answer in answers}) == 20


def test_it_is_the_answer_that_was_parsed_for(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    [parsed] = ask(client, 1, request("/a", "X-New: one"))
    [known] = ask(client, 1, request("/a", "X-New: one"))
    names = [name for name, _ in parsed.headers]
    assert [name for name, _ in known.headers] == names
    volatile = {b"age", b"cache-status", b"x-request-id"}
    assert [f for f in known.headers if f[0].lower() not in volatile] == [
        f for f in parsed.headers if f[0].lower() not in volatile
    ]


def test_the_age_goes_on(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    [first] = ask(client, 1)
    began = int(first.header("Age") or b"")
    ages: set[int] = set()

    def older() -> bool:
        [answer] = ask(client, 1)
        ages.add(int(answer.header("Age") or b""))
        ttl = int((answer.header("Cache-Status") or b"").rpartition(b"ttl=")[2])
        assert max(ages) + ttl in {599, 600}
        return began + 2 in ages

    eventually(older)
    assert ages <= {began, began + 1, began + 2}


def test_a_head_request_has_no_body(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    for _ in range(3):
        client.send(request("/a", method="HEAD"))
        answer = client.read_response("HEAD")
        assert (answer.status, answer.header("Content-Length")) == (200, b"5")
    [answer] = ask(client, 1)
    assert answer.body == b"hello"


@pytest.mark.parametrize(
    ("field", "status", "body"),
    [('If-None-Match: "e"', 304, b""), ("Range: bytes=1-2", 206, b"el")],
)
def test_conditions_and_ranges_are_remembered_with_the_head(
    warm: Served, raw: OpenRaw, field: str, status: int, body: bytes
) -> None:
    answers = ask(raw(warm.port), 3, request("/a", field))
    assert {(answer.status, answer.body) for answer in answers} == {(status, body)}


def test_a_purge_holds_for_known_heads(
    own_warm: Served, raw: OpenRaw, origin: ScriptedOrigin
) -> None:
    client = raw(own_warm.port)
    ask(client, 2)
    origin.on("a", respond(200, b"newer", FRESH))
    purged = own_warm.admin("POST", "/cache/purge", json={"keys": ["a"]})
    assert purged.json()["purged"] == 1
    answers = ask(client, 3)
    assert [(answer.body, cache(answer)) for answer in answers] == [
        (b"newer", b"MISS"),
        (b"newer", b"HIT"),
        (b"newer", b"HIT"),
    ]


def test_a_new_version_is_answered_at_once(
    own_warm: Served, raw: OpenRaw, origin: ScriptedOrigin
) -> None:
    client = raw(own_warm.port)
    ask(client, 2)
    origin.on("a", conditional(b"newer", '"f"', headers=FRESH))
    ask(client, 1, request("/a", "Cache-Control: no-cache"))
    answers = ask(client, 2)
    assert {(answer.body, answer.header("ETag")) for answer in answers} == {(b"newer", b'"f"')}


def test_what_becomes_stale_is_validated(
    serve: Serve, raw: OpenRaw, origin: ScriptedOrigin
) -> None:
    origin.on("a", conditional(b"short", '"e"', headers={"Cache-Control": "max-age=1"}))
    served = serve(origin, CACHE_STALE_TTL="0s")
    client = raw(served.port)
    seen: list[bytes | None] = []

    def validated() -> bool:
        [answer] = ask(client, 1)
        seen.append(cache(answer))
        return b"REVALIDATED" in seen

    eventually(validated)
    assert b"HIT" in seen
    assert len(origin.requests) == 2


def test_known_heads_glued_together_are_answered_one_by_one(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    for glued in (2, 3, 50):
        client.send(request("/a") * glued)
        answers = [client.read_response() for _ in range(glued)]
        assert {answer.body for answer in answers} == {b"hello"}
    [answer] = ask(client, 1)
    assert answer.body == b"hello"


def test_a_pair_sent_twice_is_answered_twice(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    for _ in range(3):
        client.send(request("/a") + request("/a", method="HEAD"))
        assert client.read_response().body == b"hello"
        assert client.read_response("HEAD").status == 200
    assert rest_after(client, request("/a", "Connection: close")) == [b"hello"]


def rest_after(client: RawConnection, sent: bytes) -> list[bytes]:
    client.send(sent)
    return [answer.body for answer in rest_of(client)]


@pytest.mark.parametrize("at", [1, 3, 20, -3, -1])
def test_a_known_head_in_two_packets_is_one_request(warm: Served, raw: OpenRaw, at: int) -> None:
    client = raw(warm.port)
    head = request("/a")
    for _ in range(2):
        client.send(head[:at])
        time.sleep(0.02)
        client.send(head[at:])
        assert client.read_response().body == b"hello"
        # Whole ones before and after.
        [answer] = ask(client, 1)
        assert answer.body == b"hello"


def test_a_known_head_behind_half_of_another_belongs_to_that(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    ask(client, 1)
    client.send(b"POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(request()))
    assert client.read_response().status == 405
    # A packet of its own, and yet the body.
    time.sleep(0.05)
    client.send(request("/a"))
    time.sleep(0.05)
    client.send(request("/none"))
    assert client.read_response().status == 404
    assert rest_after(client, request("/a", "Connection: close")) == [b"hello"]


def test_a_known_head_inside_a_header_is_a_header(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    client.send(b"GET /a HTTP/1.1\r\nHost: test\r\nX-Rest: ")
    time.sleep(0.02)
    client.send(request("/a"))
    answers = rest_of(client)
    assert [answer.status for answer in answers] in ([200], [400])


def test_a_request_with_a_body_is_never_taken_for_known(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    sent = request("/a", "Content-Length: 3", body=b"abc")
    assert [answer.body for answer in ask(client, 3, sent)] == [b"hello"] * 3
    [answer] = ask(client, 1)
    assert answer.body == b"hello"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_connection_that_is_to_close_closes_each_time(
    warm: Served, raw: OpenRaw, version: str
) -> None:
    sent = request("/a", "Connection: close", version=version)
    for _ in range(3):
        assert rest_after(raw(warm.port), sent) == [b"hello"]


def test_line_ends_between_requests_do_not_matter(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    ask(client, 1)
    client.send(b"\r\n")
    assert [answer.body for answer in ask(client, 2)] == [b"hello"] * 2
    client.send(request("/a") + b"\r\n")
    assert client.read_response().body == b"hello"
    assert [answer.body for answer in ask(client, 2)] == [b"hello"] * 2


def test_the_first_packet_of_a_connection_can_be_known(warm: Served, raw: OpenRaw) -> None:
    for _ in range(3):
        assert [answer.body for answer in ask(raw(warm.port), 1)] == [b"hello"]


@pytest.mark.parametrize("size", [16_000, 2**20])
def test_a_client_that_does_not_read_does_not_fill_memory(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw, size: int
) -> None:
    body = b"0123456789abcdef" * (size // 16)
    origin.on("a", respond(200, body, FRESH))
    served = serve(origin, ACCESS_LOG="off")
    client = raw(served.port, receive_buffer=65536)
    ask(client, 2)
    before = resident_bytes(served)
    times = 60 * 2**20 // size
    for _ in range(times):
        client.send(request("/a"))
    time.sleep(0.3)
    assert resident_bytes(served) - before < 16 * 2**20
    for _ in range(times):
        assert client.read_response().body == body
    assert [answer.body == body for answer in ask(client, 2)] == [True, True]


def test_known_heads_keep_a_connection_open_and_silence_ends_it(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    served = serve(origin, IDLE_TIMEOUT="800ms", READ_TIMEOUT="400ms", ACCESS_LOG="off")
    ask(raw(served.port), 2)
    client = raw(served.port)
    until = time.monotonic() + 2
    while time.monotonic() < until:
        ask(client, 1)
        time.sleep(0.1)
    began = time.monotonic()
    assert client.read_eof()
    assert 0.5 < time.monotonic() - began < 2


def test_a_slow_head_after_known_ones_is_timed_from_its_own_begin(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    served = serve(origin, READ_TIMEOUT="1s", ACCESS_LOG="off")
    ask(raw(served.port), 2)
    client = raw(served.port)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        ask(client, 1)
        time.sleep(0.05)
    client.send(request("/a")[:10])
    began = time.monotonic()
    assert client.read_response().status == 408
    assert 0.7 < time.monotonic() - began < 2


def test_counters_count_known_heads(warm: Served, raw: OpenRaw) -> None:
    def value(name: str) -> float:
        text = warm.admin("GET", "/metrics").text
        [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])

    hits = value("proxy_cache_hits_total")
    ask(raw(warm.port), 25)
    assert value("proxy_cache_hits_total") - hits == 25
    assert value("proxy_bytes_served_total") >= 25 * 5


@pytest.mark.parametrize("form", ["json", "text"])
def test_each_known_head_has_its_line(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw, form: str
) -> None:
    origin.on("ü", respond(200, b"hello", FRESH))
    served = serve(origin, LOG_FORMAT=form)
    sent = request("/%C3%BC?token=secret")
    ids = [
        (answer.header("X-Request-ID") or b"").decode()
        for answer in ask(raw(served.port), 40, sent)
    ]
    lines = [served.wait_for_line(number) for number in ids]
    assert len(set(lines)) == 40
    assert "secret" not in served.output
    if form == "json":
        records = [json.loads(line) for line in lines]
        assert {tuple(record) for record in records} == {tuple(records[0])}
        known = records[-1]
        assert (known["method"], known["path"], known["status"]) == ("GET", "/%C3%BC", 200)
        assert (known["bytes"], known["cache"], known["client"]) == (5, "HIT", "127.0.0.1")
        assert 0 < known["duration_ms"] < 1000
        assert (known["logger"], known["level"]) == ("s3proxy.access", "INFO")
        # The first went through Django, which logs after the client has its answer.
        times = [record["time"] for record in records[1:]]
        assert times == sorted(times)
    else:
        assert "method=GET path=/%C3%BC status=200 bytes=5 duration_ms=" in lines[-1]
        assert " client=127.0.0.1 cache=HIT request_id=" in lines[-1]


def test_no_line_is_missing_at_the_end_and_hits_are_in_order(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    served = serve(origin)
    client = raw(served.port)
    ids = []
    for number in range(300):
        [answer] = ask(client, 1, request("/none") if number % 50 == 3 else None)
        ids.append((answer.header("X-Request-ID") or b"").decode())
    assert served.terminate() == 0
    logged = [record for record in served.json_lines() if record.get("path") in {"/a", "/none"}]
    assert sorted(record["request_id"] for record in logged) == ids
    hits = [record["request_id"] for record in logged if record["cache"] == "HIT"]
    assert hits == sorted(hits)


def line_of(served: Served, answer: RawResponse) -> LogRecord:
    number = (answer.header("X-Request-ID") or b"").decode()
    return served.wait_for_log(lambda record: record.get("request_id") == number)


def test_a_forwarded_client_is_logged_for_known_heads(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    served = serve(origin, TRUSTED_PROXIES="127.0.0.0/8")
    client = raw(served.port)
    for address, logged in (("192.0.2.1", "192.0.2.1"), ("192.0.2.2", "192.0.2.2")):
        for answer in ask(client, 3, request("/a", f"X-Forwarded-For: 9.9.9.9, {address}")):
            line = line_of(served, answer)
            assert line["client"] == logged


def test_an_address_that_would_break_a_line_is_quoted(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    served = serve(origin, TRUSTED_PROXIES="127.0.0.0/8")
    sent = request("/a", 'X-Forwarded-For: fe80::1%x",x="y')
    for answer in ask(raw(served.port), 3, sent):
        line = line_of(served, answer)
        assert line["path"] == "/a"


def test_known_heads_count_against_the_limit(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    # Five requests in a window of two seconds.
    served = serve(origin, RATE_LIMIT_RPS="2.5", TRUSTED_PROXIES="127.0.0.0/8")
    client = raw(served.port)
    sent = request("/a", "X-Forwarded-For: 192.0.2.1")
    answers = ask(client, 30, sent)
    admitted = [answer for answer in answers if answer.status == 200]
    # The clock may begin a second window under the test.
    assert 5 <= len(admitted) <= 10
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.header("Retry-After") in {b"1", b"2"}
    # Another client, and with health checks nobody, is not limited by that.
    assert ask(client, 1, request("/a", "X-Forwarded-For: 192.0.2.2"))[0].status == 200
    assert {answer.status for answer in ask(client, 20, request("/healthz"))} == {200}


def test_a_high_limit_is_kept_to_the_request(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", respond(200, b"hello", FRESH))
    served = serve(origin, RATE_LIMIT_RPS="500")
    client = raw(served.port)
    began = time.time()
    admitted = 0
    while time.time() - began < 1.5:
        admitted += sum(answer.status == 200 for answer in ask(client, 10))
    windows = int(time.time()) - int(began) + 1
    assert 400 < admitted <= 500 * windows


def test_a_stopping_server_lets_known_clients_go(own_warm: Served, raw: OpenRaw) -> None:
    client = raw(own_warm.port)
    ask(client, 3)
    assert own_warm.terminate() == 0
    assert client.read_eof()


@pytest.mark.parametrize(
    "target",
    ["/a", "/a?q", "/%61", "/a/", "//a", "/./a", "/x/../a", "/%2e%2e/a", "/%", "/a%0a", "/healthz",
     "/readyz", "http://test/a", "/a#f", "*", "/", "/a;b", "/missing", "/a a", "/\xe9"],
)  # fmt: skip
def test_a_known_rest_of_a_head_changes_no_answer(warm: Served, raw: OpenRaw, target: str) -> None:
    known, new = "X-Browser: known", f"X-Browser: {target.encode().hex()}"
    ask(raw(warm.port), 3, request("/a", known))
    answers = []
    for field in (new, known, known):
        with RawConnection("127.0.0.1", warm.port) as client:
            [answer] = ask(client, 1, request(target, field))
            answers.append((answer.status, answer.body, answer.header("Content-Type")))
    assert answers[0] == answers[1] == answers[2]
