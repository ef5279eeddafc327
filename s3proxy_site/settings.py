"""Django's settings, all of them taken from the environment by `s3proxy_site.env`.

Importing this module never fails because of the environment: `manage.py check` has to be able to
say what is wrong with it. Whoever needs the configuration asks `proxy.conf.config`, which raises.
"""

from __future__ import annotations

import secrets
from typing import Any

from botocore import UNSIGNED
from botocore.config import Config as ClientConfig

from s3proxy_site import env
from s3proxy_site.log_config import logging_config

S3PROXY, S3PROXY_PROBLEMS, S3PROXY_WARNINGS = env.read()

DEBUG = False
# Nothing here is signed: no sessions, cookies or password resets. Random, so that nothing could
# ever come to depend on it.
SECRET_KEY = secrets.token_urlsafe(64)
# Objects do not depend on Host; health checks come with names of their own.
ALLOWED_HOSTS = ["*"]
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

INSTALLED_APPS = ["django_prometheus", "storages", "proxy", "admin_api"]
MIDDLEWARE = ["proxy.middleware.observe"]
# The routes depend on the configuration. Without one, checking them would fail with a traceback
# in front of the list of problems.
ROOT_URLCONF = "s3proxy_site.urls" if S3PROXY else None
ASGI_APPLICATION = "s3proxy_site.asgi.application"

PROMETHEUS_EXPORT_MIGRATIONS = False
RATELIMIT_USE_CACHE = "ratelimit"


def storage_options(config: env.Config) -> dict[str, Any]:
    """What `S3Storage` is made with; naming an option keeps it from looking at AWS_* variables."""
    static = config.s3_credentials == "static"
    anonymous = config.s3_credentials == "anonymous"
    return {
        "endpoint_url": config.s3_endpoint,
        "bucket_name": config.s3_bucket,
        # With three times None, boto3 asks its chain; unsigned requests need no answer from it.
        "access_key": config.s3_access_key if static else None,
        "secret_key": config.s3_secret_key if static else None,
        "security_token": config.s3_session_token if static else None,
        "session_profile": None,
        "region_name": None if config.s3_region == "auto" else config.s3_region,
        "addressing_style": config.s3_addressing_style,
        "signature_version": "s3v4",
        "querystring_auth": not anonymous,
        # Takes the place of the two options before it, which S3Storage then reads no more.
        "client_config": ClientConfig(
            s3={"addressing_style": config.s3_addressing_style},
            signature_version=UNSIGNED if anonymous else "s3v4",
            connect_timeout=config.request_timeout,
            read_timeout=config.request_timeout,
            retries={"total_max_attempts": 2, "mode": "standard"},
        ),
    }


STORAGES = {
    "default": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": storage_options(S3PROXY) if S3PROXY else {},
    }
}

# Those of `serve` that share the caches: the parent, each worker with its successor, and the
# process that answers by the control socket.
PROCESSES = 2 + 2 * (S3PROXY.web_concurrency if S3PROXY else 0)

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "proxy.cache.backend.MemoryCache",
        "LOCATION": "objects",
        "OPTIONS": {
            "MAX_ENTRIES": S3PROXY.cache_capacity if S3PROXY else 1,
            "MAX_BYTES": S3PROXY.cache_max_bytes if S3PROXY else 1,
            "PROCESSES": PROCESSES,
        },
    },
    "ratelimit": {
        "BACKEND": "proxy.cache.backend.MemoryCache",
        "LOCATION": "ratelimit",
        # Bounded, whatever number of addresses a flood comes from.
        "OPTIONS": {
            "MAX_ENTRIES": 100_000,
            "MAX_BYTES": 32 * 2**20,
            "PROCESSES": PROCESSES,
        },
    },
}
if S3PROXY and S3PROXY.redis_url:
    # The second tier. Another backend may stand here; purges go through REDIS_URL all the same.
    CACHES["shared"] = {
        "BACKEND": "proxy.fleet.cache.RedisCache",
        "LOCATION": S3PROXY.redis_url,
        "KEY_PREFIX": "s3proxy",
    }
    CACHES["ratelimit_local"] = CACHES["ratelimit"]
    CACHES["ratelimit"] = {
        "BACKEND": "proxy.fleet.counters.SharedCounters",
        "LOCATION": S3PROXY.redis_url,
        "KEY_PREFIX": "s3proxy",
        "OPTIONS": {"LOCAL": "ratelimit_local"},
    }

LOGGING = logging_config(
    S3PROXY.log_level if S3PROXY else "info",
    S3PROXY.log_format if S3PROXY else "json",
    access_log=S3PROXY.access_log if S3PROXY else True,
)

SILENCED_SYSTEM_CHECKS = [
    "security.W001",  # SecurityMiddleware: an object keeps the headers it was stored with
    "security.W002",  # X-Frame-Options: likewise; to frame an object is its owner's decision
    "security.W003",  # CsrfViewMiddleware: no cookies; the admin API wants a token every time
]
