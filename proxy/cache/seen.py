"""Tells what is asked for again from what is asked for once.

What comes once is not worth holding: it would push out what comes again and again, and be work
for the garbage collector.
"""

from __future__ import annotations

from array import array

_PLACES = 1 << 16


class Seen:
    """Remembers some ten thousand things by their hashes, in 512 KiB.

    What shares place and hash with another is taken for it, now and then.
    """

    def __init__(self) -> None:
        self._hashes = array("q", bytes(8 * _PLACES))

    def again(self, value: object) -> bool:
        """Was it seen before? From now on it was."""
        hashed = hash(value)
        place = hashed & (_PLACES - 1)
        if self._hashes[place] == hashed:
            return True
        self._hashes[place] = hashed
        return False
