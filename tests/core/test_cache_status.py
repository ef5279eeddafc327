"""RFC 9211: what Cache-Status says."""

from __future__ import annotations

import pytest

from proxy.core.cache_status import CacheStatus, Forward, Handling

HIT, MISS, STALE = CacheStatus.HIT, CacheStatus.MISS, CacheStatus.STALE


@pytest.mark.parametrize(
    ("handling", "text"),
    [
        (Handling(HIT, ttl=60), "s3proxy; hit; ttl=60"),
        (Handling(STALE, ttl=-3), "s3proxy; hit; ttl=-3"),
        (
            Handling(MISS, fwd=Forward.URI_MISS, fwd_status=200, stored=True),
            "s3proxy; fwd=uri-miss; fwd-status=200; stored",
        ),
        (
            Handling(MISS, fwd=Forward.URI_MISS, fwd_status=200, stored=True, collapsed=True),
            "s3proxy; fwd=uri-miss; fwd-status=200; stored; collapsed",
        ),
        (
            Handling(CacheStatus.REVALIDATED, fwd=Forward.STALE, fwd_status=304, stored=True),
            "s3proxy; fwd=stale; fwd-status=304; stored",
        ),
        (
            Handling(CacheStatus.REVALIDATED, fwd=Forward.REQUEST, fwd_status=304),
            "s3proxy; fwd=request; fwd-status=304",
        ),
        (
            Handling(STALE, fwd=Forward.STALE, fwd_status=503, ttl=-9, detail="throttled"),
            "s3proxy; fwd=stale; fwd-status=503; ttl=-9; detail=throttled",
        ),
        (
            Handling(CacheStatus.BYPASS, fwd=Forward.BYPASS, fwd_status=206),
            "s3proxy; fwd=bypass; fwd-status=206",
        ),
        (Handling(MISS, detail="only-if-cached"), "s3proxy; detail=only-if-cached"),
    ],
)
def test_member(handling: Handling, text: str) -> None:
    assert handling.member() == text


def test_2_1_hit_never_stands_beside_fwd() -> None:
    for status in CacheStatus:
        parts = Handling(status, fwd=Forward.STALE).member().split("; ")
        assert "hit" not in parts


def test_2_2_the_reasons_are_those_of_the_registry() -> None:
    assert {reason.value for reason in Forward} <= {
        "bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial",
    }  # fmt: skip


def test_x_cache_has_five_values() -> None:
    assert [status.value for status in CacheStatus] == [
        "HIT", "MISS", "STALE", "REVALIDATED", "BYPASS",
    ]  # fmt: skip
