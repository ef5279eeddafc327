"""Answers that need nothing but memory, encoded for the wire.

Decides nothing: an answer is what the gateway says, remembered for as long as it would say the
same. That is until the second changes in Age or in the remaining freshness, and only while the
very same response is stored. Of most answers the gateway knows beforehand that nothing else will
change while they are fresh; then it is asked for these two alone.

Answers that are asked for again are remembered twice: by what has a say in them, and by the bytes
of whole request heads, for the client that asks in the same words. Of a head that is new only in
its first line, as those of one browser are, the rest is known. All memories are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING
from weakref import ref

from proxy.answer import from_memory
from proxy.cache.seen import Seen
from proxy.core.cache_key import InvalidTarget, object_key
from proxy.core.messages import Request
from proxy.server.framing import MAX_HEAD_BYTES
from proxy.server.page_pipe import Pages
from proxy.server.remembered import Remembered
from proxy.server.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.messages import StoredResponse
    from proxy.gateway import Gateway
    from proxy.server.reply import Asked, AskedFields
    from proxy.store import Sighting

Lines = tuple[bytes, ...]
Field = tuple[bytes, bytes]

# What answers, and heads, may take of memory in bytes, and what a request may be to be worth
# remembering: a client that makes up targets and fields must not fill memory.
_ROOM = 16 * 2**20
_LONGEST_ASKED = 2048
# What an answer takes beside its encoded head (sys.getsizeof, 64-bit CPython 3.11-3.13).
_REPLY_BYTES = 1100
_HEAD_BYTES = 260
_FIELD_BYTES = 128
# Of bodies that this process does not have in hand one in so many is taken in hand, so that those
# asked for again and again come to be. The others are copied from the store as they are needed,
# which for a body up to here is no slower.
_TAKEN_IN_HAND = 16
_SMALL_BODY_BYTES = 16 * 1024

# A request with a body has more to be read, which is the application's server's to do.
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})

_METHODS = {b"GET": "GET", b"HEAD": "HEAD"}
# Request lines that no parser could read in another way.
_LINE = re.compile(rb"(GET|HEAD) (/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*) HTTP/1\.1")


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A plain request for an object, and what the gateway saw of the object in memory."""

    request: Request
    sighting: Sighting | None


Body = bytes | memoryview | Pages
# A reply with its body, or why there is none.
Found = tuple[Reply, Body] | Unanswered


class FastDoor:
    """Looks for answers in memory on behalf of one event loop's connections.

    Remembers at most ``room`` bytes of answers, and as many of request heads.
    """

    def __init__(self, gateway: Gateway, prefix: str, *, room: int = _ROOM) -> None:
        self._gateway = gateway
        self._memory = memory = gateway.memory
        self._now, self._use, self._read = memory.now, memory.use, memory.read
        self._turn = cycle(range(_TAKEN_IN_HAND)).__next__
        self._prefix = prefix
        self._replies: Remembered[Asked, Reply] = Remembered(room)
        self._heads: Remembered[bytes, tuple[Reply, Lines]] = Remembered(room)
        # What heads are behind their first line: the fields that have a say, and Lines.
        self._rests: Remembered[bytes, tuple[AskedFields, Lines]] = Remembered(room // 16)
        self._seen = Seen()
        # What was seen for a head that only parsing can tell more of, for when it is parsed.
        self._sighted: tuple[Asked, Sighting | None] | None = None
        self._answer_to = self._heads.get

    def answer(
        self, method: bytes, target: bytes, read: Sequence[Field], fields: Sequence[Field]
    ) -> Found | None:
        """The reply to a request, with its body; Unanswered where memory alone cannot give it.

        None for what is no GET or HEAD without a body, or for no object. Of ``fields``, all of the
        request's, ``read`` have a say: the framing's and READ_FIELDS.
        """
        asked = (method, target, tuple([field for field in read if field[0] != b"host"]))
        return self._answer(asked, fields)

    def request(self, method: bytes, target: bytes, fields: Sequence[Field]) -> Request | None:
        """What is asked for, where it is a plain request for an object; see answer()."""
        if method not in _METHODS or any(name in _OF_A_BODY for name, _ in fields):
            return None
        path, _, _ = target.partition(b"?")
        try:
            key = object_key(path, self._prefix)
        except InvalidTarget:
            return None
        return Request.from_fields(_METHODS[method], key, fields)

    def _answer(self, asked: Asked, fields: Sequence[Field]) -> Found | None:
        found = self._replies.get(asked)
        if found is not None:
            reply = found[0]
            body = self._body(reply)
            if body is not None:
                return reply, body
        request = self.request(asked[0], asked[1], fields)
        return None if request is None else self._ask(asked, request)

    def answer_head(self, head: bytes) -> tuple[Reply, Body, Lines] | None:
        """As answer(), of a whole request head that remember_head() has been told of.

        Beside reply and body what was told of the head.
        """
        found = self._answer_to(head)
        if found is None:
            return self._answer_line(head)
        reply, lines = found[0]
        body = self._body(reply)
        return None if body is None else (reply, body, lines)

    def remember_head(self, head: bytes, reply: Reply, lines: Lines) -> None:
        """Let ``reply`` be the answer to any request of these very bytes.

        They are to be one request without a body, whole and sound, from a connection that was
        waiting for one. ``lines`` are values of its fields that the caller will want to know.
        """
        if len(head) > _LONGEST_ASKED:
            return
        if reply.lasts:
            self._heads.remember(head, (reply, lines), len(head) + _HEAD_BYTES)
        line, _, rest = head.partition(b"\r\n")
        # RFC 9112 §2.2 lets line ends come before the first line: what is behind the first of them
        # is no mere fields then.
        if _LINE.fullmatch(line) is not None and rest not in self._rests:
            fields = reply.asked[2]
            self._rests.remember(rest, (fields, lines), len(rest) + _size(fields) + _HEAD_BYTES)

    def _answer_line(self, head: bytes) -> tuple[Reply, Body, Lines] | None:
        """As answer_head(), of a head of which all but the first line is known."""
        if len(head) > MAX_HEAD_BYTES:
            return None
        line, _, rest = head.partition(b"\r\n")
        known = self._rests.get(rest)
        asked = _LINE.fullmatch(line) if known is not None else None
        if known is None or asked is None:
            return None
        fields, lines = known[0]
        method_and_target = asked[1], asked[2]
        found = self._answer((*method_and_target, fields), fields)
        if found is None:
            return None
        if isinstance(found, Unanswered):
            self._sighted = (*method_and_target, fields), found.sighting
            return None
        reply, body = found
        if reply.lasts:
            self.remember_head(head, reply, lines)
        return reply, body, lines

    def _body(self, reply: Reply) -> Body | None:
        """A reply's body, where the gateway would still give this reply; brings it up to now."""
        # The one place where a reply is held against the store, which counts as a use of what
        # is stored.
        if not self._use(reply.slot, reply.version):
            return None
        now = self._now()
        if now >= reply.valid_until and not reply.retell(self._memory, now):
            return None
        if reply.pages is not None:
            return reply.pages
        stored = reply.stored()
        if stored is None:
            pieces = reply.pieces
            if pieces is not None and (reply.size <= _SMALL_BODY_BYTES or self._turn()):
                return self._read(reply.slot, reply.version, pieces)
            stored = self._stored_again(reply)
            if stored is None:
                return None
        body = stored.body or b""
        return body if reply.whole else from_memory(reply.segments, body)

    def read(self, pages: Pages) -> bytes | None:
        """A copy of what is in pages; None where they are another's by now."""
        return self._read(pages.slot, pages.version, pages.pieces)

    def _stored_again(self, reply: Reply) -> StoredResponse | None:
        """The response that nobody kept in hand since a reply was last sent."""
        found = self._memory.look_up(reply.key)
        if found is None or found.version != reply.version:
            return None
        reply.stored = ref(found.response)
        return found.response

    def _ask(self, asked: Asked, request: Request) -> Found:
        _, target, fields = asked
        sighted, self._sighted = self._sighted, None
        if sighted is not None and sighted[0] == asked:
            sighting = sighted[1]
        else:
            sighting = self._gateway.sight(request.key)
        recalled = self._memory.recall(request, sighting)
        if recalled is None:
            return Unanswered(request, sighting)
        reply = Reply(asked, request.key, recalled, self._now())
        size = len(target) + _size(fields)
        if size <= _LONGEST_ASKED and self._seen.again(asked):
            reply.last(recalled.found)
            self._replies.remember(asked, reply, size + 2 * len(reply.head) + _REPLY_BYTES)
        return reply, recalled.body


def _size(fields: AskedFields) -> int:
    return sum([len(value) + _FIELD_BYTES for _, value in fields])
