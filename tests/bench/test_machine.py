"""Checks how cores are divided between servers and clients."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.machine import divided, listed


def test_one_core_is_not_enough() -> None:
    with pytest.raises(BenchError, match="two cores"):
        divided([3])


@pytest.mark.parametrize("allowed", [[0, 1], [2, 5, 7]])
def test_below_four_cores_several_servers_share_them_with_the_client(allowed: list[int]) -> None:
    cores = divided(allowed)
    assert cores.servers == cores.clients == tuple(allowed)
    assert not cores.apart


@pytest.mark.parametrize("count", [4, 5, 16])
def test_from_four_cores_on_servers_have_two_or_more_of_their_own(count: int) -> None:
    cores = divided(range(count))
    assert cores.apart
    assert len(cores.servers) >= 2
    assert sorted((*cores.servers, *cores.clients)) == list(range(count))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_server_alone_is_never_on_the_client_s_core(count: int) -> None:
    cores = divided(range(count))
    assert (cores.client, cores.server) == (0, count - 1)
    assert cores.client in cores.clients
    assert cores.server in cores.servers


def test_cores_are_listed_as_taskset_takes_them() -> None:
    assert listed((2, 3)) == "2,3"
