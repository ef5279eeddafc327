"""Objects whose bodies tell which key and version they are, and whether they are whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from tests.origins import per_request, respond

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.origins import RecordedRequest, ScriptedOrigin, Step

_DIGEST = 64


class Told(NamedTuple):
    """What a body says of itself."""

    key: str
    version: int


def body_of(key: str, version: int, length: int = 3000) -> bytes:
    """About ``length`` bytes."""
    line = f"{key} {version}\n".encode()
    content = line * max(1, length // len(line))
    return content + hashlib.sha256(content).hexdigest().encode()


def read(body: bytes) -> Told:
    """Raises ValueError for a body that is not what body_of() made."""
    content, digest = body[:-_DIGEST], body[-_DIGEST:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError(f"a torn body of {len(body)} bytes")
    key, version = content.partition(b"\n")[0].decode().rsplit(" ", 1)
    return Told(key, int(version))


class Bucket:
    """What the origin has: every key, in the version that was published last, 1 at first."""

    def __init__(self, origin: ScriptedOrigin, cache_control: str = "max-age=3600") -> None:
        self.origin = origin
        self._cache_control = cache_control
        self._versions: dict[str, int] = {}
        self._lengths: dict[str, int] = {}
        origin.default(self.step)

    @property
    def step(self) -> Step:
        """Answers with the current version, or 304 to who has it."""
        return per_request(self._answer)

    def publish(self, key: str, version: int) -> None:
        """Overwrite an object."""
        self._versions[key] = version

    def set_length(self, key: str, length: int) -> None:
        """How long its bodies are."""
        self._lengths[key] = length

    def asked(self, keys: Iterable[str]) -> dict[str, int]:
        """How many requests came for each of some keys."""
        return {key: self.origin.count(key) for key in keys}

    def validated(self, key: str) -> int:
        """How many of them had If-None-Match."""
        requests = [request for request in self.origin.requests if request.key == key]
        return sum(request.header("If-None-Match") is not None for request in requests)

    def _answer(self, request: RecordedRequest) -> Step:
        key = request.key or ""
        version = self._versions.get(key, 1)
        etag = f'"{version}"'
        headers = {"ETag": etag, "Cache-Control": self._cache_control}
        if request.header("If-None-Match") == etag:
            return respond(304, headers=headers)
        return respond(200, body_of(key, version, self._lengths.get(key, 3000)), headers)
