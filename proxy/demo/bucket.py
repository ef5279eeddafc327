"""Lists the objects of the demo's bucket."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.demo.media import chimes_wav, plasma_png

SITE: Final = Path(__file__).parent / "site"
MIB: Final = 1024 * 1024
MAX_OBJECT_SIZE: Final = "8MiB"  # what the demo's proxy runs with, so that 12 MiB are "too large"
LINE_BYTES: Final = 64
LARGE_LINES: Final = 12 * MIB // LINE_BYTES


@dataclass(frozen=True, slots=True)
class SampleObject:
    """One object as S3's PutObject takes it; `None` leaves that header out."""

    key: str
    body: bytes
    content_type: str
    cache_control: str | None = None
    content_encoding: str | None = None


def sample_objects() -> Iterator[SampleObject]:
    """The demo's bucket: a small site, then one object for each thing worth trying."""
    yield SampleObject(
        "index.html",
        _site("index.html"),
        "text/html; charset=utf-8",
        "public, max-age=15, stale-while-revalidate=60",
    )
    yield SampleObject(
        "assets/style.css", _site("style.css"), "text/css; charset=utf-8", "public, max-age=3600"
    )
    yield SampleObject(
        "assets/app.js",
        _site("app.js"),
        "text/javascript; charset=utf-8",
        "public, max-age=31536000, immutable",
    )
    yield SampleObject(
        "images/logo.svg", _site("logo.svg"), "image/svg+xml", "public, max-age=86400"
    )
    yield SampleObject("images/plasma.png", plasma_png(320, 200), "image/png")
    yield SampleObject("audio/chimes.wav", chimes_wav(seconds=36), "audio/wav", "max-age=3600")
    yield SampleObject(
        "data/primes.json",
        gzip.compress(json.dumps(_primes(20_000)).encode(), mtime=0),
        "application/json",
        "public, max-age=300",
        content_encoding="gzip",
    )
    yield SampleObject("data/checked.json", b'{"checked": true}\n', "application/json", "no-cache")
    yield SampleObject("data/secret.json", b'{"secret": 42}\n', "application/json", "no-store")
    yield SampleObject(
        "notes/café + 100% ☕ menu.txt",
        b"Espresso, cortado, and a name that needs percent-encoding.\n",
        "text/plain; charset=utf-8",
        "public, max-age=60",
    )
    yield SampleObject("empty.txt", b"", "text/plain; charset=utf-8", "public, max-age=60")
    yield SampleObject(
        "large/lines.txt", _numbered_lines(), "text/plain; charset=utf-8", "public, max-age=3600"
    )


def _site(name: str) -> bytes:
    return (SITE / name).read_bytes()


def _primes(below: int) -> list[int]:
    sieve = bytearray([1]) * below
    sieve[:2] = b"\0\0"
    for n in range(2, int(below**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, below, n)))
    return [n for n in range(below) if sieve[n]]


def _numbered_lines() -> bytes:
    """Lines of 64 bytes each, so that a Range's offset tells which line to expect."""
    return b"".join(
        f"line {n:>9} begins at byte {n * LINE_BYTES:>10} ".encode().ljust(LINE_BYTES - 1, b".")
        + b"\n"
        for n in range(LARGE_LINES)
    )
