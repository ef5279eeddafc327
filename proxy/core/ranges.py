"""Byte ranges of a representation (RFC 9110 §14)."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAX_SPECS: Final = 16
_SPEC: Final = re.compile(r"(?P<first>[0-9]*)-(?P<last>[0-9]*)")
# Twenty digits hold every length there can be, in the digits that int() is quick with.
_CONTENT_RANGE: Final = re.compile(
    r"bytes ([0-9]{1,20})-([0-9]{1,20})/(?:([0-9]{1,20})|\*)", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `first` to `last`, both included, counted from 0."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Number of bytes, at least 1."""
        return self.last - self.first + 1

    def content_range(self, total: int) -> str:
        """Write the Content-Range value of this part of `total` bytes (RFC 9110 §14.4)."""
        return f"bytes {self.first}-{self.last}/{total}"


class NotSatisfiable(Enum):
    """The answer to a valid Range that has no byte of the representation: 416."""

    NOT_SATISFIABLE = "not satisfiable"


@dataclass(frozen=True, slots=True)
class _Spec:
    """A range-spec (§14.1.1); the digits are as written, without leading zeros."""

    first: str | None
    last: str | None

    def resolve(self, length: int) -> ByteRange | None:
        """Return the bytes of a non-empty representation, None if not satisfiable (§14.1.2)."""
        if self.first is None:
            suffix = _number(self.last or "", length)
            return ByteRange(length - suffix, length - 1) if suffix else None
        first = _number(self.first, length)
        if first >= length:
            return None
        last = length - 1 if self.last is None else _number(self.last, length - 1)
        return ByteRange(first, last)

    @property
    def is_satisfiable_suffix(self) -> bool:
        return self.first is None and self.last != ""


def select(value: str | None, length: int) -> tuple[ByteRange, ...] | NotSatisfiable | None:
    """Return the parts that a Range field value selects of `length` bytes, in the order asked for.

    None means to ignore the field (RFC 9110 §14.2): there is none, its unit is unknown, its syntax
    wrong, or it is abusive (§17.15): over 16 range-specs, or more bytes than the whole.
    """
    specs = None if value is None else _specs(value)
    if specs is None:
        return None
    if length == 0:
        # §14.1.2 calls a non-zero suffix satisfiable even here, but no Content-Range can
        # say so (§14.4 has no empty part): the whole, empty representation is the answer.
        if any(spec.is_satisfiable_suffix for spec in specs):
            return None
        return NotSatisfiable.NOT_SATISFIABLE
    parts = tuple(part for spec in specs if (part := spec.resolve(length)) is not None)
    if not parts:
        return NotSatisfiable.NOT_SATISFIABLE
    if len(parts) > 1 and sum(part.length for part in parts) > length:
        return None
    return parts


def parse_content_range(value: str) -> tuple[int, int, int | None] | None:
    """Read the Content-Range of a 206 as (first, last, total or None for `*`), None if invalid."""
    found = _CONTENT_RANGE.fullmatch(value)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] is None else int(found[3])
    # RFC 9110 §14.4: these make the field invalid.
    if last < first or (total is not None and total <= last):
        return None
    return first, last, total


def part_head(boundary: str, content_type: str | None, part: ByteRange, total: int) -> bytes:
    """Return what stands before a part of a multipart/byteranges body (RFC 9110 §14.6)."""
    media = "" if content_type is None else f"Content-Type: {content_type}\r\n"
    text = f"\r\n--{boundary}\r\n{media}Content-Range: {part.content_range(total)}\r\n\r\n"
    return text.encode("latin-1")


def closing(boundary: str) -> bytes:
    """Return what ends a multipart/byteranges body."""
    return f"\r\n--{boundary}--\r\n".encode("latin-1")


def multipart_length(
    boundary: str, content_type: str | None, parts: "Iterable[ByteRange]", total: int
) -> int:
    """Return the Content-Length of the multipart/byteranges body of these parts."""
    return len(closing(boundary)) + sum(
        len(part_head(boundary, content_type, part, total)) + part.length for part in parts
    )


def _specs(value: str) -> "Sequence[_Spec] | None":
    unit, equals, range_set = value.partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    specs: list[_Spec] = []
    for element in range_set.split(","):
        text = element.strip(" \t")
        if not text:
            continue  # §5.6.1.2: a recipient ignores empty list elements
        spec = _spec(text)
        if spec is None or len(specs) == _MAX_SPECS:
            return None
        specs.append(spec)
    return specs or None


def _spec(text: str) -> _Spec | None:
    found = _SPEC.fullmatch(text)
    if found is None or text == "-":
        return None
    first = found["first"].lstrip("0") if found["first"] else None
    last = found["last"].lstrip("0") if found["last"] else None
    # §14.1.1: last-pos before first-pos is invalid. Digits without leading zeros compare like
    # their numbers by length, then text, and need no conversion, however many they are.
    if first is not None and last is not None and (len(last), last) < (len(first), first):
        return None
    return _Spec(first, last)


def _number(digits: str, ceiling: int) -> int:
    """Return the number, or `ceiling` if that is less (§14.1.2: digits may be any number)."""
    if len(digits) > 20:
        return ceiling
    return min(int(digits or "0"), ceiling)
