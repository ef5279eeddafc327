"""Which requests a stored response with Vary may answer: RFC 9111 §4.1.

The origin never sees a client's fields, so what it calls different variants are one
representation; still a response is sent without validation only to requests that agree with
one that the origin has answered with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")

# How many different requests one stored response remembers to have answered.
_REMEMBERED = 8

Selection = tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Vary:
    """The request fields that a response nominated, with the values it was given for.

    ``names`` are lower-case and in order, empty for ``*``; each selection in ``answered`` has a
    value for each name, None where the request had no such field.
    """

    names: tuple[bytes, ...]
    answered: tuple[Selection, ...]

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        values = (value for selection in self.answered for value in selection)
        return (
            200
            + sum(len(name) + 41 for name in self.names)
            + sum(len(value or b"") + 41 for value in values)
        )

    def selects(self, fields: Sequence[tuple[bytes, bytes]]) -> bool:
        """Does a request with these fields, names in lower case, match? Never with ``*``."""
        return bool(self.names) and _selection(self.names, fields) in self.answered

    def given_for(self, fields: Sequence[tuple[bytes, bytes]]) -> Vary:
        """The same nomination by a response to a request with these fields."""
        return Vary(self.names, (_selection(self.names, fields),)) if self.names else self

    def also(self, earlier: Vary) -> Vary:
        """This, with what ``earlier`` was given for, if that nominated the same fields."""
        if earlier.names != self.names:
            return self
        others = tuple(known for known in earlier.answered if known not in self.answered)
        return replace(self, answered=(others + self.answered)[-_REMEMBERED:])


def vary_of(lines: Iterable[str], fields: Sequence[tuple[bytes, bytes]]) -> Vary | None:
    """Read the Vary lines of the response to a request with these fields; None if it has none.

    A member that is no field name counts as ``*``.
    """
    members = {member.strip(" \t").lower() for line in lines for member in line.split(",")} - {""}
    if not members:
        return None
    if "*" in members or not all(map(_FIELD_NAME.fullmatch, members)):
        return Vary((), ())
    names = tuple(sorted(member.encode("ascii") for member in members))
    return Vary(names, (_selection(names, fields),))


def _selection(names: tuple[bytes, ...], fields: Sequence[tuple[bytes, bytes]]) -> Selection:
    return tuple(_normalised([value for field, value in fields if field == name]) for name in names)


def _normalised(lines: list[bytes]) -> bytes | None:
    """Lines combined, and whitespace around commas removed, as §4.1 allows."""
    if not lines:
        return None
    value = b",".join(line.strip(b" \t") for line in lines)
    if b'"' in value:
        # Inside a quoted string whitespace may mean something.
        return value
    return b",".join(member.strip(b" \t") for member in value.split(b","))
