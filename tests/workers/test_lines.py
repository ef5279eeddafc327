"""What several workers write to one output."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.raw_http import RawConnection
from tests.workers.test_supervisor import wait_until_ready

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve

CLIENTS, EACH = 8, 60
# Longer than any key, so that it is refused; a pipe takes 4,096 bytes at once.
PATH = "/" + "%C3%BC" * 4000


def test_lines_are_whole_whatever_their_length(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, workers=4)
    wait_until_ready(served, 4)

    def ask(client: int) -> None:
        with RawConnection("127.0.0.1", served.port) as connection:
            for number in range(EACH):
                connection.get(PATH if number % 2 else f"/{client}")
                connection.read_response()

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(CLIENTS)))
    assert served.terminate() == 0
    records = [json.loads(line) for line in served.lines]
    long = [record for record in records if str(record.get("path", "")).startswith("/%C3")]
    assert len(long) == CLIENTS * EACH // 2
    assert max(map(len, served.lines)) < 4096
