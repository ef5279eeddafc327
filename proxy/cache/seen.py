"""Tells what is asked for again from what is asked for once.

What comes once is not worth holding: it would push out what comes again and again, and be work
for the garbage collector.
"""

from __future__ import annotations

from array import array


class Seen:
    """Remembers about as many things as it has ``places``, a power of two, by their hashes.

    Eight bytes a place. What shares place and hash with another is taken for it, now and then.
    """

    def __init__(self, places: int = 1 << 16) -> None:
        self._hashes = array("q", bytes(8 * places))
        self._mask = places - 1

    def again(self, value: object) -> bool:
        """Was it seen before? From now on it was."""
        hashed = hash(value)
        place = hashed & self._mask
        if self._hashes[place] == hashed:
            return True
        self._hashes[place] = hashed
        return False
