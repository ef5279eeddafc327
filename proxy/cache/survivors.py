"""Keeps the garbage collector's youngest generation small.

CPython looks through it once so many more objects were made than freed. What holds as much as it
may forgets one thing for each that it holds anew: then that difference stays where it is, while
what was held meanwhile all lies in the youngest generation, until one look through it takes a
tenth of a second. So whoever holds things says so, and it is looked through in time.
"""

from __future__ import annotations

import gc
from itertools import count

# So many things are some thousand objects, which are looked through in a tenth of a millisecond.
_THINGS = 200
# And so many times that is the middle generation: a millisecond or two.
_LOOKS = 5

_held = count(1).__next__


def held() -> None:
    """One thing more is held that will not be freed soon."""
    things = _held()
    if things % _THINGS == 0:
        gc.collect(1 if things % (_THINGS * _LOOKS) == 0 else 0)
