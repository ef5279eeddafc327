"""What a line of the access log says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.access_log import log_request
from proxy.core.cache_status import CacheStatus, Handling

if TYPE_CHECKING:
    import pytest


def logged(caplog: pytest.LogCaptureFixture, **more: object) -> dict[str, object]:
    facts: dict[str, object] = {
        "method": "GET",
        "path": "/a",
        "status": 200,
        "sent_bytes": 5,
        "seconds": 0.0123456,
        "client": "192.0.2.1",
    }
    with caplog.at_level(logging.INFO, "s3proxy.access"):
        log_request(**(facts | more))  # type: ignore[arg-type]
    [record] = caplog.records
    return record.__dict__


def test_a_line_has_every_fact(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog, handling=Handling(CacheStatus.STALE), request_id="i")
    facts = ("method", "path", "status", "bytes", "duration_ms", "client", "cache", "request_id")
    expected = ["GET", "/a", 200, 5, 12.346, "192.0.2.1", "STALE", "i"]
    assert [record[name] for name in facts] == expected


def test_an_answer_that_is_not_the_caches_has_no_cache_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert logged(caplog)["cache"] is None


def test_only_what_broke_off_is_marked(caplog: pytest.LogCaptureFixture) -> None:
    assert "complete" not in logged(caplog)
    caplog.clear()
    assert logged(caplog, complete=False)["complete"] is False


def test_nothing_is_built_where_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, "s3proxy.access"):
        log_request(
            method="GET", path="/", status=200, sent_bytes=0, seconds=0.0, client="192.0.2.1"
        )
    assert not caplog.records
