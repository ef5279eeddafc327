"""A purge as an entry of the stream has it.

Fields: ``v`` is 1, ``purge`` a JSON object with "keys" and "prefixes" (lists of S3 keys), "all" and
"soft" (booleans), all four of them. An entry with ``lost`` instead of ``purge`` says that purges
may have been lost before it; every stream begins with one. ``by`` tells the server that sent it
which of its own purges this is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from proxy.purge import Purge

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = b"1"
LOST: Mapping[str, bytes] = {"v": _VERSION, "lost": b"1"}


def encode(purge: Purge, sender: bytes = b"") -> dict[str, bytes]:
    """The fields of a purge's entry."""
    content = {
        "keys": sorted(purge.keys),
        "prefixes": list(purge.prefixes),
        "all": purge.everything,
        "soft": purge.soft,
    }
    text = json.dumps(content, separators=(",", ":"))
    return {"v": _VERSION, "purge": text.encode("ascii"), "by": sender}


def sender_of(fields: Mapping[bytes, bytes]) -> bytes:
    """Who sent it; empty where that is not said."""
    return fields.get(b"by", b"")


def decode(fields: Mapping[bytes, bytes]) -> Purge | None:
    """The purge of an entry; None where it says, or is so strange that it has to mean, lost."""
    if fields.get(b"v") != _VERSION or b"purge" not in fields:
        return None
    try:
        content = json.loads(fields[b"purge"])
        keys, prefixes = content["keys"], content["prefixes"]
        everything, soft = content["all"], content["soft"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if type(everything) is not bool or type(soft) is not bool:
        return None
    if not (_are_strings(keys) and _are_strings(prefixes)):
        return None
    return Purge(frozenset(keys), tuple(prefixes), everything, soft)


def _are_strings(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is str for value in values)
