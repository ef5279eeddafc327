"""The door to memory: says what the gateway says, for as long as the gateway says it."""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING
from weakref import ref

import pytest

from proxy.cache.seen import Seen
from proxy.core.http_date import format_http_date
from proxy.core.messages import Request
from proxy.purge import Purge
from proxy.server.answered import Answered, PlainReply
from proxy.server.fast_door import Body, FastDoor, Unanswered
from proxy.server.framing import MAX_HEAD_BYTES
from proxy.server.page_pipe import Pages
from proxy.server.protocol import LOOKED_AT
from proxy.server.reply import Reply
from tests.gateway.subject import Proxy
from tests.origins import ScriptedOrigin, conditional, respond

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = b"0123456789"
FIELDS = {"Cache-Control": "max-age=10", "Content-Type": "text/plain", "ETag": '"v1"'}


@pytest.fixture
async def proxy(origin: ScriptedOrigin) -> AsyncIterator[Proxy]:
    origin.on("k", respond(200, BODY, FIELDS))
    async with Proxy(origin.endpoint) as proxy:
        yield proxy


@pytest.fixture
def door(proxy: Proxy) -> FastDoor:
    return FastDoor(proxy.gateway, "")


def asked(
    door: FastDoor, *fields: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/k"
) -> tuple[int, bytes, bytes] | None:
    read = [(b"host", b"h"), *(f for f in fields if f[0] in LOOKED_AT)]
    found = door.answer(method, target, read, list(fields))
    if found is None or isinstance(found, Unanswered):
        return None
    reply, body = found
    return reply.status, reply.head, contents(door, reply, body)


def contents(door: FastDoor, reply: Answered, body: Body) -> bytes:
    whole: bytes | memoryview | None
    if isinstance(body, Pages):
        assert isinstance(reply, Reply)
        whole = door.contents(reply)
        assert whole is not None
    else:
        whole = body
    return bytes(whole)


def as_the_gateway_says(proxy: Proxy, *fields: tuple[bytes, bytes]) -> tuple[int, bytes, bytes]:
    recalled = proxy.gateway.memory.recall(Request.from_fields("GET", "k", fields))
    assert recalled is not None
    told = list(recalled.head.fields)
    if b"date" not in dict(told):
        # An error's is made here (RFC 9110 §6.6.1).
        told.append((b"date", format_http_date(proxy.clock.now).encode()))
    lines = [b"%b: %b\r\n" % field for field in told]
    head = b"HTTP/1.1 %d " % recalled.head.status, b"".join(lines) + b"x-request-id: "
    return recalled.head.status, head[1], bytes(recalled.body)


async def test_what_is_not_stored_is_unanswered(door: FastDoor) -> None:
    fields = [(b"host", b"h"), (b"authorization", b"x")]
    found = door.answer(b"GET", b"/k?q", fields[:1], fields)
    assert isinstance(found, Unanswered)
    assert (found.request.key, found.request.authorized) == ("k", True)
    assert found.sighting is not None
    assert found.sighting.found is None


async def test_a_hit_is_answered(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    found = asked(door)
    assert found is not None
    status, head, body = found
    assert (status, body) == (200, BODY)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\nx-request-id: ")
    assert b"\r\nx-cache: HIT\r\n" in head


@pytest.mark.parametrize("in_hand", [True, False], ids=["in hand", "in the store alone"])
@pytest.mark.parametrize(
    "fields",
    [
        (),
        ((b"if-none-match", b'"v1"'),),
        ((b"if-none-match", b'"other"'),),
        ((b"if-match", b'"other"'),),
        ((b"range", b"bytes=2-4"),),
        ((b"range", b"bytes=99-"),),
        ((b"cache-control", b"max-age=4"),),
        ((b"cache-control", b"min-fresh=5"),),
        ((b"user-agent", b"whoever"),),
    ],
)
async def test_each_moment_it_says_what_the_gateway_says(
    door: FastDoor, proxy: Proxy, fields: tuple[tuple[bytes, bytes], ...], in_hand: bool
) -> None:
    await proxy.get("k")
    for _ in range(40):
        proxy.clock.advance(0.26)
        if not in_hand:
            proxy.cache._local.clear()
        found = asked(door, *fields)
        recalled = proxy.gateway.memory.recall(Request.from_fields("GET", "k", fields))
        if recalled is None:
            assert found is None
        else:
            assert found is not None
            status, head, body = as_the_gateway_says(proxy, *fields)
            assert (found[0], found[2]) == (status, body)
            assert found[1].partition(b"\r\n")[2] == head


@pytest.mark.parametrize(
    ("size", "fields", "is_plain"),
    [
        (10, {}, True),
        (0, {}, True),
        (16 * 1024 - 1, {}, True),
        (16 * 1024, {}, False),
        (10, {"Cache-Control": "max-age=10, no-cache"}, None),
        (10, {"Vary": "Accept"}, None),
    ],
)
async def test_the_first_answer_is_the_one_that_lasts(
    proxy: Proxy, origin: ScriptedOrigin, size: int, fields: dict[str, str], is_plain: bool | None
) -> None:
    origin.on("k", respond(200, b"x" * size, FIELDS | fields))
    await proxy.get("k")
    door = FastDoor(proxy.gateway, "")
    for advance in (0.0, 0.7, 9.2, 0.2):
        proxy.clock.advance(advance)
        door._seen = Seen()
        first, again = asked(door), asked(door)
        assert first == again
        assert (first is None) == (is_plain is None or proxy.clock.now >= 1_700_000_010)
    await proxy.purge("k")
    await proxy.get("k")
    for number in range(3):
        found = door.answer(b"GET", b"/k?%d" % number, [], [])
        assert is_plain is None or isinstance(found, tuple)
        if isinstance(found, tuple):
            assert isinstance(found[0], PlainReply) == is_plain
    assert not door._heads


async def test_an_age_counts_the_seconds(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    ages = []
    for _ in range(6):
        found = asked(door)
        assert found is not None
        ages.append(int(found[1].partition(b"\r\nage: ")[2].partition(b"\r\n")[0]))
        proxy.clock.advance(0.5)
    assert ages == [0, 0, 1, 1, 2, 2]


async def test_nothing_is_answered_past_its_freshness(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    proxy.clock.advance(9.999)
    assert asked(door) is not None
    proxy.clock.advance(0.001)
    assert asked(door) is None


@pytest.mark.parametrize("soft", [False, True])
async def test_a_purge_ends_it_at_once(door: FastDoor, proxy: Proxy, soft: bool) -> None:
    await proxy.get("k")
    assert asked(door) is not None
    await proxy.gateway.purge(Purge(frozenset({"k"}), soft=soft))
    assert asked(door) is None


async def test_a_new_version_is_answered_at_once(
    door: FastDoor, proxy: Proxy, origin: ScriptedOrigin
) -> None:
    await proxy.get("k")
    assert asked(door) is not None
    origin.on("k", conditional(b"new", '"v2"', headers={"Cache-Control": "max-age=10"}))
    await proxy.get("k", "Cache-Control: no-cache")
    found = asked(door)
    assert found is not None
    assert found[2] == b"new"
    assert b'"v2"' in found[1]


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
async def test_a_request_with_a_body_is_left_to_the_application(
    door: FastDoor, proxy: Proxy, name: bytes
) -> None:
    await proxy.get("k")
    assert asked(door, (name, b"3")) is None


@pytest.mark.parametrize("method", [b"POST", b"OPTIONS", b"DELETE"])
async def test_other_methods_are_left_to_the_application(
    door: FastDoor, proxy: Proxy, method: bytes
) -> None:
    await proxy.get("k")
    assert asked(door, method=method) is None


@pytest.mark.parametrize("target", [b"/..", b"/%zz", b"/", b"*", b"/" + b"k" * 2000])
async def test_targets_that_name_no_key_are_left_to_the_application(
    door: FastDoor, proxy: Proxy, target: bytes
) -> None:
    await proxy.get("k")
    assert asked(door, target=target) is None


async def test_a_head_has_the_fields_of_a_get_and_no_body(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    get, head = asked(door), asked(door, method=b"HEAD")
    assert get is not None
    assert head is not None
    assert (head[1], head[2]) == (get[1], b"")


async def test_what_a_client_makes_up_does_not_fill_memory(proxy: Proxy) -> None:
    door = FastDoor(proxy.gateway, "", room=100_000)
    head = b"GET %b HTTP/1.1\r\n%b"
    await proxy.get("k")
    for number in range(200):
        target = b"/k?%d" % number
        for _ in range(2):
            found = door.answer(b"GET", target, [], [])
            assert isinstance(found, tuple)
            door.remember_head(head % (target * 50, target * 50), found[0], ())
    for remembered in (door._replies, door._heads):
        assert remembered.bytes <= 100_000
        assert 0 < len(remembered) < 200
    assert door._rests.bytes <= 100_000 / 16
    assert 0 < len(door._rests) < 100
    assert door.answer_head(head % (b"/k?199" * 50, b"/k?199" * 50)) is not None
    assert door.answer_head(head % (b"/k?0" * 50, b"/k?0" * 50)) is None


async def test_what_is_asked_for_once_is_not_remembered(proxy: Proxy, door: FastDoor) -> None:
    await proxy.get("k")
    for number in range(200):
        head = b"GET /k?%d HTTP/1.1\r\n%b" % (number, REST)
        found = door.answer_head(head) or door.answer(b"GET", b"/k?%d" % number, [], [])
        assert isinstance(found, tuple)
        door.remember_head(head, found[0], ())
    assert not door._replies
    assert not door._heads
    assert len(door._rests) == 1


REST = b"Host: h\r\nUser-Agent: browser\r\n\r\n"


async def learn(door: FastDoor, proxy: Proxy, rest: bytes, *fields: tuple[bytes, bytes]) -> None:
    await proxy.get("k")
    found = door.answer(b"GET", b"/k", list(fields), list(fields))
    assert isinstance(found, tuple)
    door.remember_head(b"GET /k HTTP/1.1\r\n" + rest, found[0], (b"line",))


async def test_of_a_known_rest_only_the_first_line_is_read(
    proxy: Proxy, door: FastDoor, origin: ScriptedOrigin
) -> None:
    origin.on("other", respond(200, b"other", FIELDS))
    await proxy.get("other")
    await learn(door, proxy, REST)
    for _ in range(3):
        for method, body in ((b"GET", b"other"), (b"HEAD", b"")):
            found = door.answer_head(method + b" /other HTTP/1.1\r\n" + REST)
            assert found is not None
            reply, sent, lines = found
            assert (reply.status, contents(door, reply, sent), lines) == (200, body, (b"line",))
            assert (reply.method, reply.path) == (method.decode(), "/other")


async def test_fields_of_a_known_rest_have_their_say(proxy: Proxy, door: FastDoor) -> None:
    rest = b'Host: h\r\nIf-None-Match: "v1"\r\n\r\n'
    await learn(door, proxy, rest, (b"if-none-match", b'"v1"'))
    for query in range(5):
        found = door.answer_head(b"GET /k?%d HTTP/1.1\r\n%b" % (query, rest))
        assert found is not None
        assert found[0].status == 304


@pytest.mark.parametrize(
    "line",
    [
        b"POST /k HTTP/1.1",
        b"get /k HTTP/1.1",
        b"GET  /k HTTP/1.1",
        b"GET /k HTTP/1.0",
        b"GET /k HTTP/1.1 ",
        b"GET /k HTTP/1.11",
        b"GET /k\nX: y HTTP/1.1",
        b"GET /k#f HTTP/1.1",
        b"GET k HTTP/1.1",
        b"GET http://h/k HTTP/1.1",
        b"GET /k\x00 HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b"GET /k\\ HTTP/1.1",
        b"GET /k",
        b"",
        b"\r\nGET /k HTTP/1.1",
    ],
)
async def test_a_first_line_in_doubt_is_left_to_the_parser(
    proxy: Proxy, door: FastDoor, line: bytes
) -> None:
    await learn(door, proxy, REST)
    assert door.answer_head(b"GET /k HTTP/1.1\r\n" + REST) is not None
    assert door.answer_head(line + b"\r\n" + REST) is None


@pytest.mark.parametrize("ends", [b"\r\n", b"\r\n\r\n", b"\n"])
async def test_a_request_line_behind_line_ends_is_not_taken_for_a_field(
    proxy: Proxy, door: FastDoor, ends: bytes
) -> None:
    # RFC 9112 §2.2: the parser lets these pass before a request.
    head = ends + b"GET /k HTTP/1.1\r\n" + REST
    await proxy.get("k")
    for _ in range(2):
        found = door.answer(b"GET", b"/k", [], [])
        assert isinstance(found, tuple)
        door.remember_head(head, found[0], ())
    assert door.answer_head(head) is not None
    assert door.answer_head(b"GET /k?other HTTP/1.1\r\n" + head.removeprefix(b"\r\n")) is None


async def test_a_head_beyond_the_limit_is_left_to_the_parser(proxy: Proxy, door: FastDoor) -> None:
    await learn(door, proxy, REST)
    around = len(b"GET /k? HTTP/1.1\r\n" + REST)
    for excess in (0, 1):
        query = b"x" * (MAX_HEAD_BYTES - around + excess)
        found = door.answer_head(b"GET /k?" + query + b" HTTP/1.1\r\n" + REST)
        assert (found is None) == bool(excess)


async def test_two_requests_are_not_taken_for_one(proxy: Proxy, door: FastDoor) -> None:
    await learn(door, proxy, REST)
    head = b"GET /k?other HTTP/1.1\r\n" + REST
    assert door.answer_head(head + head) is None
    assert door.answer_head(head + b"G") is None
    assert door.answer_head(head[:-1]) is None
    assert door.answer_head(head) is not None


async def test_what_is_long_is_not_remembered(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    for turn in range(3):
        asked(door, target=b"/k?" + b"x" * 5000)
        asked(door, *[(b"range", b"")] * 100)
        assert not door._replies
        found = door.answer(b"GET", b"/k?%d" % turn, [], [])
        assert isinstance(found, tuple)
        door.remember_head(b"x" * 5000, found[0], ())
        assert not door._heads
        assert not door._rests


async def test_room_taken_is_given_back(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    asked(door)
    asked(door)
    once = door._replies.bytes
    assert once > 0
    for _ in range(5):
        await proxy.gateway.purge(Purge(everything=True))
        await proxy.get("k")
        asked(door)
    assert door._replies.bytes == pytest.approx(once, abs=10)


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 262_143, 262_144])
async def test_a_body_of_any_size_is_given_out_again_and_again(
    proxy: Proxy, door: FastDoor, origin: ScriptedOrigin, size: int
) -> None:
    body = random.Random(size).randbytes(size)
    origin.on("sized", respond(200, body, FIELDS))
    await proxy.get("sized")
    for turn in range(60):
        if turn % 20 == 0:
            proxy.cache._local.clear()
        found = asked(door, target=b"/sized")
        assert found is not None
        assert found[2] == body
    await proxy.gateway.purge(Purge(everything=True))
    assert asked(door, target=b"/sized") is None


async def test_a_large_body_that_is_still_being_sent_is_not_taken_out_again(
    proxy: Proxy, door: FastDoor, origin: ScriptedOrigin
) -> None:
    body = random.Random(3).randbytes(300_000)
    origin.on("large", respond(200, body, FIELDS))
    await proxy.get("large")
    for _ in range(3):
        assert asked(door, target=b"/large") is not None
    proxy.cache._local.clear()
    found = [door.answer(b"GET", b"/large", [], []) for _ in range(2)]
    assert isinstance(found[0], tuple)
    assert isinstance(found[1], tuple)
    assert found[0][1] is found[1][1]
    assert found[1][1] == body
    alive = ref(found[0][1])
    del found
    gc.collect()
    assert alive() is None
    again = asked(door, target=b"/large")
    assert again is not None
    assert again[2] == body
    await proxy.gateway.purge(Purge(everything=True))
    assert asked(door, target=b"/large") is None


async def test_remembering_keeps_no_body_alive(door: FastDoor, proxy: Proxy) -> None:
    await proxy.get("k")
    for _ in range(3):
        assert asked(door) is not None
    assert door._replies
    stored = proxy.store.get("k")
    assert stored is not None
    alive = ref(stored)
    del stored
    await proxy.gateway.purge(Purge(everything=True))
    gc.collect()
    assert alive() is None


async def test_a_long_part_is_left_to_the_application(
    proxy: Proxy, door: FastDoor, origin: ScriptedOrigin
) -> None:
    origin.on("long", respond(200, b"x" * 300_000, FIELDS))
    await proxy.get("long")
    assert asked(door, target=b"/long") is not None
    assert asked(door, (b"range", b"bytes=0-9"), target=b"/long") is not None
    assert asked(door, (b"range", b"bytes=1-"), target=b"/long") is None
