"""What a running proxy writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.origins import respond, s3_error
from tests.raw_http import RawConnection

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import LogRecord, Serve, Served


def access_line(served: Served, request_id: str) -> LogRecord:
    return served.wait_for_log(lambda record: record.get("request_id") == request_id)


def test_every_request_has_one_json_line(serve: Serve, origin: ScriptedOrigin) -> None:
    origin.on("ü a", respond(200, b"hello"))
    served = serve(origin)
    expected = [
        ("GET", "/%C3%BC%20a?token=secret&x=1", "/%C3%BC%20a", 200, 5, "MISS"),
        ("GET", "/%C3%BC%20a?y", "/%C3%BC%20a", 200, 5, "HIT"),
        ("HEAD", "/%C3%BC%20a", "/%C3%BC%20a", 200, 0, "HIT"),
        ("GET", "/none", "/none", 404, 14, "MISS"),
        ("GET", "/a%00b?secret", "/a%00b", 400, 16, None),
        ("POST", "/p", "/p", 405, 23, None),
        ("GET", "/healthz?secret", "/healthz", 200, 2, None),
    ]
    with RawConnection("127.0.0.1", served.port) as client:
        for method, target, path, status, size, cache in expected:
            client.get(target, method=method)
            answer = client.read_response(method)
            request_id = (answer.header("X-Request-ID") or b"").decode()
            record = access_line(served, request_id)
            assert record["logger"] == "s3proxy.access"
            assert (record["method"], record["path"]) == (method, path)
            assert (record["status"], record["bytes"]) == (status, size)
            assert record["cache"] == cache
            assert record["client"] == "127.0.0.1"
            assert 0 < record["duration_ms"] < 5000
            lines = [line for line in served.lines if request_id in line]
            assert len(lines) == 1
    assert "secret" not in served.output


def test_a_token_in_the_query_is_never_written(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, LOG_LEVEL="debug", AUTH_TOKEN="token-0123456789-secret")
    for path in ("/metrics", "/cache/stats", "/nothing", "/%00", "/cache/unknown"):
        served.get(f"{path}?token=token-0123456789-secret")
        served.request("POST", f"{path}?token=token-0123456789-secret", content=b"{")
    with RawConnection("127.0.0.1", served.port) as client:
        client.send(b"GET /x?token=token-0123456789-secret HTTP/1.1\r\n\r\n")
        assert client.read_response().status == 400
    with RawConnection("127.0.0.1", served.port) as client:
        client.send(b"GET /x?token=token-0123456789-secret\x01 HTTP/1.1\r\n\r\n")
        assert client.read_response().status == 400
    assert served.terminate() == 0
    assert "secret" not in served.output


def test_an_origin_error_has_one_line_of_its_own(serve: Serve, origin: ScriptedOrigin) -> None:
    origin.on("denied", s3_error(403, "InvalidAccessKeyId"))
    served = serve(origin)
    assert served.get("/denied").status_code == 502
    served.wait_for_log(lambda record: record.get("path") == "/denied")
    [told] = [record for record in served.json_lines() if record.get("key") == "denied"]
    assert (told["level"], told["variable"]) == ("ERROR", "S3_ACCESS_KEY")
    assert "scripted-access-key" not in served.output


@pytest.mark.parametrize("level", ["error", "critical"])
def test_the_level_governs_all_but_access_lines(
    serve: Serve, origin: ScriptedOrigin, level: str
) -> None:
    origin.on("denied", s3_error(403, "InvalidAccessKeyId"))
    served = serve(origin, LOG_LEVEL=level)
    served.get("/denied")
    served.wait_for_log(lambda record: record.get("path") == "/denied")
    assert served.terminate() == 0
    others = [record["level"] for record in served.json_lines() if "path" not in record]
    assert others == (["ERROR"] if level == "error" else [])


def test_access_lines_can_be_turned_off(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, ACCESS_LOG="off")
    served.get("/quiet")
    assert served.terminate() == 0
    assert "/quiet" not in served.output
    assert "stopped" in served.output


def test_lines_can_be_text(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, LOG_FORMAT="text")
    request_id = served.get("/text?secret").headers["X-Request-ID"]
    line = served.wait_for_line(f"request_id={request_id}")
    assert "method=GET path=/text status=404" in line
    assert not line.startswith("{")
    assert "secret" not in served.output


def test_every_line_is_json(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, LOG_LEVEL="debug")
    served.get("/a%0aINFO%20forged")
    with RawConnection("127.0.0.1", served.port) as client:
        client.send(b"bad\r\n\r\n")
        client.read_response()
    assert served.terminate() == 0
    for line in served.lines:
        assert isinstance(json.loads(line), dict), line
