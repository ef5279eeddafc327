"""How long a dead worker's place stays empty."""

from __future__ import annotations

from proxy.server.respite import Respite


def test_a_worker_that_served_a_while_is_replaced_at_once() -> None:
    respite = Respite()
    respite.died(100.0, age=5.0)
    assert respite.until <= 100.0


def test_waits_double_up_to_five_seconds() -> None:
    respite, now, waits = Respite(), 100.0, []
    for _ in range(8):
        respite.died(now, age=0.5)
        waits.append(round(respite.until - now, 3))
        now = respite.until + 0.5
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_deaths_at_the_same_time_count_as_one() -> None:
    respite = Respite()
    for _ in range(4):
        respite.died(100.0, age=0.5)
    assert respite.until == 100.1


def test_early_deaths_are_forgotten_after_a_while() -> None:
    respite = Respite()
    for now in (100.0, 101.0, 102.0):
        respite.died(now, age=0.5)
    respite.died(200.0, age=0.5)
    assert round(respite.until - 200.0, 3) == 0.1
