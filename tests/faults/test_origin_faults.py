"""Every origin fault of the table: what the client gets, what is kept, logged and counted."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.cases import CASES, ENVIRON, LARGE, TIMEOUT, Case
from tests.faults.metrics import Counters
from tests.origins import ScriptedOrigin, Step, conditional, respond
from tests.raw_http import NoResponse, RawConnection, RawResponse
from tests.served.process import Served
from tests.server.conversation import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

HEALED = b"healed"
LOGGED = ("reason", "variable")


@pytest.fixture(scope="module")
def world() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        origin.on("warm", respond(200, b"warm", {"Cache-Control": "no-store"}))
        yield origin


@pytest.fixture(scope="module")
def proxy(world: ScriptedOrigin) -> Iterator[Served]:
    with Served(world.environ() | ENVIRON) as served:
        yield served


def ask(proxy: Served, key: str, *fields: str) -> RawResponse | None:
    """The reply to one request; None where the connection ended without one."""
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.get(f"/{key}", *fields)
        try:
            return client.read_response()
        except NoResponse:
            return None


def broken_by(case: Case, origin: ScriptedOrigin) -> contextlib.AbstractContextManager[None]:
    if callable(case.does):
        return case.does(origin)
    origin.on(case.slug, *case.does)
    return contextlib.nullcontext()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
def test_origin_fault(world: ScriptedOrigin, proxy: Served, case: Case) -> None:
    if case.parts is not None:
        world.on(case.slug, conditional(LARGE, '"v1"'))
        assert proxy.request("HEAD", f"/{case.slug}").status_code == 200
    # Leaves a connection for the next request, as there would be in service.
    assert proxy.get("/warm").status_code == 200
    before, asked = Counters(proxy), world.count(case.slug)
    fields = [] if case.parts is None else [f"Range: {case.parts}"]
    began = time.monotonic()
    with broken_by(case, world):
        reply = ask(proxy, case.slug, *fields)
    took = time.monotonic() - began

    what_the_client_gets(case, reply)
    assert took < 4 * TIMEOUT
    assert world.count(case.slug) - asked == case.asked
    what_is_logged_and_counted(case, proxy, Counters(proxy) - before)
    what_is_stored(case, proxy, world)


def what_the_client_gets(case: Case, reply: RawResponse | None) -> None:
    if case.status is None:
        assert reply is None or not reply.complete
        return
    assert reply is not None
    assert (reply.status, reply.complete) == (case.status, True)
    for name, value in case.headers:
        assert reply.header(name) == value.encode()
    if case.body is not None:
        assert reply.body == case.body
        for _, received in reply.headers:
            assert not any(byte < 32 or byte == 127 for byte in received)
        return
    assert reply.status >= 400
    for hint in (b"S3", b"bucket", b"127.0.0.1", b"boto", b"llhttp"):
        assert hint not in reply.body


def what_is_logged_and_counted(case: Case, proxy: Served, counted: Counters) -> None:
    assert counted.by_label("proxy_origin_errors_total", "reason") == (
        {} if case.reason is None else {case.reason: 1}
    )
    assert counted.total("proxy_origin_retries_total") == case.retries
    # The connection is let go of once the client has been told.
    eventually(lambda: Counters(proxy).gauge("proxy_origin_under_way") == 0)
    # A HEAD may have gone before.
    asked = (f"/{case.slug}", "GET")
    proxy.wait_for_log(lambda record: (record.get("path"), record.get("method")) == asked)
    told = [record for record in proxy.json_lines() if record.get("key") == case.slug]
    if case.reason is None:
        assert told == []
        return
    (record,) = told
    if case.reason == "access_denied":
        assert record["level"] == "WARNING"
        return
    assert record["level"] == "ERROR"
    assert record["reason"] == case.reason
    assert record.get("variable") == case.variable
    assert case.variable is None or case.variable in record["message"]
    assert "Traceback" not in proxy.output


def what_is_stored(case: Case, proxy: Served, world: ScriptedOrigin) -> None:
    """And that the origin, healed, is asked and answers as if nothing had been."""
    healed: Step = respond(200, HEALED, {"ETag": '"healed"'})
    world.on(case.slug, healed)
    if case.stored != "nothing":
        kept = ask(proxy, case.slug)
        assert kept is not None
        assert (kept.status, kept.header("X-Cache")) == (case.status, b"HIT")
        if case.stored == "object":
            assert kept.body == case.body
        assert proxy.admin("POST", "/cache/purge", json={"keys": [case.slug]}).status_code == 200
    again = ask(proxy, case.slug)
    assert again is not None
    assert (again.status, again.body, again.complete) == (200, HEALED, True)
    once_more = ask(proxy, case.slug)
    assert once_more is not None
    assert once_more.header("X-Cache") == b"HIT"
