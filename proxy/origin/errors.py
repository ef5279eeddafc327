"""What can go wrong between the proxy and S3, as values that say whose fault it is."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Failure(enum.Enum):
    """The label of a failed origin request, in logs and metrics."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    MISCONFIGURED = "misconfigured"
    UNEXPECTED = "unexpected"
    BROKEN_BODY = "broken_body"
    SATURATED = "origin-saturated"


_CLIENT_STATUS = {
    Failure.CONNECT: 502,
    Failure.TIMEOUT: 504,
    Failure.THROTTLED: 503,
    Failure.SERVER_ERROR: 502,
    Failure.MISCONFIGURED: 502,
    Failure.UNEXPECTED: 502,
    Failure.BROKEN_BODY: 502,
    Failure.SATURATED: 503,
}

# What an origin answers that could not for the moment: the client may try again.
_PASSING = frozenset({429, 500, 503})
_UNAVAILABLE = 503

RETRY_AFTER_SECONDS = 1


class OriginError(Exception):
    """The origin did not give a usable answer.

    ``origin_status`` and ``code`` are S3's, where it answered at all; ``variable`` is the
    environment variable to look at, where the configuration is at fault; ``retry_after`` is
    in seconds, and ``told_to_wait`` true where the origin itself named them.
    """

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        origin_status: int | None = None,
        code: str | None = None,
        variable: str | None = None,
        retry_after: int | None = None,
        told_to_wait: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.origin_status = origin_status
        self.code = code
        self.variable = variable
        self.retry_after = retry_after
        self.told_to_wait = told_to_wait

    @property
    def client_status(self) -> int:
        """The status that a client gets where nothing stored can stand in."""
        if self.origin_status in _PASSING:
            return _UNAVAILABLE
        return _CLIENT_STATUS[self.failure]


class SaturatedError(OriginError):
    """The origin was not asked: as many requests as may be are under way, and wait."""

    def __init__(self, message: str) -> None:
        super().__init__(Failure.SATURATED, message, retry_after=RETRY_AFTER_SECONDS)


class AbandonedError(OriginError):
    """The origin was not asked: nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__(Failure.SATURATED, "nobody waits any more", retry_after=0)


class TakenBackError(OriginError):
    """A body was given up because its reader took its time and others waited for the connection.

    The rest of it can be asked for.
    """

    def __init__(self) -> None:
        super().__init__(Failure.SATURATED, "the connection was given to another request")


class PreconditionChangedError(Exception):
    """The part asked for cannot be had, the whole may: it is another object by now."""


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such object for anybody: 404, or 410. ``denied``: S3 said AccessDenied."""

    status: int
    denied: bool = False


# S3's error codes that the configuration causes, with the variable to look at.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_VARIABLE_AT_FAULT = {
    "InvalidAccessKeyId": "S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "S3_SECRET_KEY",
    "InvalidToken": "S3_SESSION_TOKEN",
    "ExpiredToken": "S3_SESSION_TOKEN",
    "TokenRefreshRequired": "S3_SESSION_TOKEN",
    "AuthorizationHeaderMalformed": "S3_REGION",
    "AuthorizationQueryParametersError": "S3_REGION",
    "IllegalLocationConstraintException": "S3_REGION",
    "PermanentRedirect": "S3_REGION",
    "TemporaryRedirect": "S3_REGION",
    "NoSuchBucket": "S3_BUCKET",
    "InvalidBucketName": "S3_BUCKET",
    "AllAccessDisabled": "S3_BUCKET",
    "AccountProblem": "S3_ACCESS_KEY",
    "NotSignedUp": "S3_ACCESS_KEY",
    "MissingSecurityHeader": "S3_CREDENTIALS",
    "CredentialsNotSupported": "S3_CREDENTIALS",
    "UnauthorizedAccess": "S3_CREDENTIALS",
}
_KEY_VARIABLES = frozenset({"S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_SESSION_TOKEN"})
# What S3 says of keys that were good once.
OUTDATED_KEYS = frozenset(
    {"ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId"}
)
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})

_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,80})\s*</Code>")


def error_code(body: bytes | bytearray) -> str | None:
    """S3's ``<Code>`` of an error document; None where there is none."""
    found = _CODE.search(body)
    return None if found is None else found[1].decode("ascii")


def classify(
    status: int,
    code: str | None,
    retry_after: str | None = None,
    keys_from: str | None = None,
    *,
    foreign: bool = False,
) -> Absent | OriginError:
    """What an answer that is neither the object nor a 304 means.

    ``keys_from`` is the variable to look at for keys that come from elsewhere than S3_*_KEY;
    ``foreign``: the body is a page of somebody else.
    """
    if status in (404, 410) and code not in _VARIABLE_AT_FAULT:
        return Absent(status)
    if status == 403 and code in (None, "AccessDenied") and not foreign:
        return Absent(404, denied=True)

    told = _seconds(retry_after)

    def error(failure: Failure, message: str, variable: str | None = None) -> OriginError:
        return OriginError(
            failure,
            message,
            origin_status=status,
            code=code,
            variable=variable,
            retry_after=(told or RETRY_AFTER_SECONDS) if status in _PASSING else None,
            told_to_wait=bool(told) and status in _PASSING,
        )

    named = f"{status} {code}" if code else str(status)
    if code in _CLOCK_CODES:
        return error(Failure.MISCONFIGURED, f"{named}: this machine's clock is off", "clock")
    if code in _VARIABLE_AT_FAULT:
        variable = _VARIABLE_AT_FAULT[code]
        if keys_from is not None and variable in _KEY_VARIABLES:
            variable = keys_from
        return error(Failure.MISCONFIGURED, f"{named}: look at {variable}", variable)
    if status in (429, 503):
        return error(Failure.THROTTLED, named)
    if status >= 500:
        return error(Failure.SERVER_ERROR, named)
    if status == 401:
        variable = keys_from or "S3_ACCESS_KEY"
        return error(Failure.MISCONFIGURED, f"{named}: look at {variable}", variable)
    if 300 <= status < 400 and status != 304:
        return error(
            Failure.MISCONFIGURED,
            f"{named}: redirected elsewhere; look at S3_ENDPOINT and S3_REGION",
            "S3_REGION",
        )
    if foreign:
        return error(
            Failure.UNEXPECTED,
            f"{named}: a page without a trace of S3; look at S3_ENDPOINT",
            "S3_ENDPOINT",
        )
    return error(Failure.UNEXPECTED, f"{named}: not an answer to what was asked")


def _seconds(retry_after: str | None) -> int | None:
    """The seconds of a Retry-After field; None where there are none, or a date."""
    if retry_after is not None and re.fullmatch("[0-9]{1,5}", retry_after):
        return int(retry_after)
    return None
