"""Asks the origin, step by step, whether it is configured right.

Every question is one that blocks; `examine` yields what it learned as soon as it knows.
"""

from __future__ import annotations

import enum
import socket
import ssl
import time
import uuid
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from proxy.origin.errors import OriginError, classify
from proxy.origin.location import DEFAULT_REGION, Location, locate, region_of_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from storages.backends.s3 import S3Storage

    from s3proxy_site.env import Config

# AWS refuses requests from clocks that are 15 minutes off.
_MUCH_SKEW_SECONDS = 300
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CREDENTIAL_VARIABLES = frozenset(
    {"S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_SESSION_TOKEN", "S3_CREDENTIALS"}
)
_CLOCK = "clock"


class Outcome(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step showed; ``variable`` is the environment variable to look at."""

    step: str
    outcome: Outcome
    detail: str
    variable: str | None = None

    def __str__(self) -> str:
        look = "" if self.variable is None else f"; look at {self.variable}"
        return f"{self.step:<12}{self.outcome.value:<9}{self.detail}{look}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What S3 said to one request; ``code`` is its error's, None where it gave none.

    ``skew`` is how many seconds the local clock is ahead of S3's.
    """

    status: int
    code: str | None
    headers: dict[str, str]
    skew: float | None


class NoAnswerError(Exception):
    """S3 was asked, but there is no answer; ``variable`` may be why."""

    def __init__(self, message: str, variable: str) -> None:
        super().__init__(message)
        self.variable = variable


def examine(storage: S3Storage, config: Config) -> Iterator[Finding]:
    """Findings in the order of the questions; ends early where the next would make no sense."""
    endpoint = config.s3_endpoint
    region = config.s3_region
    if region == "auto":
        region = region_of_host(endpoint) or DEFAULT_REGION
    location = locate(endpoint, config.s3_bucket, config.s3_addressing_style, region)
    for finding in _connection(location, endpoint, config.request_timeout):
        yield finding
        if finding.outcome is Outcome.FAILED:
            return
    try:
        bucket, answer = _ask(_client(storage), config)
    except NoAnswerError as exc:
        yield Finding("answer", Outcome.FAILED, str(exc), exc.variable)
        return
    # One meaning for both: what makes the proxy answer 502 fails here.
    meaning = classify(answer.status, answer.code)
    fault = meaning if isinstance(meaning, OriginError) else None
    yield _clock(answer.skew if bucket.skew is None else bucket.skew, fault)
    yield _region(config, region, bucket, fault)
    yield _bucket(config.s3_bucket, bucket, fault)
    yield _credentials(config, answer, fault)
    if fault is None:
        yield _permission(answer, config)
        yield _addressing(location, config)
    elif fault.variable is None:
        yield Finding("answer", Outcome.FAILED, str(fault), "S3_ENDPOINT")


def _connection(location: Location, endpoint: str, timeout: float) -> Iterator[Finding]:
    """Name, TCP and TLS of the host that keys are asked from."""
    parts = urlsplit(location.base)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
    own_host = host == urlsplit(endpoint).hostname
    variable = "S3_ENDPOINT" if own_host else "S3_ENDPOINT, S3_ADDRESSING_STYLE"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        yield Finding("name", Outcome.FAILED, f"{host} has no address ({exc})", variable)
        return
    yield Finding("name", Outcome.OK, f"{host} is {addresses[0][4][0]}")
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as exc:
        yield Finding("connection", Outcome.FAILED, f"none to {host} port {port} ({exc})", variable)
        return
    with connection:
        yield Finding("connection", Outcome.OK, f"{host} port {port} accepts connections")
        if parts.scheme == "https":
            yield _tls(connection, host, variable)


def _tls(connection: socket.socket, host: str, variable: str) -> Finding:
    try:
        with ssl.create_default_context().wrap_socket(connection, server_hostname=host) as tls:
            return Finding("TLS", Outcome.OK, f"{tls.version()}, the certificate is valid")
    except OSError as exc:
        reason = exc.verify_message if isinstance(exc, ssl.SSLCertVerificationError) else exc
        return Finding("TLS", Outcome.FAILED, f"no TLS with {host} ({reason})", variable)


def _client(storage: S3Storage) -> S3Client:
    try:
        client: S3Client = storage.connection.meta.client
    except BotoCoreError as exc:
        raise _no_answer(exc) from exc
    return client


def _ask(client: S3Client, config: Config) -> tuple[Answer, Answer]:
    """Answers for the bucket and for a key that is surely missing.

    The key is asked for by GET, as HEAD's answers have no error code. Raises NoAnswerError.
    """
    missing = f"{config.s3_prefix}s3proxy-doctor-{uuid.uuid4().hex}"
    try:
        return (
            _answer(client.head_bucket, Bucket=config.s3_bucket),
            _answer(client.get_object, Bucket=config.s3_bucket, Key=missing),
        )
    finally:
        client.close()


def _answer(operation: Any, **parameters: str) -> Answer:
    try:
        response = operation(**parameters)
        if "Body" in response:
            response["Body"].close()
    except ClientError as exc:
        response = exc.response
    except ResponseParserError as exc:
        raise NoAnswerError("the answer is not S3's", "S3_ENDPOINT") from exc
    except BotoCoreError as exc:
        name = type(exc).__name__
        if "Credential" in name or "Token" in name:
            raise NoAnswerError(
                f"there are no keys to sign with ({name})", "S3_CREDENTIALS"
            ) from exc
        raise NoAnswerError(f"no answer to a request ({name})", "S3_ENDPOINT") from exc
    metadata = response["ResponseMetadata"]
    code = str(response.get("Error", {}).get("Code", ""))
    # Where the body has no code, botocore puts the status in its place.
    known = None if not code or code.isdecimal() else code
    headers: dict[str, str] = metadata.get("HTTPHeaders", {})
    return Answer(metadata["HTTPStatusCode"], known, headers, _skew(headers))


def _skew(headers: dict[str, str]) -> float | None:
    try:
        return time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _no_answer(exc: BotoCoreError) -> NoAnswerError:
    name = type(exc).__name__
    if any(word in name for word in ("Credential", "Token", "Profile")):
        return NoAnswerError(f"there are no keys to sign with ({name})", "S3_CREDENTIALS")
    return NoAnswerError(f"no answer to a request ({name})", "S3_ENDPOINT")


def _clock(skew: float | None, fault: OriginError | None) -> Finding:
    said = "the endpoint does not say its time" if skew is None else _difference(skew)
    if fault is not None and fault.variable == _CLOCK:
        return Finding("clock", Outcome.FAILED, f"{fault}; {said}")
    if skew is not None and abs(skew) > _MUCH_SKEW_SECONDS:
        return Finding("clock", Outcome.WARNING, f"{said}; S3 refuses 15 minutes, set the clock")
    return Finding("clock", Outcome.OK, said)


def _difference(skew: float) -> str:
    if abs(skew) < 2:  # Date has whole seconds
        return "as the endpoint's"
    return f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the endpoint's"


def _region(config: Config, region: str, bucket: Answer, fault: OriginError | None) -> Finding:
    stated = bucket.headers.get("x-amz-bucket-region")
    if fault is not None and fault.variable == "S3_REGION":
        hint = f"; the bucket is in {stated}" if stated else ""
        return Finding("region", Outcome.FAILED, f"{fault.code or fault}{hint}", "S3_REGION")
    if config.s3_region == "auto":
        return Finding("region", Outcome.OK, f"{stated or region}, found by S3_REGION=auto")
    if stated and stated != region:
        # boto3 follows to the right region by itself; the proxy does not, nor does every server
        # but AWS mind.
        host = urlsplit(config.s3_endpoint).hostname or ""
        strict = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        outcome = Outcome.FAILED if strict else Outcome.WARNING
        return Finding("region", outcome, f"the bucket is in {stated}, not {region}", "S3_REGION")
    return Finding("region", Outcome.OK, region)


def _bucket(name: str, bucket: Answer, fault: OriginError | None) -> Finding:
    if bucket.status == 404 or (fault is not None and fault.variable == "S3_BUCKET"):
        return Finding(
            "bucket", Outcome.FAILED, f"{name} does not exist at this endpoint", "S3_BUCKET"
        )
    if bucket.status < 300:
        return Finding("bucket", Outcome.OK, f"{name} exists")
    if fault is None:
        return Finding("bucket", Outcome.OK, f"{name} answers for objects, not for itself")
    return Finding("bucket", Outcome.WARNING, f"whether {name} exists is not told")


def _credentials(config: Config, answer: Answer, fault: OriginError | None) -> Finding:
    if fault is not None and fault.variable in _CREDENTIAL_VARIABLES:
        variable = fault.variable
        if config.s3_credentials != "static":
            variable = "S3_CREDENTIALS"
        return Finding("credentials", Outcome.FAILED, fault.code or str(answer.status), variable)
    if config.s3_credentials == "anonymous":
        return Finding("credentials", Outcome.OK, "requests go out unsigned, as configured")
    if fault is not None:
        return Finding("credentials", Outcome.WARNING, "nothing learned about them")
    return Finding("credentials", Outcome.OK, "the signature is accepted")


def _permission(answer: Answer, config: Config) -> Finding:
    if answer.status == 403:
        return Finding(
            "permission",
            Outcome.WARNING,
            "a missing key is answered with 403: without s3:ListBucket it looks like a forbidden "
            "one, which the proxy answers with 404 as well; s3:GetObject may be lacking",
            "S3_CREDENTIALS" if config.s3_credentials != "static" else "S3_ACCESS_KEY",
        )
    return Finding("permission", Outcome.OK, "a missing key is answered with 404")


def _addressing(location: Location, config: Config) -> Finding:
    return Finding(
        "addressing", Outcome.OK, f"{config.s3_addressing_style}: objects are at {location.base}KEY"
    )
