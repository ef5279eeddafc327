"""The table of environment variables, one row each.

A row's `id` is that of the system check which reports its variable: missing, unparsable or out
of range. Ids are never given to another variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3proxy_site import notation, places
from s3proxy_site.cores import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Variable:
    """A row of the table: `default` is written as a user would write it."""

    id: str
    name: str
    field: str
    parse: Callable[[str], Any]
    default: str | None
    expected: str
    required: bool = False
    secret: bool = False


_DURATION = "a duration like 300ms, 15s, 5m or 1h30m, at most 596523h"
_TIMEOUT = "a duration longer than 0, like 300ms, 15s or 1h30m, at most 24h"
_SIZE = "bytes as a whole number, or with KiB, MiB, GiB, kB, MB or GB, like 16MiB"
_KEY = (
    "1 to 4096 printable ASCII characters without spaces, "
    "or nothing where S3_CREDENTIALS is chain or anonymous"
)
_key = notation.matching("[!-~]{1,4096}")

# fmt: off
VARIABLES: tuple[Variable, ...] = (
    Variable("s3proxy.E001", "AUTH_TOKEN", "auth_token",
             notation.matching("[!-~]{8,512}"), None,
             "8 to 512 printable ASCII characters without spaces", required=True, secret=True),
    Variable("s3proxy.E002", "S3_ENDPOINT", "s3_endpoint", places.endpoint, None,
             "a URL of scheme, host and perhaps port, like https://s3.amazonaws.com",
             required=True),
    Variable("s3proxy.E003", "S3_BUCKET", "s3_bucket", places.bucket, None,
             "a bucket name: 3 to 63 letters, digits, dots, hyphens or underscores, no two dots "
             "in a row", required=True),
    Variable("s3proxy.E004", "S3_ACCESS_KEY", "s3_access_key", _key, None, _KEY, secret=True),
    Variable("s3proxy.E005", "S3_SECRET_KEY", "s3_secret_key", _key, None, _KEY, secret=True),
    Variable("s3proxy.E006", "S3_SESSION_TOKEN", "s3_session_token",
             notation.matching("[!-~]{1,16384}"), None,
             "1 to 16384 printable ASCII characters without spaces", secret=True),
    Variable("s3proxy.E007", "S3_CREDENTIALS", "s3_credentials",
             notation.choice("static", "chain", "anonymous"), "static",
             "static, chain or anonymous"),
    Variable("s3proxy.E008", "S3_REGION", "s3_region", places.region, "auto",
             "auto, or a region name like eu-central-1"),
    Variable("s3proxy.E009", "S3_ADDRESSING_STYLE", "s3_addressing_style",
             notation.choice("path", "virtual", "auto"), "path", "path, virtual or auto"),
    Variable("s3proxy.E010", "S3_PREFIX", "s3_prefix", places.key_prefix, None,
             "the start of a key: at most 512 bytes of UTF-8, no leading /, no segment . or .., "
             "no control characters"),
    Variable("s3proxy.E011", "SERVER_ADDR", "address", places.server_addr, None,
             "an address to listen on, like :8080, 127.0.0.1:9000 or [::]:8080"),
    Variable("s3proxy.E012", "PORT", "port", notation.integer(1, 65535), "8080",
             "a port from 1 to 65535"),
    Variable("s3proxy.E013", "WEB_CONCURRENCY", "web_concurrency", notation.integer(1, 1024),
             str(min(1024, usable_cores())),
             "a whole number from 1 to 1024"),
    Variable("s3proxy.E014", "CACHE_CAPACITY", "cache_capacity",
             notation.integer(1, 10**9), "2048", "a whole number from 1 to 1000000000"),
    Variable("s3proxy.E015", "CACHE_MAX_BYTES", "cache_max_bytes", notation.size(1), "512MiB",
             f"at least 1 byte: {_SIZE}"),
    Variable("s3proxy.E016", "CACHE_TTL", "cache_ttl", notation.duration, "5m", _DURATION),
    Variable("s3proxy.E017", "CACHE_STALE_TTL", "cache_stale_ttl",
             notation.duration, "2m", _DURATION),
    Variable("s3proxy.E018", "CACHE_STALE_IF_ERROR", "cache_stale_if_error",
             notation.duration, "1h", _DURATION),
    Variable("s3proxy.E019", "CACHE_NEGATIVE_TTL", "cache_negative_ttl",
             notation.duration, "5s", _DURATION),
    Variable("s3proxy.E020", "MAX_OBJECT_SIZE", "max_object_size",
             notation.size(0), "16777216", _SIZE),
    Variable("s3proxy.E021", "S3_RETRIES", "s3_retries", notation.integer(0, 10), "2",
             "a whole number from 0 to 10"),
    Variable("s3proxy.E022", "REQUEST_TIMEOUT", "request_timeout",
             notation.timeout(), "15s", _TIMEOUT),
    Variable("s3proxy.E023", "READ_TIMEOUT", "read_timeout", notation.timeout(), "5s", _TIMEOUT),
    Variable("s3proxy.E024", "WRITE_TIMEOUT", "write_timeout", notation.timeout(), "15s", _TIMEOUT),
    Variable("s3proxy.E025", "IDLE_TIMEOUT", "idle_timeout", notation.timeout(), "60s", _TIMEOUT),
    Variable("s3proxy.E026", "RATE_LIMIT_RPS", "rate_limit_rps", notation.decimal(10**6), "0",
             "requests a second from 0 to 1000000, like 20 or 0.5"),
    Variable("s3proxy.E027", "TRUSTED_PROXIES", "trusted_proxies", places.networks, None,
             "networks or addresses separated by commas, like 10.0.0.0/8,2001:db8::1"),
    Variable("s3proxy.E028", "CLIENT_IP_HEADER", "client_ip_header",
             # RFC 9110 §5.6.2: a field name is a token.
             notation.matching("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"), "X-Forwarded-For",
             "the name of a header, like X-Forwarded-For or X-Real-IP"),
    Variable("s3proxy.E029", "REDIS_URL", "redis_url", places.redis_url, None,
             "redis:// or rediss:// with a host, like redis://valkey:6379/0", secret=True),
    Variable("s3proxy.E030", "LOG_LEVEL", "log_level",
             notation.choice("debug", "info", "warning", "error", "critical"), "info",
             "debug, info, warning, error or critical"),
    Variable("s3proxy.E031", "LOG_FORMAT", "log_format", notation.choice("json", "text"), "json",
             "json or text"),
    Variable("s3proxy.E032", "ACCESS_LOG", "access_log", notation.boolean, "on",
             "on or off (or true, false, yes, no, 1, 0)"),
    Variable("s3proxy.E033", "ADMIN_PREFIX", "admin_prefix", places.admin_prefix, None,
             "a path like /-: begins with /, does not end with it, only letters, digits "
             "and - . _ ~"),
    Variable("s3proxy.E034", "DRAIN_TIMEOUT", "drain_timeout",
             notation.timeout(zero=True), "30s", "a duration like 30s, at most 24h"),
    Variable("s3proxy.E035", "S3_MAX_CONCURRENCY", "s3_max_concurrency",
             notation.integer(1, 4096), "256", "a whole number from 1 to 4096"),
    Variable("s3proxy.E036", "NOSNIFF", "nosniff", notation.boolean, "on",
             "on or off (or true, false, yes, no, 1, 0)"),
    Variable("s3proxy.E037", "WORKER_TIMEOUT", "worker_timeout",
             notation.timeout(), "30s", _TIMEOUT),
)
# fmt: on
