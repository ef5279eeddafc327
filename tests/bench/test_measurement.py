"""Checks what is made of measured numbers."""

from __future__ import annotations

import pytest

from bench.measurement import (
    Measurement,
    Outcome,
    Side,
    Spread,
    Target,
    at_least,
    at_most,
    percentile,
)


def run(rate: float = 1000, memory: int = 1, cpu: float = 0.5) -> Measurement:
    """Two seconds at ``rate`` requests a second."""
    return Measurement(
        requests=int(rate * 2),
        seconds=2.0,
        received=0,
        p50=0.001,
        p99=0.002,
        p999=0.003,
        cpu=cpu,
        memory=memory,
    )


def test_a_measurement_of_times_has_their_percentiles_in_whatever_order_they_came() -> None:
    times = [float(number) for number in reversed(range(1000))]
    measured = Measurement.of_times(times, seconds=4.0, received=7, cpu_seconds=1.0, memory=9)
    assert measured == Measurement(1000, 4.0, 7, 500.0, 990.0, 999.0, 0.25, 9)


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_a_spread_needs_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_ratios_are_taken_pair_by_pair() -> None:
    """Not median by median, which would be 1."""
    assert Spread.of_ratios([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]) == Spread(1.0, 0.5, 2.0)


def test_a_pair_that_lacks_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Spread.of_ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (at_least(0.95), 0.95, True),
        (at_least(0.95), 0.949, False),
        (at_most(2), 2, True),
        (at_most(2), 2.1, False),
    ],
)
def test_a_target_is_reached_at_its_value(target: Target, value: float, reached: bool) -> None:
    assert target.reached_by(value) is reached


def test_an_outcome_is_judged_by_its_median() -> None:
    value = Spread(1.0, 0.5, 2.0)
    assert Outcome("a", "A", "×", value, at_least(1)).reached is True
    assert Outcome("a", "A", "×", value, at_least(1.1)).reached is False
    assert Outcome("a", "A", "×", value).reached is None


def test_processor_time_a_request_is_that_of_the_whole_run() -> None:
    assert run(rate=1000, cpu=0.5).cpu_per_request == pytest.approx(0.0005)


def test_a_side_has_the_median_rate_beside_the_largest_memory() -> None:
    side = Side.of("a", [run(100, memory=5), run(300, memory=9), run(200, memory=7)])
    assert (side.rate, side.memory) == (200, 9)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 50), (0.999, 99), (1.0, 99)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile(list(range(100)), share) == expected
