"""Threads that run until a block is left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Background:
    """Runs each target in a thread of its own; a target has to return once ``over`` is set."""

    def __init__(self, targets: Iterable[Callable[[], None]], *, join_seconds: float) -> None:
        self.over = threading.Event()
        self.lock = threading.Lock()
        self._join_seconds = join_seconds
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(self._join_seconds)
