from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from s3proxy_site.log_config import JsonLines, TextLines

ROOT = Path(__file__).parents[2]
# One record each of every kind a server writes; the arguments are those of logging_config.
PROGRAM = """
import logging, logging.config, sys
from s3proxy_site.log_config import logging_config
level, form, access = sys.argv[1:]
logging.config.dictConfig(logging_config(level, form, access_log=access == "on"))
logging.getLogger("s3proxy.access").info("GET /a", extra={"status": 200})
logging.getLogger("s3proxy.origin").warning("slow")
logging.getLogger("s3proxy.purge").debug("applied")
logging.getLogger("uvicorn.error").info("started")
logging.getLogger("uvicorn.error").error("no lifespan")
logging.getLogger("uvicorn.access").info("GET /a?token=T")
logging.getLogger("django.request").warning("Not Found: /a")
logging.getLogger("django.request").error("Internal Server Error: /a")
logging.getLogger("django.server").info("GET /a?token=T")
logging.getLogger("botocore.auth").debug("x-amz-security-token:T")
logging.getLogger("botocore.credentials").info("found")
"""


def written(level: str, form: str = "json", access: str = "on") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, form, access],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def loggers(lines: list[str]) -> list[str]:
    return [json.loads(line)["logger"] for line in lines]


def record(message: str = "done", **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("s3proxy.access", logging.INFO, "f.py", 1, message, (), None)
    made.created = 1_700_000_000.0625
    made.__dict__.update(extra)
    return made


def test_the_log_goes_to_standard_output_one_json_object_a_line() -> None:
    assert json.loads(written("info")[0])["message"] == "GET /a"


def test_the_info_level_has_what_an_operator_reads() -> None:
    lines = loggers(written("info"))
    assert lines == ["s3proxy.access", "s3proxy.origin", "uvicorn.error", "django.request"]
    assert "started" not in "".join(written("info"))


def test_debugging_adds_our_own_records_without_signed_headers() -> None:
    lines = written("debug")
    assert "s3proxy.purge" in loggers(lines)
    assert "started" in "".join(lines)
    assert not [line for line in lines if "botocore" in line or "token" in line]


def test_the_level_does_not_govern_access_lines() -> None:
    assert loggers(written("critical")) == ["s3proxy.access"]


def test_access_lines_are_switched_off_alone() -> None:
    lines = loggers(written("info", access="off"))
    assert lines == ["s3proxy.origin", "uvicorn.error", "django.request"]


def test_a_client_error_is_logged_by_its_access_line_alone() -> None:
    assert not [line for line in written("debug") if "Not Found" in line]


def test_text_lines_are_readable() -> None:
    first, *_ = written("info", form="text")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO     s3proxy\.access: GET /a status=200", first
    )


def test_a_json_line_has_the_common_keys_first() -> None:
    line = json.loads(JsonLines().format(record(status=200, cache="HIT")))
    assert line == {
        "time": "2023-11-14T22:13:20.062Z",
        "level": "INFO",
        "logger": "s3proxy.access",
        "message": "done",
        "status": 200,
        "cache": "HIT",
    }
    assert list(line)[:4] == ["time", "level", "logger", "message"]


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()], ids=["json", "text"])
def test_the_request_of_a_django_record_is_left_out(formatter: logging.Formatter) -> None:
    class Request:
        def __repr__(self) -> str:
            return "<ASGIRequest: GET '/metrics?token=T'>"

    assert "token" not in formatter.format(record(request=Request(), color_message="token"))


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()], ids=["json", "text"])
def test_a_message_cannot_start_a_line_of_its_own(formatter: logging.Formatter) -> None:
    line = formatter.format(record("a\r\nb\x85\u2028", path="/\nc", word="\x85\u2028"))
    assert len(line.splitlines()) == 1


def test_a_message_cannot_control_a_terminal() -> None:
    assert TextLines().format(record("é \x1b[31m")).endswith(r"é \x1b[31m")


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()], ids=["json", "text"])
def test_a_traceback_is_kept(formatter: logging.Formatter) -> None:
    made = record()
    try:
        int("gone")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: invalid literal" in formatter.format(made)


def test_values_of_several_words_are_quoted_in_text_lines() -> None:
    line = TextLines().format(record(agent='a "b"', key="x=y", none=None, empty=""))
    assert line.endswith(r'done agent="a \"b\"" key="x=y" empty=""')
