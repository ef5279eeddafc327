"""Where the bucket is: endpoint, region, addressing, keys to URLs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004

from proxy.origin.errors import Failure, OriginError

if TYPE_CHECKING:
    from storages.backends.s3 import S3Storage

DEFAULT_REGION = "us-east-1"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500

_AWS_REGIONAL_HOST = re.compile(
    r"(?:.+\.)?s3[.-](?:dualstack\.|fips\.)?(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]+)"
    r"\.amazonaws\.com(?:\.cn)?"
)
_AWS_GLOBAL_HOST = "s3.amazonaws.com"
_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What to connect to; ``host`` is a name, or an address without brackets."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Location:
    """The bucket's base URL with the region to sign for; ``base`` ends in "/".

    ``host`` is the field as it is sent: lower case, without user and default port; ``path``
    what stands before each key.
    """

    base: str
    region: str
    endpoint: Endpoint = field(init=False, compare=False, repr=False)
    host: str = field(init=False, compare=False, repr=False)
    path: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        host = _in_ascii(parts.hostname or "")
        default_port = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default_port
        endpoint = Endpoint(host, port, parts.scheme == "https")
        object.__setattr__(self, "endpoint", endpoint)
        named = f"[{host}]" if ":" in host else host
        object.__setattr__(self, "host", named if port == default_port else f"{named}:{port}")
        object.__setattr__(self, "path", parts.path)

    def target(self, key: str) -> str:
        """The path of the object's URL, percent-encoded as SigV4 for S3 wants it."""
        return self.path + quote(key, safe="/~")

    def url(self, key: str) -> str:
        """The object's URL."""
        return self.base.removesuffix(self.path) + self.target(key)


def locate(endpoint: str, bucket: str, style: str, region: str) -> Location:
    """Put endpoint, bucket and addressing style together."""
    parts = urlsplit(endpoint)
    host = parts.netloc
    if parts.hostname == _AWS_GLOBAL_HOST and region != DEFAULT_REGION:
        # The global host answers requests for a bucket elsewhere with a redirect.
        host = f"s3.{region}.amazonaws.com"
    if style == "virtual" or (style == "auto" and _fits_host_name(parts.hostname or "", bucket)):
        return Location(f"{parts.scheme}://{bucket}.{host}/", region)
    return Location(f"{parts.scheme}://{host}/{quote(bucket, safe='')}/", region)


def region_of_host(endpoint: str) -> str | None:
    """The region that an AWS host name states."""
    found = _AWS_REGIONAL_HOST.fullmatch(urlsplit(endpoint).hostname or "")
    return None if found is None else found["region"]


def ask_region(storage: S3Storage) -> str | None:
    """The bucket's region as the endpoint tells it; None where it does not. Blocks.

    Raises OriginError where nobody answers, so that nothing is concluded from silence.
    """
    try:
        answer = storage.connection.meta.client.head_bucket(Bucket=storage.bucket_name)
    except ClientError as exc:
        # A refusal names the region all the same.
        answer = exc.response
        status = answer["ResponseMetadata"].get("HTTPStatusCode", 0)
        if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
            raise OriginError(
                Failure.THROTTLED, f"{status} when asked for the region", origin_status=status
            ) from exc
    except (ConnectionError, HTTPClientError) as exc:
        raise OriginError(
            Failure.CONNECT, f"no connection to ask for the region ({type(exc).__name__})"
        ) from exc
    except BotoCoreError:
        return None
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region")
    return region if isinstance(region, str) and region else None


def _in_ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _fits_host_name(host: str, bucket: str) -> bool:
    """May the bucket stand in the host name (no dots, as certificates cover one label)?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _DNS_LABEL.fullmatch(bucket) is not None and "." in host
    return False
