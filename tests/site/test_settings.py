from __future__ import annotations

from typing import Any

import botocore
import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.files.storage import storages
from storages.backends.s3 import S3Storage

from proxy.conf import config
from s3proxy_site.env import parse
from s3proxy_site.settings import storage_options
from tests.site.cases import GOOD, MINIMAL

UNKEYED = {name: MINIMAL[name] for name in ("AUTH_TOKEN", "S3_ENDPOINT", "S3_BUCKET")}


@pytest.fixture(autouse=True)
def foreign_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of boto3 and django-storages that must not get in the way."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FOREIGN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "foreign")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "foreign-token")
    monkeypatch.setenv("AWS_S3_SESSION_PROFILE", "foreign-profile")


def storage(environ: dict[str, str]) -> S3Storage:
    parsed, problems = parse(environ)
    assert parsed is not None, problems
    return S3Storage(**storage_options(parsed))


def credentials(made: S3Storage) -> tuple[str, str, str | None] | None:
    found: Any = made.connection.meta.client._request_signer._credentials
    return found and (found.access_key, found.secret_key, found.token)


def test_static_credentials_are_ours() -> None:
    made = storage({**MINIMAL, "S3_SESSION_TOKEN": "t"})
    assert credentials(made) == ("AKIDEXAMPLE", "wJalrXUtnFEMI-EXAMPLE", "t")


def test_static_credentials_take_no_session_token_from_elsewhere() -> None:
    assert credentials(storage(MINIMAL)) == ("AKIDEXAMPLE", "wJalrXUtnFEMI-EXAMPLE", None)


def test_the_chain_is_boto3s() -> None:
    made = storage({**UNKEYED, "S3_CREDENTIALS": "chain"})
    assert credentials(made) == ("FOREIGN", "foreign", "foreign-token")


def test_anonymous_requests_are_unsigned() -> None:
    made = storage({**UNKEYED, "S3_CREDENTIALS": "anonymous"})
    assert credentials(made) is None
    assert made.connection.meta.client.meta.config.signature_version is botocore.UNSIGNED
    assert made.url("a b") == "http://127.0.0.1:9/assets/a%20b"


def test_the_storage_asks_the_configured_endpoint_within_the_timeout() -> None:
    made = storage({**MINIMAL, "REQUEST_TIMEOUT": "1500ms", "S3_REGION": "eu-central-1"})
    client = made.connection.meta.client
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.region_name == "eu-central-1"
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (1.5, 1.5)
    assert made.bucket.name == "assets"


@pytest.mark.parametrize("style", ["path", "virtual", "auto"])
def test_the_addressing_style_reaches_the_client(style: str) -> None:
    made = storage({**MINIMAL, "S3_ADDRESSING_STYLE": style})
    assert made.connection.meta.client.meta.config.s3["addressing_style"] == style


@pytest.mark.parametrize("endpoint", [text for text, _ in GOOD["S3_ENDPOINT"]])
@pytest.mark.parametrize("region", [text for text, _ in GOOD["S3_REGION"]])
def test_boto3_takes_every_endpoint_and_region_that_we_take(endpoint: str, region: str) -> None:
    made = storage({**MINIMAL, "S3_ENDPOINT": endpoint, "S3_REGION": region})
    assert made.connection.meta.client.meta.endpoint_url


def test_the_default_storage_is_the_bucket() -> None:
    assert isinstance(storages["default"], S3Storage)


def test_the_object_cache_has_the_configured_bounds() -> None:
    options = settings.CACHES["default"]["OPTIONS"]
    assert options == {
        "MAX_ENTRIES": config().cache_capacity,
        "MAX_BYTES": config().cache_max_bytes,
        # The parent, each worker with its successor, and who answers on the control socket.
        "PROCESSES": 2 + 2 * config().web_concurrency,
    }


def test_the_addresses_of_a_flood_take_bounded_memory() -> None:
    options = settings.CACHES["ratelimit"]["OPTIONS"]
    assert options["MAX_BYTES"] == 32 * 2**20


def test_both_caches_open() -> None:
    for alias in ("default", "ratelimit"):
        caches[alias].set("key", "value")
        assert caches[alias].get("key") == "value"
        caches[alias].delete("key")


def test_debugging_is_off() -> None:
    assert settings.DEBUG is False
