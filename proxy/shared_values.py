"""Numbers of prometheus_client's metrics, kept where every worker of a server can read them.

prometheus_client has a mode for several processes, with a file for each of them. This has the same
result in memory that the parent makes before it forks, so that a server writes nothing to any
disk: each process counts in a region of its own, a metric's value is the sum of all regions. A
region belongs to an index, not to a process. It outlives a worker that dies, and the next worker
with that index counts on in it, so that no sum ever goes backwards.
"""

from __future__ import annotations

import json
import logging
import math
import mmap
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import prometheus_client
from prometheus_client import REGISTRY, values
from prometheus_client.registry import Collector

from proxy import processes

if TYPE_CHECKING:
    from prometheus_client import Metric

logger = logging.getLogger("s3proxy.metrics")

# Room for some 4,000 values; of memory, only what is written to is used.
REGION_BYTES: Final = 512 * 1024
_WORD_BYTES = 8

# How a gauge's values of several workers make one; "all" is prometheus_client's default.
_Combine = Callable[[Iterable[float]], float]
_GAUGES: dict[str, _Combine] = {
    "all": sum,
    "sum": sum,
    "livesum": sum,
    "max": max,
    "livemax": max,
    "min": min,
    "livemin": min,
}


class RegionFullError(Exception):
    """No room for another value."""


class Region:
    """One index's values: words, of which the first says how many are in use.

    Each value has the length of its key in bytes, the key (filled up to whole words), the number.
    The count of words is written last, so that a process that is killed leaves no half of one.
    """

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory
        self._words = memory.cast("Q")
        self.numbers = memory.cast("d")
        self._slots: dict[bytes, int] = {}
        self._read = 1

    def find(self, key: bytes) -> int | None:
        """Where in ``numbers`` a key's is."""
        slot = self._slots.get(key)
        if slot is None and self._read <= self._words[0]:
            self.new_keys()
            slot = self._slots.get(key)
        return slot

    def make(self, key: bytes) -> int:
        """As `find`, making room where there is none; raises RegionFullError."""
        slot = self.find(key)
        if slot is not None:
            return slot
        begin = max(1, self._words[0] + 1)
        slot = begin + 1 + -(-len(key) // _WORD_BYTES)
        if slot >= len(self._words):
            raise RegionFullError
        self._words[begin] = len(key)
        at = (begin + 1) * _WORD_BYTES
        self._bytes[at : at + len(key)] = key
        self._words[0] = slot
        self.new_keys()
        return slot

    def new_keys(self) -> list[bytes]:
        """Those that came since this was last called in this process, or its parent."""
        found = []
        while self._read <= self._words[0]:
            length = self._words[self._read]
            at = (self._read + 1) * _WORD_BYTES
            key = bytes(self._bytes[at : at + length])
            self._slots[key] = self._read + 1 + -(-length // _WORD_BYTES)
            self._read = self._slots[key] + 1
            found.append(key)
        return found

    def all_keys(self) -> list[bytes]:
        """All of them."""
        self.new_keys()
        return list(self._slots)


_lock = threading.Lock()
_regions: list[Region] = []


class SharedValue:
    """One number of one metric, in prometheus_client's place for them (``values.ValueClass``).

    Until `share` it belongs to this process alone.
    """

    _multiprocess = False

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Iterable[str],  # noqa: ARG002 - prometheus_client's signature
        labelvalues: Iterable[str],
        help_text: str,  # noqa: ARG002
        multiprocess_mode: str = "",
        **_kwargs: Any,
    ) -> None:
        self._combine = _GAUGES[multiprocess_mode if typ == "gauge" else "sum"]
        self._key = json.dumps([typ, metric_name, name, *labelvalues]).encode("ascii")
        self._index = -1
        # Where this process counts: before there are regions, or where its region is full, here.
        self._private = memoryview(bytearray(_WORD_BYTES)).cast("d")
        self._numbers, self._slot = self._private, 0

    def inc(self, amount: float) -> None:
        """Add to this process's share."""
        with _lock:
            if self._index != processes.index():
                self._settle()
            self._numbers[self._slot] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002
        """Replace this process's share."""
        with _lock:
            if self._index != processes.index():
                self._settle()
            self._numbers[self._slot] = value

    def get(self) -> float:
        """All processes' shares together."""
        found = [number for region in _regions if not math.isnan(number := self._in(region))]
        if not found or self._private[0]:
            found.append(self._private[0])
        return float(self._combine(found))

    def of(self, index: int) -> float:
        """What was counted under an index."""
        if not _regions:
            return self._private[0]
        number = self._in(_regions[index])
        return 0.0 if math.isnan(number) else number

    def set_exemplar(self, exemplar: object) -> None:
        """Exemplars are one process's, and not kept."""

    def get_exemplar(self) -> None:
        """None."""

    def _in(self, region: Region) -> float:
        slot = region.find(self._key)
        return math.nan if slot is None else float(region.numbers[slot])

    def _settle(self) -> None:
        """Find where this process counts."""
        if not _regions:
            return
        index = processes.index()
        try:
            slot = _regions[index].make(self._key)
        except RegionFullError:
            logger.warning("too many metrics: this worker's count alone", extra={"key": self._key})
            self._numbers, self._slot = self._private, 0
        else:
            self._numbers, self._slot = _regions[index].numbers, slot
            if math.isnan(self._numbers[slot]):
                self._numbers[slot] = 0.0
        self._index = index


class _Adopter(Collector):
    """Makes this process's metrics have the labels that other processes have counted under.

    Registered before every other, because a registry reads in that order.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        for region in _regions:
            for key in region.all_keys():
                if key not in self._seen:
                    self._seen.add(key)
                    self._adopt(*json.loads(key))
        return []

    def _adopt(self, typ: str, metric_name: str, name: str, *labelvalues: str) -> None:
        # A bucket has one label more than its metric, and a sum beside it that has not.
        if labelvalues and not (typ == "histogram" and name.endswith("_bucket")):
            metric: Any = REGISTRY._names_to_collectors.get(metric_name)  # noqa: SLF001
            if metric is not None:
                metric.labels(*labelvalues)


def install() -> None:
    """Keep the values of all metrics made from now on where `share` can share them."""
    values.ValueClass = SharedValue
    # When a metric began is not the same in every process; CPU time and collected garbage are
    # those of the one process that happens to be asked.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    REGISTRY.unregister(prometheus_client.PROCESS_COLLECTOR)
    REGISTRY.unregister(prometheus_client.GC_COLLECTOR)
    REGISTRY.register(_Adopter())
    processes.before_fork.append(share)
    processes.on_death.append(forget_process)


def share(highest: int) -> None:
    """Make the regions, for indexes up to ``highest``."""
    memory = memoryview(mmap.mmap(-1, (highest + 1) * REGION_BYTES))
    _regions.extend(
        Region(memory[index * REGION_BYTES : (index + 1) * REGION_BYTES])
        for index in range(highest + 1)
    )


def forget_process(index: int) -> None:
    """Take a dead process's gauges back; its counters stay."""
    region = _regions[index]
    for key in region.all_keys():
        if json.loads(key)[0] == "gauge":
            slot = region.find(key)
            assert slot is not None
            region.numbers[slot] = math.nan
