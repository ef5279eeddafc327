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
from proxy.server.answered import PlainReply
from proxy.server.framing import MAX_HEAD_BYTES
from proxy.server.page_pipe import Pages
from proxy.server.remembered import Remembered
from proxy.server.reply import Reply
from proxy.server.wire import JOINED_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.core.messages import StoredResponse
    from proxy.gateway import Gateway
    from proxy.server.answered import Answered, Asked, AskedFields
    from proxy.store import Sighting

Lines = tuple[bytes, ...]
Field = tuple[bytes, bytes]

# What answers, and heads, may take of memory in bytes, and what a request may be to be worth
# remembering: a client that makes up targets and fields must not fill memory.
_ROOM = 16 * 2**20
_LONGEST_ASKED = 2048
# What comes again only after so many others would be forgotten before it came a third time.
_SEEN = 1 << 14
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
class Rest:
    """What there is to know of a head behind its first line.

    ``fields`` are those that have a say, ``lines`` values for the caller; ``is_plain`` is whether
    a GET with it is.
    """

    fields: AskedFields
    lines: Lines
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A plain request for an object, and what the gateway saw of the object in memory."""

    request: Request
    sighting: Sighting | None


Body = bytes | memoryview | Pages
# A reply with its body, or why there is none.
Found = tuple["Answered", Body] | Unanswered


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
        # By what heads are behind their first line.
        self._rests: Remembered[bytes, Rest] = Remembered(room // 16)
        self._seen = Seen(_SEEN)
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
        return self._remembered(asked) or self._answer(asked, fields)

    def request(self, method: bytes, target: bytes, fields: Sequence[Field]) -> Request | None:
        """What is asked for, where it is a plain request for an object; see answer()."""
        if method not in _METHODS or any(name in _OF_A_BODY for name, _ in fields):
            return None
        key = self._key(target)
        return None if key is None else Request.from_fields(_METHODS[method], key, fields)

    def _key(self, target: bytes) -> str | None:
        try:
            return object_key(target.partition(b"?")[0], self._prefix)
        except InvalidTarget:
            return None

    def _remembered(self, asked: Asked) -> tuple[Reply, Body] | None:
        found = self._replies.get(asked)
        if found is None:
            return None
        reply = found[0]
        body = self._body(reply)
        return None if body is None else (reply, body)

    def _answer(self, asked: Asked, fields: Sequence[Field]) -> Found | None:
        request = self.request(asked[0], asked[1], fields)
        if request is None:
            return None
        again = self._seen.again(asked)
        plain = None if again or not request.is_plain else self._plain(asked, request.key)
        return plain or self._ask(asked, request, again=again)

    def answer_head(self, head: bytes) -> tuple[Answered, Body, Lines] | None:
        """As answer(), of a whole request head that remember_head() has been told of.

        Beside reply and body what was told of the head.
        """
        found = self._answer_to(head)
        if found is None:
            return self._answer_line(head)
        reply, lines = found[0]
        body = self._body(reply)
        return None if body is None else (reply, body, lines)

    def remember_head(self, head: bytes, reply: Answered, lines: Lines) -> None:
        """Let ``reply`` be the answer to any request of these very bytes.

        They are to be one request without a body, whole and sound, from a connection that was
        waiting for one. ``lines`` are values of its fields that the caller will want to know.
        """
        if len(head) > _LONGEST_ASKED:
            return
        if isinstance(reply, Reply) and reply.lasts:
            self._heads.remember(head, (reply, lines), len(head) + _HEAD_BYTES)
        line, _, rest = head.partition(b"\r\n")
        # RFC 9112 §2.2 lets line ends come before the first line: what is behind the first of them
        # is no mere fields then.
        if _LINE.fullmatch(line) is not None and rest not in self._rests:
            fields = reply.asked[2]
            known = Rest(fields, lines, Request.from_fields("GET", "", fields).is_plain)
            self._rests.remember(rest, known, len(rest) + _size(fields) + _HEAD_BYTES)

    def _answer_line(self, head: bytes) -> tuple[Answered, Body, Lines] | None:
        """As answer_head(), of a head of which all but the first line is known."""
        if len(head) > MAX_HEAD_BYTES:
            return None
        line, _, rest = head.partition(b"\r\n")
        found_rest = self._rests.get(rest)
        read = _LINE.fullmatch(line) if found_rest is not None else None
        if found_rest is None or read is None:
            return None
        known = found_rest[0]
        method, target = read.groups()
        asked = method, target, known.fields
        found = self._remembered(asked) or self._answer_known(asked, known)
        if found is None:
            return None
        if isinstance(found, Unanswered):
            self._sighted = asked, found.sighting
            return None
        reply, body = found
        if reply.lasts:
            self.remember_head(head, reply, known.lines)
        return reply, body, known.lines

    def _answer_known(self, asked: Asked, known: Rest) -> Found | None:
        """As _answer(); what else would be found out is ``known``."""
        method, target, fields = asked
        key = self._key(target)
        if key is None:
            return None
        again = self._seen.again(asked)
        if known.is_plain and method == b"GET" and not again:
            plain = self._plain(asked, key)
            if plain is not None:
                return plain
        request = Request.from_fields(_METHODS[method], key, fields)
        return self._ask(asked, request, again=again)

    def _plain(self, asked: Asked, key: str) -> tuple[Answered, bytes] | None:
        """The reply to a plain GET that may not come again: nothing of it is held."""
        recalled = self._memory.recall_plain(key, JOINED_BYTES)
        if recalled is None:
            return None
        self._sighted = None
        return PlainReply(asked, recalled, self._now), recalled.body

    def _body(self, reply: Reply) -> Body | None:
        """A reply's body, where the gateway would still give this reply; brings it up to now."""
        # The one place where a reply is held against the store, which counts as a use of what
        # is stored.
        if not self._use(reply.slot, reply.version):
            return None
        now = self._now()
        if now >= reply.valid_until and not reply.retell(self._memory, now):
            return None
        return self.contents(reply) if reply.pages is None else reply.pages

    def contents(self, reply: Reply) -> bytes | memoryview | None:
        """A reply's body as bytes; None where its room is another's by now."""
        stored = reply.stored()
        if stored is None:
            under_way = reply.under_way()
            if under_way is not None:
                return under_way
            pieces = reply.pieces
            if pieces is not None and (reply.size <= _SMALL_BODY_BYTES or self._turn()):
                return self._read(reply.slot, reply.version, pieces)
            stored = self._stored_again(reply)
            if stored is None:
                return None
        body = stored.body or b""
        if not reply.whole:
            body = from_memory(reply.segments, body)
        if isinstance(body, memoryview):
            reply.under_way = ref(body)
        return body

    def rest(self, reply: Reply, unsent: bytes) -> bytes | memoryview:
        """The end of a reply that the client did not take at once, to be kept until it does.

        The same bytes; of a body in hand, so that many slow clients do not have a copy each.
        """
        stored = reply.stored() or self._stored_again(reply)
        if stored is None or stored.body is None:
            return unsent
        body = memoryview(from_memory(reply.segments, stored.body))
        return body[-len(unsent) :] if len(unsent) <= len(body) else unsent

    def _stored_again(self, reply: Reply) -> StoredResponse | None:
        """The response that nobody kept in hand since a reply was last sent."""
        found = self._memory.look_up(reply.key)
        if found is None or found.version != reply.version:
            return None
        reply.stored = ref(found.response)
        return found.response

    def _ask(self, asked: Asked, request: Request, *, again: bool) -> Found:
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
        if again and size <= _LONGEST_ASKED:
            reply.last(recalled.found)
            self._replies.remember(asked, reply, size + 2 * len(reply.head) + _REPLY_BYTES)
        return reply, recalled.body


def _size(fields: AskedFields) -> int:
    return sum([len(value) + _FIELD_BYTES for _, value in fields])
