"""The encoding of cached values for shared memory.

Bytes are stored as they are; a stored response as its head's encoding and its body; anything else
as its pickle, which never leaves the processes that share the memory.
"""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any

from proxy.cache.encoding import Sketch, decode_head, encode_head, sketch_head
from proxy.cache.shared_store import Content
from proxy.core.messages import StoredResponse
from proxy.core.storability import must_validate, stale_from

if TYPE_CHECKING:
    from proxy.cache.shared_store import Stored
    from proxy.cache.unlocked import Glimpsed

# A response marked stale since then may have been purged: no stale window applies to it.
ALWAYS = -math.inf

_PICKLE, _BYTES, _RESPONSE = range(3)

Sketched = tuple[Sketch, bytes]

# Shorter data has no room of its own.
_SHORT = 1024

# Instances of these can be given out again and again, since nobody can alter them.
_IMMUTABLE = frozenset({bytes, str, int, float, complex, bool, type(None), StoredResponse})


def content_of(value: Any) -> Content:
    """Raises what pickle raises; ValueError for a response that has no encoding."""
    kind = type(value)
    if kind is StoredResponse:
        return Content(_RESPONSE, encode_head(value), value.body)
    data = value if kind is bytes else pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    tag = _BYTES if kind is bytes else _PICKLE
    return Content(tag, data, None) if len(data) <= _SHORT else Content(tag, b"", data)


def value_of(stored: Stored) -> Any:
    """The value again: an equal one, of the same type, that shares nothing with others."""
    kind, head, body = stored.content
    if kind == _RESPONSE:
        response = decode_head(head, body)
        return (
            response if math.isnan(stored.stale_since) else _as_marked(response, stored.stale_since)
        )
    data = head if body is None else bytes(body)
    return data if kind == _BYTES else pickle.loads(data)  # noqa: S301 - our own


def sketch_of(glimpsed: Glimpsed) -> Sketched | None:
    """A response in short, with its body; None for any other value, and where it was marked."""
    record = glimpsed.record
    if record.kind != _RESPONSE or not math.isnan(record.stale_since):
        return None
    return sketch_head(glimpsed.head), glimpsed.body


def _as_marked(response: StoredResponse, since: float) -> StoredResponse:
    return must_validate(response) if since == ALWAYS else stale_from(response, since)


def is_immutable(value: Any) -> bool:
    """May the very object be given to everyone who asks?"""
    return type(value) in _IMMUTABLE


def size_of(value: Any) -> int:
    """What an immutable value takes in a process's memory, about."""
    if type(value) is StoredResponse:
        return value.__cache_size__
    return len(value) if type(value) in {bytes, str} else 0
