"""What a purge covers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Purge:
    """Stored responses to give up, by S3 key, by prefix of it, or all.

    ``soft`` marks them stale instead of removing them.
    """

    keys: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    everything: bool = False
    soft: bool = False

    def matches(self, key: str) -> bool:
        """Does the purge cover this S3 key?"""
        return self.everything or key in self.keys or key.startswith(self.prefixes)
