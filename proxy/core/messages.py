"""The messages that the core reads and writes: request, stored response, head."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from proxy.core.cache_control import RequestDirectives
from proxy.core.freshness import current_age
from proxy.core.preconditions import NO_CONDITIONS, Conditions
from proxy.core.ranges import ByteRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.freshness import Freshness
    from proxy.core.vary import Vary

Fields = tuple[tuple[bytes, bytes], ...]

_NO_DIRECTIVES = RequestDirectives()

# What the cache reads of a request; any other field has no say in an answer from memory, unless
# the stored response has Vary.
READ_FIELDS = frozenset(
    {
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
        b"range",
        b"cache-control",
        b"pragma",
        b"accept",
    }
)

# What one stored response takes beyond its body and its fields' bytes: the dataclass, its
# Freshness, and the tuples that hold the fields (sys.getsizeof, 64-bit CPython 3.11-3.13).
_RECORD_BYTES = 480
_FIELD_BYTES = 56 + 33 * 2


# Not frozen, alone of all: one is made for each request, and to set the fields of a frozen one
# takes a microsecond more. Nobody changes one.
@dataclass(slots=True)
class Request:
    """A GET or HEAD for one object.

    ``key`` is the whole S3 key, prefix included. ``fields`` are all header fields as received,
    names in lower case: looked at where a stored response has Vary.
    """

    method: str
    key: str
    conditions: Conditions = NO_CONDITIONS
    directives: RequestDirectives = _NO_DIRECTIVES
    range: str | None = None
    if_range: str | None = None
    accept: str = ""
    fields: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_fields(cls, method: str, key: str, fields: Sequence[tuple[bytes, bytes]]) -> Request:
        """Read the header fields that matter; names are lower-case, as in an ASGI scope."""
        read: dict[bytes, list[str]] = {}
        for name, value in fields:
            if name in READ_FIELDS:
                read.setdefault(name, []).append(value.decode("latin-1"))
        if not read:
            return cls(method, key, fields=fields)
        if len(read) == 1 and b"accept" in read:
            # Most requests: nothing else that matters.
            return cls(method, key, accept=", ".join(read[b"accept"]), fields=fields)

        def combined(name: bytes) -> str | None:
            # RFC 9110 §5.3: lines of one name are one list. A field that may stand once only
            # does not parse when it is repeated, and so counts as not sent.
            lines = read.get(name)
            return None if lines is None else ", ".join(lines)

        cache_control, pragma = read.get(b"cache-control", ()), read.get(b"pragma", ())
        return cls(
            method,
            key,
            conditions=Conditions(
                if_match=combined(b"if-match"),
                if_none_match=combined(b"if-none-match"),
                if_modified_since=combined(b"if-modified-since"),
                if_unmodified_since=combined(b"if-unmodified-since"),
            ),
            directives=(
                RequestDirectives.parse(cache_control, pragma)
                if cache_control or pragma
                else _NO_DIRECTIVES
            ),
            range=combined(b"range"),
            if_range=combined(b"if-range"),
            accept=combined(b"accept") or "",
            fields=fields,
        )

    @property
    def is_plain(self) -> bool:
        """Is it answered as any other GET for the key is, if only a 200 has no Vary?

        Its Accept has a say in errors alone.
        """
        return (
            self.method == "GET"
            and self.range is None
            and self.conditions == NO_CONDITIONS
            and self.directives == _NO_DIRECTIVES
        )

    @property
    def authorized(self) -> bool:
        """Does it carry credentials (RFC 9111 §3.5)?"""
        return any(name == b"authorization" for name, _ in self.fields)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class StoredResponse:
    """A response of the origin, ready to be sent again.

    ``fields`` are the end-to-end header fields for the client, ``Date`` among them, without
    Content-Length. ``body`` is None where only the head is held: while the object is being
    filled, or because it is larger than may be stored. ``length`` is the representation's, in
    bytes, None while the origin has not told it. Times are seconds since the epoch.
    """

    __cache_by_reference__: ClassVar[bool] = True

    status: int
    fields: Fields
    body: bytes | memoryview | None
    length: int | None
    etag: str | None
    last_modified: float | None
    date: float
    initial_age: float
    response_time: float
    freshness: Freshness
    origin_status: int = 200
    vary: Vary | None = None

    @property
    def __cache_size__(self) -> int:
        """Bytes of memory that this response is accounted for."""
        fields = sum(map(len, chain.from_iterable(self.fields))) + _FIELD_BYTES * len(self.fields)
        selecting = 0 if self.vary is None else self.vary.size
        return _RECORD_BYTES + fields + selecting + len(self.body or b"")

    def age(self, now: float) -> float:
        """Current age in seconds."""
        return current_age(self.initial_age, self.response_time, now)

    @property
    def fresh_until(self) -> float:
        """When it becomes stale, in seconds since the epoch, as long as no clock is set."""
        return self.response_time + self.freshness.lifetime - self.initial_age


class Everything:
    """The body segment of a representation whose length is not known yet."""


EVERYTHING = Everything()

Segment = bytes | ByteRange | Everything


@dataclass(frozen=True, slots=True)
class Head:
    """An answer but for the representation's bytes.

    ``segments`` is the body: literal bytes and slices of the representation, in order; empty
    for HEAD, 304 and empty objects.
    """

    status: int
    fields: Fields
    segments: tuple[Segment, ...] = ()

    @property
    def needs_representation(self) -> bool:
        """Does the body take bytes of the representation?"""
        return any(not isinstance(segment, bytes) for segment in self.segments)
