"""Our signatures are botocore's, to the letter."""

from __future__ import annotations

import datetime as dt
import itertools
import string
from typing import TYPE_CHECKING

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.origin.location import Location
from proxy.origin.sigv4 import signature

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGINS = st.sampled_from(
    [
        "http://127.0.0.1:9000/bucket/",
        "http://LocalHost/bucket/",
        "http://minio:80/a%20bucket/",
        "https://bucket.s3.eu-west-1.amazonaws.com/",
        "https://s3.example:443/bucket/",
        "https://s3.example:8443/bucket/",
        "http://[::1]:9000/bucket/",
        "https://[2001:db8::1]/bucket/",
        "https://user:word@s3.example/bucket/",
    ]
)
SECRETS = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=60)
TOKENS = st.one_of(
    st.none(), st.just(""), st.text(string.ascii_letters + "/+= ", min_size=1, max_size=900)
)
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
MOMENTS = st.integers(0, int(dt.datetime(2199, 12, 31, tzinfo=dt.UTC).timestamp()))


def of_botocore(
    url: str, credentials: ReadOnlyCredentials, region: str, moment: int
) -> dict[str, str]:
    now = dt.datetime.fromtimestamp(moment, dt.UTC).replace(tzinfo=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: now)
        request = AWSRequest(method="GET", url=url)
        S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())


def signed(
    location: Location,
    key: str,
    credentials: ReadOnlyCredentials,
    clock: Callable[[], float],
) -> dict[str, str]:
    lines = signature(location.host, location.target(key), credentials, location.region, clock)
    fields = [line.partition(": ") for line in lines.removesuffix("\r\n").split("\r\n")]
    return {name: value for name, _, value in fields}


@settings(max_examples=3000, deadline=None)
@given(
    origin=ORIGINS,
    key=KEYS,
    access_key=SECRETS,
    secret=SECRETS,
    token=TOKENS,
    region=st.sampled_from(["us-east-1", "eu-central-2", "auto", "garage"]),
    moment=MOMENTS,
)
def test_a_signature_is_the_one_that_botocore_makes(
    origin: str,
    key: str,
    access_key: str,
    secret: str,
    token: str | None,
    region: str,
    moment: int,
) -> None:
    credentials = ReadOnlyCredentials(access_key, secret, token)
    url = Location(origin, region).url(key)
    ours = signed(Location(origin, region), key, credentials, lambda: moment + 0.999)
    assert ours == of_botocore(url, credentials, region, moment)


def test_the_key_of_one_day_signs_nothing_on_the_next() -> None:
    credentials = ReadOnlyCredentials("AKID", "SECRET", None)
    midnight = 1_700_006_400
    location = Location("http://s3/bucket/", "us-east-1")
    for moment in (midnight - 1, midnight, midnight - 1):
        ours = signed(location, "a", credentials, itertools.repeat(moment).__next__)
        assert ours == of_botocore(location.url("a"), credentials, "us-east-1", moment)
