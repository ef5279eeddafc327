"""Responses of an origin and requests of clients, as tests of the core need them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.core.cache_control import RequestDirectives
from proxy.core.freshness import Freshness, Policy
from proxy.core.messages import Request, StoredResponse
from proxy.core.storability import OriginHead

# Tue, 14 Nov 2023 22:13:20 GMT
NOW = 1_700_000_000.0

POLICY = Policy(
    ttl=300.0,
    stale_while_revalidate=120.0,
    stale_if_error=3600.0,
    negative_ttl=5.0,
    max_object_size=1000,
)


def origin_head(
    *fields: tuple[str, str], status: int = 200, request_time: float = NOW, arrived: float = NOW
) -> OriginHead:
    """A head as it came in; names are lower-cased."""
    encoded = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in fields)
    return OriginHead(status, encoded, request_time, arrived)


def stored_response(**changes: Any) -> StoredResponse:
    """Ten bytes that arrived at NOW and are fresh for 100 seconds."""
    base = StoredResponse(
        status=200,
        fields=((b"content-type", b"text/plain"), (b"etag", b'"v1"'), (b"date", b"then")),
        body=b"0123456789",
        length=10,
        etag='"v1"',
        last_modified=None,
        date=NOW,
        initial_age=0.0,
        response_time=NOW,
        freshness=Freshness(100.0),
    )
    return replace(base, **changes)


def asking(cache_control: str | None = None, method: str = "GET", **fields: Any) -> Request:
    """A request with Cache-Control."""
    directives = RequestDirectives.parse(() if cache_control is None else (cache_control,))
    return Request(method, "key", directives=directives, **fields)
