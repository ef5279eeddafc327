"""What a process holds after a burst: what is stored, not what has passed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.origins import respond
from tests.server.conversation import eventually
from tests.server.process_state import resident_bytes

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve

MIB = 2**20
BODY = bytes(range(256)) * (32 * 1024)  # 8 MiB


def test_bodies_that_were_given_up_leave_the_process(serve: Serve, origin: ScriptedOrigin) -> None:
    origin.default(respond(200, BODY))
    served = serve(origin, CACHE_MAX_BYTES="20MiB")
    assert served.get("/first").content == BODY
    before = resident_bytes(served)
    with ThreadPoolExecutor(8) as clients:
        lengths = clients.map(lambda number: len(served.get(f"/{number}").content), range(48))
        assert set(lengths) == {len(BODY)}
    assert served.admin("POST", "/cache/purge", json={"all": True}).status_code == 200
    eventually(lambda: resident_bytes(served) - before < 40 * MIB)
