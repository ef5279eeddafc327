"""The proxy's counters as `/metrics` shows them, and what happened between two looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.served.process import Served

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Every sample at one moment, or the difference between two moments."""

    def __init__(self, proxy: Served) -> None:
        self._samples: dict[tuple[str, Labels], float] = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(proxy.admin("GET", "/metrics").text)
            for sample in family.samples
        }
        self._now = self._samples

    def __sub__(self, before: Counters) -> Self:
        difference = object.__new__(type(self))
        difference._now = self._now
        difference._samples = {
            name: value - before._samples.get(name, 0.0) for name, value in self._samples.items()
        }
        return difference

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The samples of a counter that are not zero, by one label."""
        return {
            dict(labels)[label]: value
            for (found, labels), value in self._samples.items()
            if found == name and value
        }

    def total(self, name: str) -> float:
        return sum(value for (found, _), value in self._samples.items() if found == name)

    def gauge(self, name: str) -> float:
        """A gauge's value at the later moment."""
        return sum(value for (found, _), value in self._now.items() if found == name)
