"""Answers that need nothing but memory, encoded for the wire.

Decides nothing: an answer is what the gateway says, remembered for as long as it would say the
same. That is until the second changes in Age or in the remaining freshness, and only while the
very same response is stored. Of most answers the gateway knows beforehand that nothing else will
change while they are fresh; then it is asked for these two alone.

Answers are remembered twice: by what has a say in them, and by the bytes of whole request heads,
for the client that asks again in the same words. Both memories are bounded.
"""

from __future__ import annotations

import http
from collections import OrderedDict
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar
from weakref import ref

from proxy.answer import from_memory
from proxy.core.cache_key import InvalidTarget, object_key
from proxy.core.messages import Everything, Request
from proxy.core.ranges import ByteRange

if TYPE_CHECKING:
    from proxy.access_log import LinePieces
    from proxy.core.messages import Fields, StoredResponse
    from proxy.gateway import Gateway, Recalled

Lines = tuple[bytes, ...]
_Fields = list[tuple[bytes, bytes]]
_Asked = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]

# What answers, and heads, may take of memory in bytes, and what a request may be to be worth
# remembering: a client that makes up targets and fields must not fill memory.
_ROOM = 16 * 2**20
_LONGEST_ASKED = 2048
# What an answer takes beside its encoded head (sys.getsizeof, 64-bit CPython 3.11-3.13).
_REPLY_BYTES = 1100
# Of bodies that this process does not have in hand one in so many is taken in hand, so that those
# asked for again and again come to be. The others are copied from the store as they are needed,
# which for a body up to here is no slower.
_TAKEN_IN_HAND = 16
_SMALL_BODY_BYTES = 16 * 1024
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
    stored one, which is not kept alive by this, and where ``at`` is not None is ``size`` bytes
    from there in the store.
    """

    __slots__ = (
        "_after",
        "_asked",
        "_before",
        "_decided_until",
        "_kept",
        "at",
        "handling",
        "head",
        "key",
        "log_pieces",
        "segments",
        "size",
        "slot",
        "status",
        "stored",
        "valid_until",
        "version",
        "whole",
    )

    def __init__(self, asked: _Asked, key: str, recalled: Recalled) -> None:
        self._asked = asked
        self.key = key
        # What its lines in the access log have in common, once there is one.
        self.log_pieces: LinePieces | None = None
        self.status = recalled.head.status
        self.segments = recalled.head.segments
        found = recalled.found
        # Is the body the very one stored?
        self.whole = recalled.body is found.response.body
        self.handling = recalled.handling
        self.stored = ref(found.response)
        self._kept = replace(found.response, body=None)
        self.slot, self.version = found.slot, found.version
        self.at, self.size = _place_of_body(recalled)
        self.valid_until = recalled.valid_until
        self._decided_until = recalled.decided_until
        self._before, told, self._after = _encoded(recalled)
        self.head = self._before + told + self._after

    @property
    def method(self) -> str:
        """The method of the requests that it answers."""
        return self._asked[0].decode("ascii")

    @property
    def path(self) -> str:
        """Their target's path, percent-encoded."""
        return self._asked[1].partition(b"?")[0].decode("ascii", "backslashreplace")

    def retell(self, gateway: Gateway, now: float) -> bool:
        """Bring the head up to ``now``; false where the gateway has to decide anew."""
        if now >= self._decided_until:
            return False
        fields, self.handling, self.valid_until = gateway.retell(self._kept, now)
        self.head = self._before + _lines(fields) + self._after
        return True


class FastDoor:
    """Looks for answers in memory on behalf of one event loop's connections.

    Remembers at most ``room`` bytes of answers, and as many of request heads.
    """

    def __init__(self, gateway: Gateway, prefix: str, *, room: int = _ROOM) -> None:
        self._gateway = gateway
        self._now = gateway.now
        self._use, self._read = gateway.use, gateway.read
        self._turn = cycle(range(_TAKEN_IN_HAND)).__next__
        self._prefix = prefix
        self._replies: Remembered[_Asked, Reply] = Remembered(room)
        self._heads: Remembered[bytes, tuple[Reply, Lines]] = Remembered(room)
        self._answer_to = self._heads.get

    def answer(
        self, method: bytes, target: bytes, fields: _Fields
    ) -> tuple[Reply, bytes | memoryview] | None:
        """The reply to a request, with its body; None where memory alone cannot give it.

        ``fields`` are those that have a say: the framing's and READ_FIELDS.
        """
        asked = (method, target, tuple([field for field in fields if field[0] != b"host"]))
        found = self._replies.get(asked)
        if found is not None:
            reply = found[0]
            body = self._body(reply)
            if body is not None:
                return reply, body
        return self._ask(asked)

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
        if not self._use(reply.slot, reply.version):
            return None
        now = self._now()
        if now >= reply.valid_until and not reply.retell(self._gateway, now):
            return None
        stored = reply.stored()
        if stored is None:
            at, size = reply.at, reply.size
            if at is not None and (size <= _SMALL_BODY_BYTES or self._turn()):
                return self._read(reply.slot, reply.version, at, size)
            stored = self._stored_again(reply)
            if stored is None:
                return None
        body = stored.body or b""
        return body if reply.whole else from_memory(reply.segments, body)

    def _stored_again(self, reply: Reply) -> StoredResponse | None:
        """The response that nobody kept in hand since a reply was last sent."""
        found = self._gateway.look_up(reply.key)
        if found is None or found.version != reply.version:
            return None
        reply.stored = ref(found.response)
        return found.response

    def _ask(self, asked: _Asked) -> tuple[Reply, bytes | memoryview] | None:
        method, target, fields = asked
        if method not in _METHODS or any(name in _OF_A_BODY for name, _ in fields):
            return None
        path, _, _ = target.partition(b"?")
        try:
            key = object_key(path, self._prefix)
        except InvalidTarget:
            return None
        recalled = self._gateway.recall(Request.from_fields(_METHODS[method], key, fields))
        if recalled is None:
            return None
        reply = Reply(asked, key, recalled)
        size = len(target) + sum([len(value) + _FIELD_BYTES for _, value in fields])
        if size <= _LONGEST_ASKED:
            self._replies.remember(asked, reply, size + 2 * len(reply.head) + _REPLY_BYTES)
        return reply, recalled.body


def _place_of_body(recalled: Recalled) -> tuple[int | None, int]:
    """Where an answer's body begins in the store, None where it is not in one piece; its bytes."""
    segments, found = recalled.head.segments, recalled.found
    if not segments:
        # Nothing, which is anywhere.
        return 0, 0
    if len(segments) == 1 and found.body_at is not None:
        only = segments[0]
        if isinstance(only, ByteRange):
            return found.body_at + only.first, only.length
        if isinstance(only, Everything):
            return found.body_at, len(found.response.body or b"")
    return None, 0


def _encoded(recalled: Recalled) -> tuple[bytes, bytes, bytes]:
    """Status line and fields, up to where the request id goes: before, of, after the cache's."""
    head, told = recalled.head, recalled.told
    line = b"HTTP/1.1 %d %b\r\n" % (head.status, http.HTTPStatus(head.status).phrase.encode())
    at = _place(told, head.fields)
    after = head.fields[at + len(told) :]
    return line + _lines(head.fields[:at]), _lines(told), _lines(after) + b"x-request-id: "


def _place(part: Fields, whole: Fields) -> int:
    """Where ``part`` begins in ``whole``."""
    return next(at for at in range(len(whole)) if whole[at : at + len(part)] == part)


def _lines(fields: Fields) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])
