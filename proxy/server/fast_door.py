"""Answers that need nothing but memory, encoded for the wire.

Decides nothing: an answer is what the gateway says, remembered for as long as it would say the
same. That is until the second changes in Age or in the remaining freshness, and only while the
very same response is stored.
"""

from __future__ import annotations

import http
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import ref

from proxy.answer import from_memory
from proxy.core.cache_key import InvalidTarget, object_key
from proxy.core.messages import Request

if TYPE_CHECKING:
    from proxy.core.cache_status import Handling
    from proxy.core.messages import Head, Segment, StoredResponse
    from proxy.gateway import Gateway

_Fields = list[tuple[bytes, bytes]]
_Asked = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]

# Answers remembered at most, and what a request may be to be worth remembering: a client that
# makes up targets and fields must not fill memory.
_REMEMBERED = 4096
_LONGEST_ASKED = 2048
_FIELD_BYTES = 128

# A request with a body has more to be read, which is the application's server's to do.
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})

_METHODS = {b"GET": "GET", b"HEAD": "HEAD"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on the wire: ``head``, the request id, an empty line, the body.

    The body is made of ``segments`` of the stored response, which is not kept alive by this.
    """

    status: int
    head: bytes
    segments: tuple[Segment, ...]
    handling: Handling
    stored: ref[StoredResponse]
    slot: int
    version: int
    valid_until: float


class FastDoor:
    """Looks for answers in memory on behalf of one event loop's connections."""

    def __init__(self, gateway: Gateway, prefix: str) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._replies: dict[_Asked, Reply] = {}

    def answer(self, method: bytes, target: bytes, fields: _Fields) -> tuple[Reply, bytes] | None:
        """The reply to a request, with its body; None where memory alone cannot give it.

        ``fields`` are those that have a say: the framing's and READ_FIELDS.
        """
        asked = (method, target, tuple([field for field in fields if field[0] != b"host"]))
        gateway = self._gateway
        reply = self._replies.get(asked)
        if reply is not None and gateway.now() < reply.valid_until:
            stored = reply.stored()
            if stored is not None and gateway.is_current(reply.slot, reply.version):
                return reply, from_memory(reply.segments, stored.body or b"")
        return self._ask(asked)

    def _ask(self, asked: _Asked) -> tuple[Reply, bytes] | None:
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
        head, body, handling, found, valid_until = recalled
        reply = Reply(
            status=head.status,
            head=_encoded(head),
            segments=head.segments,
            handling=handling,
            stored=ref(found.response),
            slot=found.slot,
            version=found.version,
            valid_until=valid_until,
        )
        if len(target) + sum([len(value) + _FIELD_BYTES for _, value in fields]) <= _LONGEST_ASKED:
            if len(self._replies) >= _REMEMBERED:
                self._replies.clear()
            self._replies[asked] = reply
        return reply, body


def _encoded(head: Head) -> bytes:
    """Status line and fields, up to where the request id goes."""
    lines = [b"HTTP/1.1 %d %b" % (head.status, http.HTTPStatus(head.status).phrase.encode())]
    lines += [b"%b: %b" % field for field in head.fields]
    lines.append(b"x-request-id: ")
    return b"\r\n".join(lines)
