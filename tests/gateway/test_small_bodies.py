"""A small body is answered with whole where it comes at once, else read along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.answer import Body
from tests.gateway.subject import ReplyReader
from tests.origins import ScriptedOrigin, cut_after, respond
from tests.origins.steps import Answer

if TYPE_CHECKING:
    from tests.gateway.conftest import NewProxy

SMALL = b"small" * 100


async def test_a_small_body_is_whole_and_stored_when_it_is_answered_with(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy()
    origin.on("a", respond(body=SMALL))
    answer = await proxy.answer("a")
    try:
        assert answer.body == SMALL
        assert proxy.store.get("a") is not None
    finally:
        answer.close()


async def test_a_head_does_not_wait_for_a_small_body_that_is_held_back(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy()
    gate = origin.gate()
    origin.on("a", Answer(body=SMALL, piece=len(SMALL) - 1, gate=gate))
    answer = await proxy.answer("a")
    assert answer.head.status == 200
    assert isinstance(answer.body, Body)
    gate.open()
    assert (await ReplyReader(answer).rest()).body == SMALL


async def test_a_small_body_that_breaks_off_at_once_does_not_look_complete(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", cut_after(5, respond(body=SMALL)))
    reply = await proxy.get("a")
    assert reply.error is not None
    await proxy.idle()
    assert proxy.store.entries == 0


async def test_a_large_body_is_read_along_even_if_it_is_here(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy()
    large = bytes(64 * 1024 + 1)
    origin.on("a", respond(body=large))
    answer = await proxy.answer("a")
    assert isinstance(answer.body, Body)
    assert (await ReplyReader(answer).rest()).body == large
