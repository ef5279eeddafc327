"""Gives the test process an environment that does not depend on the developer's shell.

Loaded as a plugin (`-p tests.environment`), because pytest-django reads the settings before
any conftest is imported.
"""

import os
from collections.abc import Mapping, MutableMapping

from s3proxy_site.variables import VARIABLES

AUTH_TOKEN = "test-token-0123456789"

BASELINE: Mapping[str, str] = {
    "AUTH_TOKEN": AUTH_TOKEN,
    # Port 9 (discard) refuses: a test that forgets its origin fails at once.
    "S3_ENDPOINT": "http://127.0.0.1:9",
    "S3_BUCKET": "bucket",
    "S3_ACCESS_KEY": "test-access-key",
    "S3_SECRET_KEY": "test-secret-key",
    "S3_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

_PREFIXES = ("AWS_", "PROMETHEUS_")
_NAMES = {variable.name for variable in VARIABLES} | {
    "ALL_PROXY",
    "FORWARDED_ALLOW_IPS",
    "HTTPS_PROXY",
    "HTTP_PROXY",
}


def without_proxy_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environ` without what the proxy, boto3 or an HTTP client would obey."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_PREFIXES) and name.upper() not in _NAMES
    }


def apply(environ: MutableMapping[str, str]) -> None:
    """Makes `environ` the baseline, whatever it carried; doing so twice changes nothing."""
    clean = without_proxy_variables(environ) | dict(BASELINE)
    for name in set(environ) - set(clean):
        del environ[name]
    environ.update(clean)


apply(os.environ)
