"""A response with Vary, through every door: RFC 9111 §4.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.origins import conditional

if TYPE_CHECKING:
    from tests.doors.door import Door
    from tests.origins import ScriptedOrigin

DE, EN = "Accept-Language: de", "Accept-Language: en"


@pytest.fixture
def varying(world: ScriptedOrigin, request: pytest.FixtureRequest) -> str:
    """The target of an object of its own."""
    name = f"varying-{abs(hash(request.node.nodeid))}"
    world.on(name, conditional(b"x", '"v1"', headers={"Vary": "Accept-Language"}))
    return f"/{name}"


async def test_it_is_validated_for_other_fields_alone(door: Door, varying: str) -> None:
    await door.ask(varying, DE)
    for fields, status in (
        ((DE,), "s3proxy; hit; "),
        ((DE, "User-Agent: x"), "s3proxy; hit; "),
        ((EN,), "s3proxy; fwd=vary-miss; fwd-status=304; stored"),
        ((EN,), "s3proxy; hit; "),
        ((), "s3proxy; fwd=vary-miss; fwd-status=304; stored"),
        ((DE,), "s3proxy; hit; "),
    ):
        reply = await door.ask(varying, *fields)
        assert (reply.status, reply.body, reply["vary"]) == (200, b"x", None)
        assert (reply["cache-status"] or "").startswith(status)
