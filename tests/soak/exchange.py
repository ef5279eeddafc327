"""What a client asked and what came of it, as values that can be judged later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `part` is a Range: (first, last), (first, None) or (None, suffix length).

    Preconditions name versions of the object by number.
    """

    key: str
    method: str = "GET"
    part: tuple[int | None, int | None] | None = None
    if_none_match: int | None = None
    if_match: int | None = None
    if_range: int | None = None
    reload: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request with its response. Times are of the monotonic clock, in seconds.

    `status` None: the connection ended before a whole head. `complete`: the body was as long as
    the head said. `given_up`: the client left before the end. `timed_out`: it waited in vain.
    """

    asked: Asked
    begin: float
    end: float
    status: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = True
    given_up: bool = False
    timed_out: bool = False
    # The server's number, the client's port, and whether the connection had carried a request
    # before.
    server: int = 0
    port: int = 0
    reused: bool = False
    problem: str = ""

    @property
    def cache(self) -> str:
        return self.fields.get("x-cache", "")

    def describe(self) -> str:
        shown = {
            name: self.fields[name]
            for name in ("etag", "x-cache", "cache-status", "age", "content-length",
                         "content-range", "x-request-id")
            if name in self.fields
        }  # fmt: skip
        return (
            f"{self.asked} at {self.begin:.3f}..{self.end:.3f}: {self.status} {shown} "
            f"{len(self.body)} bytes, complete={self.complete}, server {self.server} "
            f"port {self.port} reused={self.reused} {self.problem}"
        )
