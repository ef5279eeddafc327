"""The logging of every process: where records go, in which form."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

# Beside what every record has: Django hangs the request on its records, whose repr holds the
# query string, where a token may be; uvicorn adds the message once more, in colours.
_LEFT_OUT = frozenset({*RESERVED_ATTRS, "taskName", "request", "color_message"})


def _timestamp(record: logging.LogRecord) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(JsonFormatter):
    """One JSON object a record: time, level, logger, message, then the extras."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=sorted(_LEFT_OUT),
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return _timestamp(record)


class TextLines(logging.Formatter):
    """One readable line a record, the extras as `key=value`; only a traceback adds lines."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return _timestamp(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        extras = "".join(
            f" {key}={_word(value)}"
            for key, value in record.__dict__.items()
            if key not in _LEFT_OUT and value is not None
        )
        text = _printable(record.message)
        return f"{_timestamp(record)} {record.levelname:<8} {record.name}: {text}{extras}"


def _printable(text: str) -> str:
    """Text without line ends or terminal controls, whatever a client got into it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _word(value: Any) -> str:
    """A value that is one word: as it is where that is unambiguous, else quoted."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & {" ", '"', "="}
    return text if plain and text else json.dumps(text)


def logging_config(
    level: str, form: Literal["json", "text"], *, access_log: bool
) -> dict[str, Any]:
    """A `dictConfig` for everything this process writes.

    One handler, on the root logger; every other logger only sets what it lets through.
    `access_log` alone governs access lines, `level` the rest.
    """
    name = level.upper()
    severity = logging.getLevelNamesMapping()[name]
    formatter = JsonLines if form == "json" else TextLines
    passing: dict[str, Any] = {"level": name, "handlers": [], "propagate": True}
    silent = {**passing, "level": logging.CRITICAL + 1}
    quiet = {**passing, "level": max(severity, logging.WARNING)}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"{__name__}.{formatter.__name__}"}},
        "handlers": {
            "stdout": {
                "class": "proxy.log_stream.LineHandler",
                # One stream for access lines, errors alike; some hosts, Railway one of them,
                # mark all of stderr as errors.
                "stream": "ext://sys.stdout",
                "formatter": "line",
            }
        },
        "root": {"level": name, "handlers": ["stdout"]},
        "loggers": {
            "s3proxy.access": {**passing, "level": "INFO"} if access_log else silent,
            "uvicorn": passing,
            # At INFO, whatever our own lines of start and stop say, in its words.
            "uvicorn.error": passing if severity <= logging.DEBUG else quiet,
            # Our own access line says more, without the query string of these.
            "uvicorn.access": silent,
            "django.server": silent,
            # Replaces Django's handlers, one of which would send mail.
            "django": passing,
            # It warns of every 4xx, which the access line has.
            "django.request": {**passing, "level": max(severity, logging.ERROR)},
            # At DEBUG they write signed headers, session tokens among them; at INFO they
            # would mix with what a management command prints.
            "boto3": quiet,
            "botocore": quiet,
            "s3transfer": quiet,
            "urllib3": quiet,
        },
    }
