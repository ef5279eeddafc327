"""What a line of the access log says."""

from __future__ import annotations

import io
import logging
import re
import time

import pytest

from proxy import access_log
from proxy.access_log import AccessLines, log_request
from proxy.core.cache_status import CacheStatus, Handling
from proxy.log_stream import LineHandler
from s3proxy_site.log_config import JsonLines, TextLines


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


def stream_of(form: logging.Formatter, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the access logger writes to from now on, and nothing else listens to."""
    found = io.StringIO()
    handler = LineHandler(found)
    handler.setFormatter(form)
    monkeypatch.setattr(access_log.logger, "handlers", [handler])
    monkeypatch.setattr(access_log.logger, "propagate", False)
    # Through the method, which forgets what loggers remember of their levels.
    monkeypatch.setattr(access_log.logger, "level", access_log.logger.level)
    access_log.logger.setLevel(logging.INFO)
    return found


FORMS = pytest.mark.parametrize("form", [JsonLines(), TextLines()], ids=["json", "text"])
PATHS = ["/a", "/%C3%BC%20a", '/"quoted"', "/back\\slash", "/987654321.125", "/a=b", "/\x7f", "/"]


@FORMS
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seconds", [0.000003, 0.0009994, 0.0123456, 3.0])
def test_prepared_lines_are_those_of_the_formatter(
    form: logging.Formatter, path: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(form, monkeypatch)
    now = 1_700_000_000.0625
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now * 1e9))
    handling = Handling(CacheStatus.HIT, ttl=5)
    log_request(
        method="GET",
        path=path,
        status=200,
        sent_bytes=1024,
        seconds=seconds,
        client="2001:db8::1",
        handling=handling,
        request_id="0123-4",
    )
    expected = stream.getvalue()
    lines = AccessLines.where_nothing_else_listens()
    assert lines is not None
    pieces = lines.pieces(method="GET", path=path, status=200, sent_bytes=1024, handling=handling)
    for _ in range(2):
        lines.log(pieces, now, seconds, b"2001:db8::1", b"0123-4")
    assert "method" in expected
    assert stream.getvalue() == expected * 3


@FORMS
def test_the_time_of_a_prepared_line_goes_on(
    form: logging.Formatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(form, monkeypatch)
    lines = AccessLines.where_nothing_else_listens()
    assert lines is not None
    pieces = lines.pieces(
        method="GET", path="/", status=200, sent_bytes=0, handling=Handling(CacheStatus.HIT)
    )
    for now in (1.0, 1.0004, 1.001, 61.5, 1.0):
        lines.log(pieces, now, 0.0, b"-", b"i")
    times = re.findall(r"1970-01-01T00:(\d\d:\d\d\.\d{3})Z", stream.getvalue())
    assert times == ["00:01.000", "00:01.000", "00:01.001", "01:01.500", "00:01.000"]


@FORMS
def test_whoever_listens_too_is_told_through_logging(
    form: logging.Formatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_of(form, monkeypatch)
    assert AccessLines.where_nothing_else_listens() is not None
    other = logging.NullHandler()
    access_log.logger.addHandler(other)
    assert AccessLines.where_nothing_else_listens() is None
    access_log.logger.removeHandler(other)
    assert AccessLines.where_nothing_else_listens() is not None
    access_log.logger.setLevel(logging.CRITICAL)
    assert AccessLines.where_nothing_else_listens() is None
