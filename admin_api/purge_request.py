"""What the body of a purge request asks for.

    {"keys": ["a/b.css", "/a%20b"], "prefixes": ["img/"], "soft": true}
    {"all": true}

A key or prefix is S3's; one that begins with "/" is the start of a URL, percent-encoded, and gets
S3_PREFIX in front. Everything that could be a slip is refused: a purge that answers "done" without
having removed what was meant is worse than none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from proxy.core.cache_key import InvalidTarget, key_from_purge
from proxy.purge import Purge

_MEMBERS = ("keys", "prefixes", "all", "soft")
_SHAPE = 'write {"keys": [...]}, {"prefixes": [...]} or {"all": true}, with "soft": true if need be'


class MalformedPurgeError(ValueError):
    """The body is no purge request; the text says what would be."""


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """``keys`` and ``prefixes`` are S3's, each once, in the order they came in."""

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    everything: bool = False
    soft: bool = False

    @classmethod
    def from_body(cls, body: bytes, s3_prefix: str) -> PurgeRequest:
        """Raises MalformedPurgeError."""
        members = _object(body)
        unknown = sorted(set(members) - set(_MEMBERS))
        if unknown:
            raise MalformedPurgeError(f"unknown member {_shown(unknown[0])}; {_SHAPE}")
        everything = _flag(members, "all")
        soft = _flag(members, "soft")
        if everything:
            if "keys" in members or "prefixes" in members:
                raise MalformedPurgeError('"all" covers everything: leave out "keys", "prefixes"')
            return cls(everything=True, soft=soft)
        keys = _keys(members, "keys", s3_prefix)
        prefixes = _keys(members, "prefixes", s3_prefix)
        if not keys and not prefixes:
            raise MalformedPurgeError(f"nothing to purge; {_SHAPE}")
        return cls(keys, prefixes, soft=soft)

    @property
    def purge(self) -> Purge:
        """What the gateway is to carry out."""
        return Purge(frozenset(self.keys), self.prefixes, self.everything, self.soft)

    def outcome(self, purged: int) -> dict[str, int]:
        """What is answered and logged of the purge; ``purged`` counts stored responses."""
        return {
            "purged": purged,
            "soft": self.soft,
            "keys": len(self.keys),
            "prefixes": len(self.prefixes),
            "all": self.everything,
        }


def _object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPurgeError(f"the body is not UTF-8; {_SHAPE}") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except MalformedPurgeError:
        raise
    except RecursionError:
        raise MalformedPurgeError(f"the body is nested too deeply; {_SHAPE}") from None
    except json.JSONDecodeError as exc:
        raise MalformedPurgeError(f"the body is not JSON ({exc}); {_SHAPE}") from None
    except ValueError:  # a number of thousands of digits
        raise MalformedPurgeError(f"the body has a number out of range; {_SHAPE}") from None
    if not isinstance(value, dict):
        raise MalformedPurgeError(f"the body is not a JSON object; {_SHAPE}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise MalformedPurgeError(f"member {_shown(name)} is there twice; write it once")
        members[name] = value
    return members


def _no_constant(name: str) -> NoReturn:
    # RFC 8259 §6: Python's parser takes NaN and Infinity, JSON has neither.
    raise MalformedPurgeError(f"{name} is not JSON; {_SHAPE}")


def _flag(members: dict[str, Any], name: str) -> bool:
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise MalformedPurgeError(f'"{name}" must be true or false')
    return value


def _keys(members: dict[str, Any], name: str, s3_prefix: str) -> tuple[str, ...]:
    values = members.get(name, [])
    if not isinstance(values, list):
        raise MalformedPurgeError(f'"{name}" must be a list of strings')
    found: dict[str, None] = {}
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise MalformedPurgeError(f"{name}[{index}] must be a string")
        if name == "prefixes" and value in ("", "/"):
            raise MalformedPurgeError(
                f'{name}[{index}] would cover everything; say {{"all": true}} if that is meant'
            )
        try:
            found[key_from_purge(value, s3_prefix)] = None
        except InvalidTarget as exc:
            raise MalformedPurgeError(f"{name}[{index}] is no key: {exc.reason}") from None
    return tuple(found)


def _shown(name: str) -> str:
    return json.dumps(name if len(name) <= 40 else name[:40] + "…")
