"""Runs moto's S3 server in this process."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from tests.origins.site import S3Site, s3_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

_ACCESS_KEY = "moto-access-key"
_SECRET_KEY = "moto-secret-key"


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    # `stop` ends the loop and keeps the listening socket.
    if server._server is not None:
        server._server.server_close()


@pytest.fixture(scope="session")
def moto_client(moto_endpoint: str) -> Iterator[S3Client]:
    with s3_client(moto_endpoint, _ACCESS_KEY, _SECRET_KEY) as client:
        yield client


@pytest.fixture
def moto_site(moto_endpoint: str, moto_client: S3Client) -> S3Site:
    """An empty bucket on moto."""
    bucket = f"test-{uuid.uuid4().hex}"
    moto_client.create_bucket(Bucket=bucket)
    return S3Site(moto_endpoint, bucket, moto_client, _ACCESS_KEY, _SECRET_KEY)
