"""What is asked for again, told from what is asked for once."""

from __future__ import annotations

from proxy.cache.seen import Seen


def test_the_second_time_is_again() -> None:
    seen = Seen()
    assert not seen.again("k")
    assert seen.again("k")
    assert seen.again("k")
    assert not seen.again("other")


def test_what_comes_once_pushes_out_little_of_what_came_lately() -> None:
    seen = Seen()
    for number in range(100):
        seen.again(f"popular {number}")
    assert sum([seen.again(f"once {number}") for number in range(20_000)]) < 20
    assert sum([seen.again(f"popular {number}") for number in range(100)]) > 50
