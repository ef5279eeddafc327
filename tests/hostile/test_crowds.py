"""Crowds of a few hundred; `python -m tests.hostile.crowds` is for ten thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.crowds import LARGE, gather, half, idle, sip, slow
from tests.origins import ScriptedOrigin, respond
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.raw_http import RawConnection

pytestmark = pytest.mark.long

READ, WRITE, IDLE = 4.0, 5.0, 6.0
MIB = 2**20


@pytest.fixture(scope="module")
def visited() -> Iterator[Served]:
    """Has `/large` in memory, and deadlines that a crowd has time to gather within."""
    with ScriptedOrigin() as origin:
        origin.on("small", respond(200, b"hello"))
        origin.on("large", respond(200, b"x" * LARGE))
        environ = origin.environ() | {
            "READ_TIMEOUT": f"{READ:.0f}s",
            "WRITE_TIMEOUT": f"{WRITE:.0f}s",
            "IDLE_TIMEOUT": f"{IDLE:.0f}s",
        }
        with Served(environ) as served:
            assert len(served.get("/large").content) == LARGE
            yield served


@pytest.mark.parametrize(
    ("members", "join", "go_on", "deadline"),
    [(500, idle, None, IDLE), (500, half, None, READ), (100, slow, sip, WRITE)],
    ids=["idle", "half a head", "slow readers"],
)
def test_a_crowd_costs_little_and_is_gone_within_a_second_of_its_deadline(
    visited: Served,
    members: int,
    join: Callable[[RawConnection], None],
    go_on: Callable[[RawConnection], None] | None,
    deadline: float,
) -> None:
    cost = gather(visited, members, join, go_on=go_on, within=30)
    assert deadline - 0.3 < cost.held[0], cost
    assert cost.held[1] < deadline + 1, cost
    # A copy of the object for each slow reader would be 1,600 MiB.
    assert cost.memory_meanwhile - cost.memory_before < 48 * MIB, cost
    assert cost.memory_after - cost.memory_before < 48 * MIB, cost
    # Far apart: other work on the same cores must not fail this.
    assert cost.latency_meanwhile < 10 * cost.latency_before + 0.005, cost
