"""How many absences one process may have stored.

An absence costs whoever asks for it nothing, and the store has room for so many responses: a
client that makes up names would put out all objects with them. So absences have a share of that
room, beyond which the oldest of them goes, and no object.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.store import Found

ABSENT = frozenset({404, 410})


class Absences:
    """At most ``most`` of them, oldest first, with where each was stored."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._stored: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, key: str, found: Found) -> None:
        """Take down an absence that was stored just now."""
        self.forget(key)
        self._stored[key] = found.slot, found.version

    def forget(self, key: str) -> None:
        """Something else is stored under the key, or nothing."""
        self._stored.pop(key, None)

    def take_surplus(self) -> tuple[str, int, int] | None:
        """Key, slot and version of the oldest if there are too many; it counts no more."""
        if len(self._stored) <= self._most:
            return None
        key, (slot, version) = self._stored.popitem(last=False)
        return key, slot, version
