"""Serves with many objects in memory already, as a program of its own.

``python -m bench.prefilled ENTRIES SIZE``, configured by the environment as `manage.py serve` is.
A million misses would take longer than all other measurements together. So the objects are put
into Django's default cache, where the gateway puts what it has fetched, and then `serve` runs.
Each has head and body of its own, as if it had come by itself. The keys are PREFIX with numbers.
"""

from __future__ import annotations

import os
import sys
import time
from email.utils import formatdate

import django
from django.core.cache import caches
from django.core.management import call_command

from proxy.core.freshness import Freshness
from proxy.core.messages import StoredResponse

PREFIX = "prefilled/entry-"
_LIFETIME = 86400


def response(number: int, size: int, now: float) -> StoredResponse:
    """What the gateway makes of the origin's answer with an object of ``size`` bytes."""
    modified = now - _LIFETIME - number
    etag = f'"{int(modified):x}-{size:x}"'
    fields = {
        "content-type": "application/octet-stream",
        "cache-control": f"public, max-age={_LIFETIME}",
        "etag": etag,
        "last-modified": formatdate(modified, usegmt=True),
        "accept-ranges": "bytes",
        "date": formatdate(now, usegmt=True),
    }
    return StoredResponse(
        status=200,
        # Encoded anew each time: entries that share their bytes would take less memory.
        fields=tuple((name.encode(), value.encode()) for name, value in fields.items()),
        body=f"{number:0{size}d}".encode(),
        length=size,
        etag=etag,
        last_modified=float(int(modified)),
        date=float(int(now)),
        initial_age=0.0,
        response_time=now,
        freshness=Freshness(float(_LIFETIME)),
    )


def main() -> None:
    """Fill, then serve until stopped."""
    entries, size = map(int, sys.argv[1:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
    django.setup()
    cache, now = caches["default"], time.time()
    for number in range(entries):
        cache.set(f"{PREFIX}{number}", response(number, size, now), timeout=None)
    call_command("serve")


if __name__ == "__main__":
    main()
