"""Endpoint, bucket, style and region make the URL."""

from __future__ import annotations

import pytest

from proxy.origin.location import locate, region_of_host

AWS = "https://s3.amazonaws.com"


@pytest.mark.parametrize(
    ("endpoint", "bucket", "style", "region", "base"),
    [
        (AWS, "b-1", "path", "us-east-1", "https://s3.amazonaws.com/b-1/"),
        (AWS, "b-1", "path", "eu-west-1", "https://s3.eu-west-1.amazonaws.com/b-1/"),
        (AWS, "b-1", "virtual", "us-east-1", "https://b-1.s3.amazonaws.com/"),
        (AWS, "b-1", "auto", "eu-west-1", "https://b-1.s3.eu-west-1.amazonaws.com/"),
        (AWS, "b.dotted", "auto", "us-east-1", "https://s3.amazonaws.com/b.dotted/"),
        (AWS, "B_old", "auto", "us-east-1", "https://s3.amazonaws.com/B_old/"),
        ("http://127.0.0.1:9000", "bucket", "auto", "r", "http://127.0.0.1:9000/bucket/"),
        ("http://[::1]:9000", "bucket", "auto", "r", "http://[::1]:9000/bucket/"),
        ("http://localhost:9000", "bucket", "auto", "r", "http://localhost:9000/bucket/"),
        ("http://s3.test:9000", "bucket", "virtual", "r", "http://bucket.s3.test:9000/"),
        ("https://s3.test", "bucket", "auto", "r", "https://bucket.s3.test/"),
    ],
)
def test_base(endpoint: str, bucket: str, style: str, region: str, base: str) -> None:
    found = locate(endpoint, bucket, style, region)
    assert (found.base, found.region) == (base, region)


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3-us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1"),
        ("https://s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        (AWS, None),
        ("https://s3.eu-central-1.example.com", None),
        ("http://127.0.0.1:9000", None),
    ],
)
def test_region_of_an_aws_host(endpoint: str, region: str | None) -> None:
    assert region_of_host(endpoint) == region


def test_a_key_is_encoded_once_and_slashes_stay() -> None:
    location = locate("http://127.0.0.1:9000", "b", "path", "r")
    assert location.url("a//b/%/ü?#") == "http://127.0.0.1:9000/b/a//b/%25/%C3%BC%3F%23"
