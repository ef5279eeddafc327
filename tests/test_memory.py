"""Answers from memory: the short way says what the long one does, wherever it says anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.backend import MemoryCache, forget_stores
from proxy.cache.purge_log import PurgeLog
from proxy.core.freshness import Freshness
from proxy.core.messages import Request, StoredResponse
from proxy.core.vary import Vary
from proxy.memory import Memory
from proxy.server.answered import PlainReply
from proxy.server.reply import Reply
from proxy.server.wire import field_lines
from proxy.store import Store
from tests.core.responses import NOW, stored_response
from tests.gateway.subject import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

BELOW = 30
NAMES = st.sampled_from([b"content-type", b"date", b"etag", b"expires", b"x-amz-meta-a"])
VALUES = st.binary(max_size=20).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b""))
BODIES = st.none() | st.binary(max_size=2 * BELOW)
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 99.5, 100.0, 1e9])
ASKED = (b"GET", b"/k", ())


@st.composite
def responses(draw: st.DrawFn) -> StoredResponse:
    body = draw(BODIES)
    told = draw(st.sampled_from([True, True, True, False]))
    return stored_response(
        status=draw(st.sampled_from([200, 200, 200, 203, 404, 410])),
        fields=tuple(draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))),
        body=body,
        length=len(body or b"") if told else draw(st.none() | st.integers(0, 100)),
        etag=draw(st.none() | st.just('"v1"')),
        initial_age=draw(SECONDS),
        response_time=NOW + draw(st.sampled_from([-50.25, 0.0, 50.0])),
        freshness=Freshness(
            draw(SECONDS), draw(SECONDS), 0.0, draw(st.booleans()), draw(st.booleans())
        ),
        vary=draw(st.none() | st.just(Vary((b"accept",), ((None,),)))),
    )


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    forget_stores()
    yield Store(MemoryCache("plain", {"OPTIONS": {"CLOCK": Clock(NOW)}}), PurgeLog())
    forget_stores()


@given(responses(), st.booleans(), SECONDS)
def test_a_plain_request_is_answered_alike(
    store: Store, response: StoredResponse, nosniff: bool, later: float
) -> None:
    now = NOW + later
    memory = Memory(store, Clock(now), nosniff=nosniff)
    # What lies scattered between other things is told in the long way alone.
    store._cache.clear()
    store._cache.put("k", response, None)
    recalled, plain = memory.recall(Request("GET", "k")), memory.recall_plain("k", BELOW)
    if plain is None:
        assert (
            recalled is None
            or recalled.head.status != 200
            or len(recalled.body) >= BELOW
            or response.body is None
            or response.length != len(response.body)
        )
        return
    assert recalled is not None
    lines = plain.stored + field_lines(plain.whole) + field_lines(plain.told)
    assert lines == field_lines(recalled.head.fields)
    assert (200, plain.body, plain.handling) == (
        recalled.head.status,
        recalled.body,
        recalled.handling,
    )
    once = PlainReply(ASKED, plain, lambda: now)
    lasting = Reply(ASKED, "k", recalled, now)
    assert (once.head, once.status, once.handling) == (
        lasting.head,
        lasting.status,
        lasting.handling,
    )


def test_what_was_purged_is_not_recalled(store: Store) -> None:
    memory = Memory(store, Clock(NOW), nosniff=True)
    store._cache.clear()
    store.put("k", stored_response(), NOW)
    assert memory.recall_plain("k", BELOW) is not None
    store.remove("k")
    assert memory.recall_plain("k", BELOW) is None
