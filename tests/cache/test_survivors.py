"""What is held anew in place of something else does not pile up for the garbage collector."""

from __future__ import annotations

import gc
from typing import Any

from proxy.server.remembered import Remembered


def test_the_youngest_generation_stays_small_while_as_much_is_forgotten_as_remembered() -> None:
    remembered: Remembered[int, list[Any]] = Remembered(1000)
    for number in range(1000):
        remembered.remember(number, [], 1)
    most = 0
    for number in range(1000, 20_000):
        remembered.remember(number, [], 1)
        if number % 50 == 0:
            most = max(most, len(gc.get_objects(generation=0)))
    assert most < 2000
