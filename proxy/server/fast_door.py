"""Answers that need nothing but memory, encoded for the wire.

Decides nothing: an answer is what the gateway says, remembered for as long as it would say the
same. That is until the second changes in Age or in the remaining freshness, and only while the
very same response is stored. Of most answers the gateway knows beforehand that nothing else will
change while they are fresh; then it is asked for these two alone.

Answers are remembered twice: by what has a say in them, and by the bytes of whole request heads,
for the client that asks again in the same words. Both memories are bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from weakref import ref

from proxy.answer import from_memory
from proxy.core.cache_key import InvalidTarget, object_key
from proxy.core.messages import Request
from proxy.server.wire import date_line, field_lines, status_line

if TYPE_CHECKING:
    from proxy.access_log import LinePieces
    from proxy.core.messages import Fields, StoredResponse
    from proxy.gateway import Gateway, Recalled
    from proxy.store import Sighting

Lines = tuple[bytes, ...]
_Fields = list[tuple[bytes, bytes]]
_Asked = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]

# What answers, and heads, may take of memory in bytes, and what a request may be to be worth
# remembering: a client that makes up targets and fields must not fill memory.
_ROOM = 16 * 2**20
_LONGEST_ASKED = 2048
# What an answer takes beside its encoded head (sys.getsizeof, 64-bit CPython 3.11-3.13).
_REPLY_BYTES = 1100
_HEAD_BYTES = 260
_FIELD_BYTES = 128

# A request with a body has more to be read, which is the application's server's to do.
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})

_METHODS = {b"GET": "GET", b"HEAD": "HEAD"}

K = TypeVar("K")
V = TypeVar("V")


class Remembered(OrderedDict[K, tuple[V, int]]):
    """Values with their sizes by key, together of at most ``limit`` bytes; first in, first out."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self.bytes = 0

    def remember(self, key: K, value: V, size: int) -> None:
        """Remember a value of ``size`` bytes; forgets others to have room for it."""
        replaced = self.pop(key, None)
        if replaced is not None:
            self.bytes -= replaced[1]
        self[key] = (value, size)
        self.bytes += size
        while self.bytes > self._limit:
            _, (_, freed) = self.popitem(last=False)
            self.bytes -= freed


class Reply:
    """An answer on the wire: ``head``, the request id, an empty line, the body.

    ``head`` is as it has to be until ``valid_until``. The body is made of ``segments`` of the
    stored response, which is not kept alive by this.
    """

    __slots__ = (
        "_after",
        "_asked",
        "_before",
        "_decided_until",
        "_is_dated",
        "handling",
        "head",
        "key",
        "log_pieces",
        "segments",
        "slot",
        "status",
        "stored",
        "valid_until",
        "version",
        "whole",
    )

    def __init__(self, asked: _Asked, key: str, recalled: Recalled, now: float) -> None:
        self._asked = asked
        self.key = key
        # What its lines in the access log have in common, once there is one.
        self.log_pieces: LinePieces | None = None
        self.status = recalled.head.status
        self.segments = recalled.head.segments
        # Is the body the very one stored?
        self.whole = recalled.body is recalled.found.response.body
        self.handling = recalled.handling
        self.stored = ref(recalled.found.response)
        self.slot, self.version = recalled.found.slot, recalled.found.version
        self.valid_until = recalled.valid_until
        self._decided_until = recalled.decided_until
        self._before, self._after = _encoded(recalled)
        # Errors are made here and now; all else has the Date that it was stored with.
        self._is_dated = any(name == b"date" for name, _ in recalled.head.fields)
        self.head = self._told(recalled.told, now)

    @property
    def method(self) -> str:
        """The method of the requests that it answers."""
        return self._asked[0].decode("ascii")

    @property
    def path(self) -> str:
        """Their target's path, percent-encoded."""
        return self._asked[1].partition(b"?")[0].decode("ascii", "backslashreplace")

    def retell(self, gateway: Gateway, stored: StoredResponse, now: float) -> bool:
        """Bring the head up to ``now``; false where the gateway has to decide anew."""
        if now >= self._decided_until:
            return False
        fields, self.handling, self.valid_until = gateway.retell(stored, now)
        self.head = self._told(fields, now)
        return True

    def _told(self, fields: Fields, now: float) -> bytes:
        """The head with the cache's fields of now."""
        date = b"" if self._is_dated else date_line(now)
        return b"".join((self._before, field_lines(fields), self._after, date, b"x-request-id: "))


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A plain request for an object, and what the gateway saw of the object in memory."""

    request: Request
    sighting: Sighting | None


# A reply with its body, or why there is none.
Found = tuple[Reply, bytes | memoryview] | Unanswered


class FastDoor:
    """Looks for answers in memory on behalf of one event loop's connections.

    Remembers at most ``room`` bytes of answers, and as many of request heads.
    """

    def __init__(self, gateway: Gateway, prefix: str, *, room: int = _ROOM) -> None:
        self._gateway = gateway
        self._now = gateway.now
        self._is_current = gateway.is_current
        self._prefix = prefix
        self._replies: Remembered[_Asked, Reply] = Remembered(room)
        self._heads: Remembered[bytes, tuple[Reply, Lines]] = Remembered(room)
        self._answer_to = self._heads.get

    def answer(self, method: bytes, target: bytes, read: _Fields, fields: _Fields) -> Found | None:
        """The reply to a request, with its body; Unanswered where memory alone cannot give it.

        None for what is no GET or HEAD without a body, or for no object. Of ``fields``, all of the
        request's, ``read`` have a say: the framing's and READ_FIELDS.
        """
        asked = (method, target, tuple([field for field in read if field[0] != b"host"]))
        found = self._replies.get(asked)
        if found is not None:
            reply = found[0]
            body = self._body(reply)
            if body is not None:
                return reply, body
        request = self.request(method, target, read, fields)
        return None if request is None else self._ask(asked, request)

    def answer_head(self, head: bytes) -> tuple[Reply, bytes | memoryview, Lines] | None:
        """As answer(), of a whole request head that remember_head() has been told of.

        Beside reply and body what was told of the head.
        """
        found = self._answer_to(head)
        if found is None:
            return None
        reply, lines = found[0]
        body = self._body(reply)
        return None if body is None else (reply, body, lines)

    def remember_head(self, head: bytes, reply: Reply, lines: Lines) -> None:
        """Let ``reply`` be the answer to any request of these very bytes.

        They are to be one request without a body, whole and sound, from a connection that was
        waiting for one. ``lines`` are values of its fields that the caller will want to know.
        """
        if len(head) <= _LONGEST_ASKED:
            self._heads.remember(head, (reply, lines), len(head) + _HEAD_BYTES)

    def _body(self, reply: Reply) -> bytes | memoryview | None:
        """A reply's body, where the gateway would still give this reply; brings it up to now."""
        # The one place where a reply is held against the store, which counts as a use of what
        # is stored.
        if not self._is_current(reply.slot, reply.version):
            return None
        stored = reply.stored() or self._stored_again(reply)
        if stored is None:
            return None
        now = self._now()
        if now >= reply.valid_until and not reply.retell(self._gateway, stored, now):
            return None
        body = stored.body or b""
        return body if reply.whole else from_memory(reply.segments, body)

    def _stored_again(self, reply: Reply) -> StoredResponse | None:
        """The response that nobody kept in hand since a reply was last sent."""
        found = self._gateway.look_up(reply.key)
        if found is None or found[1:] != (reply.slot, reply.version):
            return None
        reply.stored = ref(found.response)
        return found.response

    def request(
        self, method: bytes, target: bytes, read: _Fields, fields: _Fields
    ) -> Request | None:
        """What is asked for, where it is a plain request for an object; see answer()."""
        if method not in _METHODS or any(name in _OF_A_BODY for name, _ in read):
            return None
        path, _, _ = target.partition(b"?")
        try:
            key = object_key(path, self._prefix)
        except InvalidTarget:
            return None
        return Request.from_fields(_METHODS[method], key, fields)

    def _ask(self, asked: _Asked, request: Request) -> Found:
        _, target, fields = asked
        sighting = self._gateway.sight(request.key)
        recalled = self._gateway.recall(request, sighting)
        if recalled is None:
            return Unanswered(request, sighting)
        reply = Reply(asked, request.key, recalled, self._now())
        size = len(target) + sum([len(value) + _FIELD_BYTES for _, value in fields])
        if size <= _LONGEST_ASKED:
            self._replies.remember(asked, reply, size + 2 * len(reply.head) + _REPLY_BYTES)
        return reply, recalled.body


def _encoded(recalled: Recalled) -> tuple[bytes, bytes]:
    """Status line and fields: before the cache's, and after them."""
    head, told = recalled.head, recalled.told
    at = _place(told, head.fields)
    before, after = head.fields[:at], head.fields[at + len(told) :]
    return status_line(head.status) + field_lines(before), field_lines(after)


def _place(part: Fields, whole: Fields) -> int:
    """Where ``part`` begins in ``whole``."""
    return next(at for at in range(len(whole)) if whole[at : at + len(part)] == part)
