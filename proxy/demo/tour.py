"""What the demo tells its user: where things are, which requests are worth trying."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from proxy.demo.bucket import LINE_BYTES, MAX_OBJECT_SIZE, SampleObject
from proxy.management.commands.healthcheck import client_hosts

STYLE: Final = "assets/style.css"
LINES: Final = "large/lines.txt"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the demo's proxy listens; the host is `""` for all interfaces."""

    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The host that a client on this machine uses."""
        return client_hosts(self.host)[0]

    @property
    def url(self) -> str:
        """The proxy's URL for a client on this machine, without a slash at its end."""
        return f"http://{_bracketed(self.reachable_host)}:{self.port}"

    @property
    def server_addr(self) -> str:
        """The same as the variable SERVER_ADDR is written."""
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The embedded S3, as a client needs it."""

    endpoint: str
    name: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """A curl command line and what it shows."""

    shows: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.command)


@dataclass(frozen=True, slots=True)
class Tour:
    """One run of the demo."""

    address: Address
    token: str = field(repr=False)
    server_pid: int
    bucket: Bucket
    objects: Sequence[SampleObject]

    def url_of(self, key: str) -> str:
        """The URL of an object behind the proxy."""
        return f"{self.address.url}/{quote(key)}"

    def trials(self) -> Iterable[Trial]:
        """Five requests worth trying, in this order."""
        style, lines = self.url_of(STYLE), self.url_of(LINES)
        body = next(sample.body for sample in self.objects if sample.key == STYLE)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        first = 100_000 * LINE_BYTES
        purge = json.dumps({"keys": [STYLE]})
        yield Trial("a hit: run it twice, X-Cache says MISS, then HIT", ("curl", "-i", style))
        yield Trial(
            "a conditional request: 304, no body",
            ("curl", "-i", "-H", f'If-None-Match: "{etag}"', style),
        )
        yield Trial(
            "a range: line 100000 of an object too large to be stored",
            ("curl", "-i", "-H", f"Range: bytes={first}-{first + LINE_BYTES - 1}", lines),
        )
        yield Trial(
            "a purge: the next request for it is a MISS again",
            (
                *("curl", "-i", "-X", "POST", "-H", f"X-Auth-Token: {self.token}"),
                *("-H", "Content-Type: application/json", "-d", purge),
                f"{self.address.url}/cache/purge",
            ),
        )
        yield Trial(
            "the cache's statistics",
            (
                *("curl", "-i", "-H", f"Authorization: Bearer {self.token}"),
                f"{self.address.url}/cache/stats",
            ),
        )

    def as_text(self) -> str:
        """For people."""
        files = [
            f"  {self.url_of(sample.key)}  ({len(sample.body):,} bytes"
            f"{', ' + sample.cache_control if sample.cache_control else ''})"
            for sample in self.objects
        ]
        trials = [line for trial in self.trials() for line in (f"  # {trial.shows}", f"  {trial}")]
        return "\n".join(
            [
                "",
                f"s3proxy serves a sample bucket. Open {self.url_of('index.html')}",
                "",
                *files,
                f"  (MAX_OBJECT_SIZE is {MAX_OBJECT_SIZE} here: {LINES} is larger)",
                "",
                f"Admin token:  {self.token}",
                f"Embedded S3:  {self.bucket.endpoint} (bucket {self.bucket.name})",
                f"S3 keys:      {self.bucket.access_key} {self.bucket.secret_key}",
                "              (this S3 checks no signatures: wrong keys work too)",
                "",
                "Worth trying:",
                *trials,
                "",
                "Ctrl-C stops everything.",
                "",
            ]
        )

    def as_json(self) -> str:
        """For programs: the same in one line."""
        described: dict[str, Any] = {
            "url": self.address.url,
            "token": self.token,
            "server_pid": self.server_pid,
            "s3": {
                "endpoint": self.bucket.endpoint,
                "bucket": self.bucket.name,
                "region": self.bucket.region,
                "access_key": self.bucket.access_key,
                "secret_key": self.bucket.secret_key,
            },
            "objects": [sample.key for sample in self.objects],
            "trials": [list(trial.command) for trial in self.trials()],
        }
        return json.dumps(described)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
