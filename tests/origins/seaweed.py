"""Runs a real SeaweedFS S3 server as a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.origins.ports import free_ports
from tests.origins.site import S3Site, s3_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

_ACCESS_KEY = "seaweed-access-key"
_SECRET_KEY = "seaweed-secret-key"
_START_LIMIT = 30.0
# Sockets that SeaweedFS puts there, whatever TMPDIR says, and does not remove when killed.
_SOCKET_FOLDER = Path("/tmp")

_IDENTITIES = {
    "identities": [
        {
            "name": "test",
            "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def _arguments(folder: Path, ports: dict[str, int], config: Path) -> list[str]:
    # Every gRPC port is named: the default, port + 10000, may be taken or not exist.
    listeners = [f"-{name}.port={port}" for name, port in ports.items() if "." not in name]
    listeners += [f"-{name.replace('.', '.port.')}={p}" for name, p in ports.items() if "." in name]
    return [
        str(Path(sysconfig.get_path("scripts")) / "weed"),
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",
        "-master.volumeSizeLimitMB=64",
        # A bucket takes volumes of its own, so the default of eight lasts for a few tests.
        "-volume.max=0",
        "-volume.minFreeSpace=1",
        "-filer",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3",
        f"-s3.config={config}",
        f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *listeners,
    ]


@contextmanager
def _running_weed(folder: Path) -> Iterator[str]:
    """The endpoint of a SeaweedFS that keeps its data in `folder`."""
    services = ["master", "volume", "filer", "s3"]
    names = [*services, *(f"{service}.grpc" for service in services)]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    data = folder / "data"
    data.mkdir()
    config = folder / "s3.json"
    config.write_text(json.dumps(_IDENTITIES))
    log = folder / "weed.log"
    with log.open("wb") as output:
        weed = subprocess.Popen(
            _arguments(data, ports, config),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # One volume a bucket instead of seven.
            env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
        )
    try:
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        _wait_until_it_stores(endpoint, weed, log)
        yield endpoint
    finally:
        # An orderly stop takes it more than ten seconds, and nobody needs the data.
        weed.kill()
        weed.wait(timeout=10)
        for service in services:
            name = f"seaweedfs-{service}-grpc-{ports[f'{service}.grpc']}.sock"
            (_SOCKET_FOLDER / name).unlink(missing_ok=True)


def _wait_until_it_stores(endpoint: str, weed: subprocess.Popen[bytes], log: Path) -> None:
    """Returns after the first object is written; raises RuntimeError with the log's end."""
    deadline = time.monotonic() + _START_LIMIT
    failure: Exception | None = None
    with s3_client(endpoint, _ACCESS_KEY, _SECRET_KEY) as client:
        while time.monotonic() < deadline:
            try:
                # A new name each time: the bucket may exist before objects can be stored.
                bucket = f"ready-{uuid.uuid4().hex}"
                client.create_bucket(Bucket=bucket)
                client.put_object(Bucket=bucket, Key="probe", Body=b"probe")
            except (BotoCoreError, ClientError) as error:
                failure = error
            else:
                return
            try:
                weed.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            break
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    raise RuntimeError(f"SeaweedFS did not start ({failure}); its last words:\n{tail}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what needs the server, so that `-m "not seaweedfs"` leaves it out."""
    if not isinstance(item, pytest.Function):
        return
    # A test may be told the site's name as a parameter, and ask for the fixture by that.
    told = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if "seaweed_endpoint" in item.fixturenames or "seaweed_site" in told:
        item.add_marker("seaweedfs")


@pytest.fixture(scope="session")
def seaweed_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _running_weed(tmp_path_factory.mktemp("weed")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def seaweed_client(seaweed_endpoint: str) -> Iterator[S3Client]:
    with s3_client(seaweed_endpoint, _ACCESS_KEY, _SECRET_KEY) as client:
        yield client


@pytest.fixture
def seaweed_site(seaweed_endpoint: str, seaweed_client: S3Client) -> Iterator[S3Site]:
    """An empty bucket on SeaweedFS."""
    bucket = f"test-{uuid.uuid4().hex}"
    seaweed_client.create_bucket(Bucket=bucket)
    yield S3Site(seaweed_endpoint, bucket, seaweed_client, _ACCESS_KEY, _SECRET_KEY)
    # Gives the bucket's volumes back; SeaweedFS empties it first.
    seaweed_client.delete_bucket(Bucket=bucket)
