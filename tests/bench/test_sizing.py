"""Checks the calculation of docs/scaling.md against sums made another way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.sizing import LOADS, Assumptions, Load, in_cells, popular_share, sized

GIVEN = Assumptions()


@pytest.mark.parametrize(("stored", "objects"), [(1, 100), (10, 1000), (5_000, 100_000)])
def test_the_share_of_the_popular_is_nearly_that_of_the_sums(stored: int, objects: int) -> None:
    sums = [sum(1 / n**0.9 for n in range(1, count + 1)) for count in (stored, objects)]
    assert popular_share(stored, objects, 0.9) == pytest.approx(sums[0] / sums[1], rel=0.07)


def test_a_store_with_room_for_more_than_there_is_holds_everything() -> None:
    assert popular_share(1e9, 1e6, 0.9) == 1


def test_what_fits_into_memory_costs_s3_one_validation_a_lifetime() -> None:
    found = in_cells(Load(10_000, 1_000_000), GIVEN, 1)
    assert (found.l1_share, found.l2_share) == (1, 0)
    assert found.gets == pytest.approx(0.3 * 1_000_000 / 86_400)


def test_cores_are_those_of_the_hits_where_everything_is_a_hit() -> None:
    """10,000 requests of 40 µs: 0.4 cores, of 9.6 that are planned with."""
    found = in_cells(Load(10_000, 1_000), replace(GIVEN, lifetime=1e12), 1)
    assert found.needs["cores"] == pytest.approx(0.4 / 9.6)


def test_a_network_is_planned_with_six_tenths() -> None:
    """21 KiB each: 25 Gbit/s x 0.6 are 87,193 answers a second."""
    found = in_cells(Load(87_193, 1_000), replace(GIVEN, lifetime=1e12), 1)
    assert found.needs["network"] == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("load", LOADS)
def test_as_many_cells_as_calculated_are_enough_and_fewer_are_not(load: Load) -> None:
    found = sized(load, GIVEN)
    valkey = [part for part in found.needs if part.startswith("Valkey")]
    assert max(found.needs[part] for part in valkey) <= found.cells
    if found.cells > 1:
        fewer = in_cells(load, GIVEN, int(found.cells * 0.97))
        assert max(fewer.needs[part] for part in valkey) > int(found.cells * 0.97)


@pytest.mark.parametrize("load", LOADS)
def test_shares_are_parts_of_one(load: Load) -> None:
    found = sized(load, GIVEN)
    assert found.l2_share >= 0
    assert 0 < found.l1_share <= found.l1_share + found.l2_share <= 1


def test_more_in_the_second_tier_is_less_from_s3() -> None:
    gets = [sized(LOADS[-1], replace(GIVEN, in_l2=part)).gets for part in (0.03, 0.1, 0.3, 1.0)]
    assert gets == sorted(gets, reverse=True)


def test_a_load_has_at_least_one_server_a_cell() -> None:
    assert sized(Load(1, 1), GIVEN).servers == 1
    found = sized(LOADS[-1], GIVEN)
    assert found.servers >= found.cells
