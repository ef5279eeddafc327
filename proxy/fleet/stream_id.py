"""The id of an entry in a Redis stream, by which purges are ordered."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_MOST = 2**64 - 1


class StreamId(NamedTuple):
    """Milliseconds since the epoch on the server's clock, then a number within these."""

    milliseconds: int
    sequence: int = 0

    @classmethod
    def parse(cls, text: bytes | str) -> StreamId:
        """Read ``1700000000000-0``; raises ValueError."""
        form = _FORM.fullmatch(text.decode("ascii") if isinstance(text, bytes) else text)
        if form is None:
            raise ValueError(f"no stream id: {text!r}")
        found = cls(int(form[1]), int(form[2]))
        if max(found) > _MOST:
            raise ValueError(f"no stream id: {text!r}")
        return found

    @property
    def before(self) -> StreamId:
        """The greatest id that is less; the first of all has none before it and stays."""
        if self.sequence:
            return StreamId(self.milliseconds, self.sequence - 1)
        return StreamId(self.milliseconds - 1, _MOST) if self.milliseconds else self

    @property
    def seconds(self) -> float:
        """When the server gave it out, in seconds since the epoch on its clock."""
        return self.milliseconds / 1000

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"


BEGINNING = StreamId(0, 0)
