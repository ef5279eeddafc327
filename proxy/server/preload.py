"""Brings a process to the state that workers are forked from: what is loaded, they share."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

from django.urls import get_resolver

from proxy import processes
from proxy.server.heap import map_large_blocks

if TYPE_CHECKING:
    import uvicorn

# Collections of the middle generation before one of all.
_FULL_COLLECTION_EVERY = 100


def preload(config: uvicorn.Config, highest_index: int) -> None:
    """Load code, settings, shared memory, for processes with indexes up to the highest."""
    map_large_blocks()
    config.load()
    # The views' modules, which otherwise each worker would import with its first request.
    get_resolver().url_patterns  # noqa: B018 - for its effect
    for call in processes.before_fork:
        call(highest_index)
    # A fork copies one thread of many, and an event loop's descriptors with it.
    assert threading.active_count() == 1


def spare_collections() -> None:
    """Keep the garbage collector from what is loaded; the last thing before the first fork."""
    # What has been imported stays for good: without it to look through, a full collection
    # takes microseconds, and leaves pages alone that the workers share.
    gc.collect()
    gc.freeze()
    # What workers hold of responses has no cycles, but would be looked through each time: some
    # ten milliseconds in which nobody is answered. So that is done a tenth as often.
    gc.set_threshold(*gc.get_threshold()[:2], _FULL_COLLECTION_EVERY)
