"""A server that may open no more files goes on with those that it has, until others are closed."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.origins import respond
from tests.raw_http import RawConnection
from tests.served.process import SERVE, Served
from tests.server.conversation import eventually

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin

FILES, CROWD = 64, 150


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_whoever_was_accepted_is_served_while_the_others_wait(origin: ScriptedOrigin) -> None:
    origin.default(respond(200, b"here", {"Cache-Control": "max-age=600"}))
    command = ("bash", "-c", f'ulimit -n {FILES}; exec "$@"', "-", *SERVE)
    with Served(origin.environ() | {"ACCESS_LOG": "off"}, command=command) as served:
        assert served.get("/kept").status_code == 200
        with contextlib.ExitStack() as open_ones:
            crowd = [
                open_ones.enter_context(RawConnection("127.0.0.1", served.port))
                for _ in range(CROWD)
            ]
            served.wait_for_line("cannot accept")
            [worker] = served.worker_pids()
            before, complaints = processor_seconds(worker), served.output.count("cannot accept")
            time.sleep(1)
            # Neither does it try without a pause, nor does it fill the log.
            assert processor_seconds(worker) - before < 0.3
            assert served.output.count("cannot accept") - complaints <= 4
            crowd[0].get("/kept")
            assert crowd[0].read_response().header("X-Cache") == b"HIT"
        eventually(lambda: served.get("/cold").status_code == 200)
        assert served.worker_pids() == [worker]
        assert "Traceback" not in served.output
