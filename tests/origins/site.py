"""Describes a bucket on a real S3 server that a test may use as it likes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Site:
    endpoint: str
    bucket: str
    client: S3Client
    access_key: str
    secret_key: str

    def environ(self) -> dict[str, str]:
        """The proxy's variables that point it to this bucket."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": self.bucket,
            "S3_ACCESS_KEY": self.access_key,
            "S3_SECRET_KEY": self.secret_key,
            "S3_REGION": REGION,
            "S3_ADDRESSING_STYLE": "path",
        }


@contextmanager
def s3_client(endpoint: str, access_key: str, secret_key: str) -> Iterator[S3Client]:
    """A boto3 client that gives up soon and leaves no socket behind."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(
            connect_timeout=2,
            read_timeout=10,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
    try:
        yield client
    finally:
        client.close()
