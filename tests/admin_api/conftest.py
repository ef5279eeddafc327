"""Runs one proxy for all tests of a module."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.origins.site import S3Site
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

# Upper and lower case, with characters that mean something else in a query.
TOKEN = "Mixed-Case/Token+0123=="

_clients = itertools.count(1)


@pytest.fixture(scope="module")
def module_site(moto_endpoint: str, moto_client: S3Client) -> S3Site:
    bucket = f"test-{uuid.uuid4().hex}"
    moto_client.create_bucket(Bucket=bucket)
    return S3Site(moto_endpoint, bucket, moto_client, "moto-access-key", "moto-secret-key")


@pytest.fixture(scope="module")
def module_server(
    module_site: S3Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    environ = {
        "AUTH_TOKEN": TOKEN,
        "READ_TIMEOUT": "500ms",
        "CACHE_TTL": "1h",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    temporary = tmp_path_factory.mktemp("served")
    with Served(module_site.environ() | environ, temporary=temporary) as running:
        yield running


@pytest.fixture
def server(module_server: Served) -> Served:
    """A running proxy with an empty cache, which no wrong token has come to from `client`."""
    number = next(_clients)
    module_server.client.headers["X-Forwarded-For"] = f"198.18.{number // 256}.{number % 256}"
    module_server.admin("POST", "/cache/purge", json={"all": True}).raise_for_status()
    return module_server


@pytest.fixture
def site(module_site: S3Site) -> S3Site:
    """The bucket behind `server`."""
    return module_site
