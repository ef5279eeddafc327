"""A response cut at every byte is never taken for a whole one, and never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.subject import Proxy
from tests.origins import ScriptedOrigin, pause, raw_bytes, respond

if TYPE_CHECKING:
    from typing import Literal

    from tests.gateway.subject import Reply

HEAD = b'HTTP/1.1 200 OK\r\nETag: "v1"\r\n'
RESPONSES = {
    "length": HEAD + b"Content-Length: 11\r\n\r\nhello, body",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello,\r\n5\r\n body\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("framing", RESPONSES)
async def test_cut_at_every_byte(
    origin: ScriptedOrigin, framing: str, ending: Literal["close", "reset"]
) -> None:
    response = RESPONSES[framing]
    async with Proxy(origin.endpoint, retries=0) as proxy:
        for count in range(len(response)):
            key = f"cut-at-{count}"
            origin.on(key, raw_bytes(response[:count], ending))
            cut = await proxy.get(key)
            assert not looks_whole(cut), f"{count} bytes of {len(response)}: {cut}"
            await proxy.idle()
            assert proxy.store.entries == 0
            assert proxy.s3.admission.under_way == 0
        origin.on("healed", raw_bytes(response))
        healed = await proxy.get("healed")
        assert (healed.body, healed.error) == (b"hello, body", None)


async def test_cut_between_head_and_body_of_an_answer_without_a_length_by_reset(
    origin: ScriptedOrigin,
) -> None:
    # Ended by FIN it would be whole: nothing tells otherwise (RFC 9112 §8).
    body = b"hello, body"
    async with Proxy(origin.endpoint, retries=0) as proxy:
        for count in range(len(body)):
            key = f"cut-at-{count}"
            sent = raw_bytes(HEAD + b"\r\n" + body[:count], "keep")
            origin.on(key, sent, pause(0.03), raw_bytes(b"", "reset"))
            assert not looks_whole(await proxy.get(key))
        await proxy.idle()
        assert proxy.store.entries == 0


async def test_an_error_document_cut_at_every_byte_is_no_verdict(origin: ScriptedOrigin) -> None:
    document = b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(document)
    async with Proxy(origin.endpoint, retries=0) as proxy:
        for count in range(len(document)):
            key = f"cut-at-{count}"
            origin.on(key, raw_bytes(head + document[:count]))
            assert (await proxy.get(key)).status == 502
        await proxy.idle()
        assert proxy.store.entries == 0
        origin.on("next", respond(body=b"x"))
        assert (await proxy.get("next")).status == 200


def looks_whole(reply: Reply) -> bool:
    return reply.error is None and reply.status < 400
