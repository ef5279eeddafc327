"""A middleware of somebody else's sees every request, those for objects in memory too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.origins import respond
from tests.served.with_middleware import HEADER, MODULE

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Serve


def test_every_request_goes_through_it(serve: Serve, origin: ScriptedOrigin, raw: OpenRaw) -> None:
    origin.on("a", respond(200, b"hello", {"Cache-Control": "max-age=600"}))
    served = serve(origin, DJANGO_SETTINGS_MODULE=MODULE)
    client = raw(served.port)
    seen = []
    for _ in range(4):
        # The same bytes each time: they would be known.
        client.get("/a", f"{HEADER}: it")
        answer = client.read_response()
        assert answer.body == b"hello"
        seen.append((answer.header("X-Cache"), answer.header(HEADER)))
    assert seen == [(b"MISS", b"it"), *[(b"HIT", b"it")] * 3]
