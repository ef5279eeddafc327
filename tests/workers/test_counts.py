"""What several workers count, told by any one of them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.admin_api.test_metrics import samples
from tests.origins import respond
from tests.raw_http import RawConnection
from tests.server.conversation import eventually
from tests.workers.test_supervisor import wait_until_ready

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve, Served

BODY = b"0123456789abcdef" * 64
STATUSES = ("hits", "misses", "stale", "revalidated")


def ask(served: Served, path: str, times: int) -> None:
    """Half the requests on one connection, half on a connection each."""
    with RawConnection("127.0.0.1", served.port) as kept:
        for _ in range(times // 2):
            kept.get(path)
            assert kept.read_response().body == BODY
    for _ in range(times - times // 2):
        with RawConnection("127.0.0.1", served.port) as fresh:
            fresh.get(path)
            assert fresh.read_response().body == BODY


def answered(served: Served) -> float:
    found = samples(served)
    return sum(found[f"proxy_cache_{status}_total", ()] for status in STATUSES)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_counts_are_the_clients_also_after_workers_were_killed(
    serve: Serve, origin: ScriptedOrigin, workers: int
) -> None:
    origin.default(respond(200, BODY, {"Cache-Control": "max-age=600"}))
    served = serve(origin, workers=workers, ACCESS_LOG="off")
    wait_until_ready(served, workers)
    asked = 0
    for round_number in range(3):
        ask(served, f"/{round_number}", 40)
        asked += 40
        # A request is counted with its answer, which a client may have a moment earlier.
        eventually(lambda asked=asked: answered(served) == asked)  # type: ignore[misc]
        for victim in served.worker_pids():
            os.kill(victim, signal.SIGKILL)
            eventually(lambda victim=victim: victim not in served.worker_pids())  # type: ignore[misc]
        wait_until_ready(served, workers)
        assert answered(served) == asked
    found = samples(served)
    assert found["proxy_worker_restarts_total", (("reason", "killed"),)] == 3 * workers
    assert (
        found["proxy_origin_bytes_total", ()] == len(BODY) * found["proxy_cache_misses_total", ()]
    )
    assert (
        served.admin("GET", "/cache/stats").json()["total"]["requests"]["hit"]
        == (found["proxy_cache_hits_total", ()])
    )


def test_every_worker_tells_the_same_and_nothing_twice(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    origin.default(respond(200, BODY))
    served = serve(origin, workers=4)
    wait_until_ready(served, 4)
    ask(served, "/a", 40)
    before: dict[str, float] = {}
    for _ in range(20):
        # A connection each, for another worker each time.
        with RawConnection("127.0.0.1", served.port) as client:
            client.get("/metrics", f"Authorization: Bearer {served.token}")
            text = client.read_response().body.decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        names = Counter(name for name, _, _ in lines)
        assert [name for name, times in names.items() if times > 1] == []
        families = Counter(line for line in text.splitlines() if line.startswith("# TYPE"))
        assert set(families.values()) == {1}
        now = {name: float(value) for name, _, value in lines}
        assert before.keys() <= now.keys()
        gauges = (
            "proxy_cache_entries",
            "proxy_cache_bytes",
            "proxy_cache_evictions",
            "python_info",
        )
        counters = {name: value for name, value in before.items() if not name.startswith(gauges)}
        assert [name for name, value in counters.items() if now[name] < value] == []
        before = now
    view = 'django_http_requests_total_by_method_total{method="GET"}'
    assert before[view] >= 19


def test_statistics_have_every_worker_and_what_dead_ones_counted(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    origin.default(respond(200, BODY, {"Cache-Control": "max-age=600"}))
    served = serve(origin, workers=2)
    wait_until_ready(served, 2)
    ask(served, "/a", 40)
    served.process.send_signal(signal.SIGHUP)
    eventually(
        lambda: served.admin("GET", "/metrics").text.count('reason="reload"} 2.0') == 1, within=10
    )
    eventually(lambda: len(served.worker_pids()) == 2)
    answer = served.admin("GET", "/cache/stats").json()
    assert sum(answer["total"]["requests"].values()) == 40
    assert answer["total"]["worker_restarts"]["reload"] == 2
    told = sorted(worker["pid"] for worker in answer["workers"])
    # The parent has other children as well, for as long as it has something to clean up.
    eventually(lambda: served.worker_pids() == told)
    assert len({worker["index"] for worker in answer["workers"]}) == 2
