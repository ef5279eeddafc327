"""Checks how several servers become one line of the report."""

from __future__ import annotations

import pytest

from bench.measurement import Measurement, Outcome, Side
from bench.replicas import combined
from bench.workers import by_rate_and_cost


def run(requests: int, seconds: float = 2.0, cpu: float = 1.0, p99: float = 0.01) -> Measurement:
    return Measurement(requests, seconds, 0, 0.001, p99, p99 * 2, cpu, 100)


def outcomes(many: Measurement, single: Measurement, *, apart: bool) -> list[Outcome]:
    sides = (Side.of("2", [many]), Side.of("1", [single]))
    return by_rate_and_cost(
        "workers", "hits", "one worker", 2, ([many], [single]), sides, 1.7, apart=apart
    )


def test_rates_and_memory_of_servers_side_by_side_add_up() -> None:
    both = combined([run(1000), run(3000)])
    assert (both.rate, both.memory, both.cpu) == (2000, 200, 2)


def test_latencies_of_servers_side_by_side_are_the_slowest_one_s() -> None:
    assert combined([run(1, p99=0.02), run(1, p99=0.01)]).p99 == 0.02


def test_processor_time_a_request_is_that_of_all_servers() -> None:
    both = combined([run(1000, 2.0, 1.0), run(1000, 1.0, 1.0)])
    assert both.cpu_per_request == pytest.approx(3 / 2000)


def test_two_servers_that_pay_as_much_for_a_request_are_worth_two() -> None:
    rate, cost = outcomes(run(4000, cpu=2.0), run(2000, cpu=1.0), apart=False)
    assert (rate.value.median, cost.value.median) == (2, 2)


def test_two_servers_that_pay_twice_as_much_are_worth_one() -> None:
    _, cost = outcomes(run(2000, cpu=2.0), run(2000, cpu=1.0), apart=False)
    assert (cost.value.median, cost.reached) == (1, False)


@pytest.mark.parametrize("apart", [True, False])
def test_the_target_is_for_the_rates_only_where_servers_have_their_own_cores(apart: bool) -> None:
    rate, cost = outcomes(run(4000, cpu=2.0), run(2000, cpu=1.0), apart=apart)
    assert (rate.target is not None, cost.target is not None) == (apart, not apart)
