"""The requests whose answers REDbot judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from proxy.demo.bucket import SampleObject, sample_objects


@dataclass(frozen=True, slots=True)
class Probe:
    """A GET with its status; ``cold`` is the X-Cache of the first one, ``warm`` of the second."""

    name: str
    path: str
    warm: str = "HIT"
    fields: tuple[tuple[str, str], ...] = ()
    cold: str = "MISS"
    status: int = 200


# What the demo's bucket has no example of.
ADDED: Final = (
    SampleObject(
        "shared/page.html",
        b"<!doctype html><title>For caches</title><p>Ten minutes in a CDN.\n",
        "text/html; charset=utf-8",
        "public, max-age=60, s-maxage=600",
    ),
)
OBJECTS: Final = (*sample_objects(), *ADDED)

NEGOTIATED_FOR: Final = "data/primes.json"
LARGE: Final = "large/lines.txt"
_WARM: Final = {
    LARGE: "BYPASS",
    "data/checked.json": "REVALIDATED",
    "data/secret.json": "MISS",
}


def _probes() -> tuple[Probe, ...]:
    objects = (
        Probe(sample.key, "/" + quote(sample.key), _WARM.get(sample.key, "HIT"))
        for sample in OBJECTS
    )
    return (
        *objects,
        # As every browser asks.
        Probe(
            f"{NEGOTIATED_FOR}, gzip accepted",
            "/" + NEGOTIATED_FOR,
            fields=(("Accept-Encoding", "gzip"),),
            cold="HIT",  # the same object has been asked for before
        ),
        Probe("missing", "/missing.txt", status=404),
        Probe(
            "missing, HTML preferred",
            "/missing.html",
            fields=(("Accept", "text/html"),),
            status=404,
        ),
    )


PROBES: Final = _probes()
