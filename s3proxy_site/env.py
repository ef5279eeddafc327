"""The configuration that the environment variables describe.

`s3proxy_site.variables` is the table of them, with the id each is reported under. Rules about
several variables at once have ids of their own:

    s3proxy.E101   MAX_OBJECT_SIZE is larger than CACHE_MAX_BYTES
    s3proxy.E102   S3_ACCESS_KEY or S3_SECRET_KEY is set, but S3_CREDENTIALS ignores it
    s3proxy.E103   S3_SESSION_TOKEN is set, but S3_CREDENTIALS ignores it

and so have warnings, which stop nothing:

    s3proxy.W001   AUTH_TOKEN is short
    s3proxy.W002   a variable nobody reads is spelled almost like one of ours
    s3proxy.W005   CACHE_MAX_BYTES is more than the memory there is

An empty value is an unset variable: templates of container hosts hand over optional variables
as empty strings. So an empty required variable is a missing one.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from s3proxy_site.memory import usable_bytes
from s3proxy_site.notation import HintedError
from s3proxy_site.variables import VARIABLES, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from ipaddress import IPv4Network, IPv6Network

SHORT_TOKEN = 16

_STAND_INS = {
    "AUTH_TOKEN": "stands-in-for-a-token",
    "S3_ENDPOINT": "http://stands.in",
    "S3_BUCKET": "stands-in",
    "S3_CREDENTIALS": "anonymous",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured; durations in seconds, sizes in bytes."""

    auth_token: str = field(repr=False)
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str | None = field(repr=False)
    s3_secret_key: str | None = field(repr=False)
    s3_session_token: str | None = field(repr=False)
    s3_credentials: Literal["static", "chain", "anonymous"]
    s3_region: str
    s3_addressing_style: Literal["path", "virtual", "auto"]
    s3_prefix: str
    host: str
    port: int
    web_concurrency: int
    cache_capacity: int
    cache_max_bytes: int
    cache_ttl: float
    cache_stale_ttl: float
    cache_stale_if_error: float
    cache_negative_ttl: float
    max_object_size: int
    s3_retries: int
    request_timeout: float
    read_timeout: float
    write_timeout: float
    idle_timeout: float
    rate_limit_rps: Fraction
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    client_ip_header: str
    redis_url: str | None = field(repr=False)  # may hold a password
    log_level: str
    log_format: Literal["json", "text"]
    access_log: bool
    admin_prefix: str
    drain_timeout: float
    s3_max_concurrency: int
    nosniff: bool
    worker_timeout: float


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right; `value` is None where it is missing or may be a secret."""

    id: str
    variable: str
    value: str | None
    expected: str
    missing: bool = False

    @property
    def found(self) -> str:
        """What is wrong, in a few words of one line."""
        if self.missing:
            return f"{self.variable} is not set"
        if self.value is None:
            return f"{self.variable} is set to a value that is not shown here"
        shown = self.value if len(self.value) <= 80 else self.value[:80] + "…"
        return f"{self.variable} is {shown!r}"

    def __str__(self) -> str:
        return f"{self.found}; expected {self.expected} ({self.id})"


_NAMES = frozenset(variable.name for variable in VARIABLES)
_BY_NAME = {variable.name: variable for variable in VARIABLES}
_FAMILIES = tuple({name.split("_")[0] + "_" for name in _NAMES if "_" in name})


def read() -> tuple[Config | None, list[Problem], list[Problem]]:
    """The configuration of this process, its problems, its warnings."""
    config, problems = parse(os.environ)
    return config, problems, warnings(os.environ, config, usable_bytes())


def read_some(*names: str) -> tuple[Config | None, list[Problem]]:
    """As `read`, of these variables alone: for a command that has no use for the rest.

    The required ones among the rest are stood in for, so that they need not be right.
    """
    stand_ins = {name: value for name, value in _STAND_INS.items() if name not in names}
    return parse(stand_ins | {name: os.environ[name] for name in names if name in os.environ})


def parse(environ: Mapping[str, str]) -> tuple[Config | None, list[Problem]]:
    """The configuration, or None beside every problem that stands in its way."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for variable in VARIABLES:
        text = environ.get(variable.name) or variable.default
        if text is None:
            values[variable.field] = None
            if variable.required:
                problems.append(_missing(variable))
            continue
        try:
            values[variable.field] = variable.parse(text)
        except ValueError as error:
            problems.append(_refused(variable, text, error))
    problems += _credential_problems(environ, values) + _size_problems(environ, values)
    if problems:
        return None, sorted(problems, key=lambda problem: problem.id)
    address = values.pop("address")
    values["host"], values["port"] = address or ("", values["port"])
    values["s3_prefix"] = values["s3_prefix"] or ""
    values["admin_prefix"] = values["admin_prefix"] or ""
    values["trusted_proxies"] = values["trusted_proxies"] or ()
    values["client_ip_header"] = values["client_ip_header"].lower()
    return Config(**values), []


def warnings(
    environ: Mapping[str, str], config: Config | None, memory: float = math.inf
) -> list[Problem]:
    """What works, but is probably not meant; ``memory`` is how many bytes there are for it."""
    found = _near_misses(environ)
    if config is None:
        return found
    if len(config.auth_token) < SHORT_TOKEN:
        expected = f"at least {SHORT_TOKEN} characters, so that nobody guesses it"
        found.append(Problem("s3proxy.W001", "AUTH_TOKEN", None, expected))
    if config.cache_max_bytes > memory:
        expected = f"less than the memory there is, {memory // 2**20:.0f}MiB"
        value = str(config.cache_max_bytes)
        found.append(Problem("s3proxy.W005", "CACHE_MAX_BYTES", value, expected))
    return found


def message(problems: Sequence[Problem]) -> str:
    """The one message that lists every problem, a line each."""
    noun = "problem" if len(problems) == 1 else "problems"
    lines = [f"s3proxy cannot start: {len(problems)} configuration {noun}"]
    return "\n".join(lines + [f"  - {problem}" for problem in problems])


def _missing(variable: Variable) -> Problem:
    return Problem(variable.id, variable.name, None, variable.expected, missing=True)


def _refused(variable: Variable, text: str, error: ValueError) -> Problem:
    expected = variable.expected
    if isinstance(error, HintedError):
        expected = f"{expected}; {error}"
    # What stands before an @ in a URL may be a password.
    value = None if variable.secret or "@" in text else text
    return Problem(variable.id, variable.name, value, expected)


def _credential_problems(environ: Mapping[str, str], values: Mapping[str, Any]) -> list[Problem]:
    """Keys that `S3_CREDENTIALS` needs and lacks, or has and ignores."""
    kind = values.get("s3_credentials")
    keys = ("S3_ACCESS_KEY", "S3_SECRET_KEY")
    if kind is None:
        return []
    if kind == "static":
        return [_missing(_BY_NAME[name]) for name in keys if not environ.get(name)]
    rules = {"S3_ACCESS_KEY": "E102", "S3_SECRET_KEY": "E102", "S3_SESSION_TOKEN": "E103"}
    expected = f"it to be unset, because S3_CREDENTIALS={kind} would ignore it"
    return [
        Problem(f"s3proxy.{rule}", name, None, expected)
        for name, rule in rules.items()
        if environ.get(name)
    ]


def _size_problems(environ: Mapping[str, str], values: Mapping[str, Any]) -> list[Problem]:
    """An object that may be stored, yet would not fit."""
    largest, room = values.get("max_object_size"), values.get("cache_max_bytes")
    if largest is None or room is None or largest <= room:
        return []
    value = environ.get("MAX_OBJECT_SIZE") or f"{_BY_NAME['MAX_OBJECT_SIZE'].default}, the default"
    expected = f"at most CACHE_MAX_BYTES, which is {room} bytes"
    return [Problem("s3proxy.E101", "MAX_OBJECT_SIZE", value, expected)]


def _near_misses(environ: Mapping[str, str]) -> list[Problem]:
    """Variables that look misspelled; their values are not shown, one may be AUTH_TOKN's."""
    found = []
    for name in sorted(environ):
        spelled = name.upper()
        if name in _NAMES or not re.fullmatch(r"[A-Z0-9_]{2,40}", spelled, re.ASCII):
            continue
        if not spelled.startswith(_FAMILIES):
            continue
        close = get_close_matches(spelled, _NAMES, n=1, cutoff=0.8)
        if close:
            expected = f"the name {close[0]}: nothing reads {name}"
            found.append(Problem("s3proxy.W002", name, None, expected))
    return found
