"""Real S3 servers accept what we sign, for any key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import Credentials

from proxy.origin.signing import FixedCredentials
from tests.gateway.subject import Proxy

if TYPE_CHECKING:
    from tests.origins import S3Site

ODD_KEYS = [
    "a",
    "a b",
    "a+b",
    "100%",
    "a%2Fb",
    "a%20b",
    "ü/☃/😀.txt",
    "jquery..min.js",
    "a/..b/c..",
    "a?b#c&d=e",
    "!$&'()*,;=:@~_-.",
    '[]{}|^`"<>',
    "é",  # decomposed, and not to be composed
    "x" * 200,
]


def proxy_of(site: S3Site, secret_key: str | None = None, **options: Any) -> Proxy:
    keys = Credentials(site.access_key, secret_key or site.secret_key)
    return Proxy(site.endpoint, site.bucket, FixedCredentials(keys), timeout=20, **options)


async def odd_keys(site: S3Site) -> None:
    async with proxy_of(site) as proxy:
        for key in ODD_KEYS:
            body = f"this is {key}".encode()
            site.client.put_object(
                Bucket=site.bucket,
                Key=key,
                Body=body,
                ContentType="text/x-odd",
                Metadata={"owner": "me"},
            )
            miss = await proxy.get(key)
            assert (miss.status, miss.body, miss.cache) == (200, body, "MISS"), key
            assert miss.headers["content-type"] == "text/x-odd"
            assert miss.headers["x-amz-meta-owner"] == "me"
            await proxy.idle()
            assert (await proxy.get(key)).cache == "HIT"
            reload = await proxy.get(key, "Cache-Control: no-cache")
            assert (reload.cache, reload.body) == ("REVALIDATED", body), key


async def test_seaweed_takes_signatures_of_odd_keys(seaweed_site: S3Site) -> None:
    await odd_keys(seaweed_site)


async def test_moto_takes_odd_keys(moto_site: S3Site) -> None:
    await odd_keys(moto_site)


async def test_moto_keeps_double_slashes(moto_site: S3Site) -> None:
    async with proxy_of(moto_site) as proxy:
        for key in ("a//b", "/a", "a/", "a///"):
            moto_site.client.put_object(Bucket=moto_site.bucket, Key=key, Body=key.encode())
            assert (await proxy.get(key)).body == key.encode()


async def life_of_an_object(site: S3Site) -> None:
    def put(body: bytes) -> None:
        site.client.put_object(Bucket=site.bucket, Key="a", Body=body)

    async with proxy_of(site, ttl=0.0) as proxy:
        assert (await proxy.get("a")).status == 404
        await proxy.purge("a")
        put(b"one")
        assert (await proxy.get("a")).body == b"one"
        await proxy.idle()
        assert (await proxy.get("a")).cache == "REVALIDATED"
        put(b"two, which is longer")
        assert (await proxy.get("a")).body == b"two, which is longer"
        await proxy.idle()
        put(b"")
        assert (await proxy.get("a")).body == b""
        await proxy.idle()
        site.client.delete_object(Bucket=site.bucket, Key="a")
        assert (await proxy.get("a")).status == 404


async def test_seaweed_life_of_an_object(seaweed_site: S3Site) -> None:
    await life_of_an_object(seaweed_site)


async def test_moto_life_of_an_object(moto_site: S3Site) -> None:
    await life_of_an_object(moto_site)


async def parts_of_a_large_object(site: S3Site) -> None:
    body = bytes(range(256)) * 4096
    site.client.put_object(Bucket=site.bucket, Key="large", Body=body)
    async with proxy_of(site, max_object_size=1000) as proxy:
        for _ in range(2):
            part = await proxy.get("large", "Range: bytes=500000-500099")
            assert (part.status, part.body) == (206, body[500_000:500_100])
        assert (await proxy.get("large")).body == body


async def test_seaweed_parts_of_a_large_object(seaweed_site: S3Site) -> None:
    await parts_of_a_large_object(seaweed_site)


async def test_moto_parts_of_a_large_object(moto_site: S3Site) -> None:
    await parts_of_a_large_object(moto_site)


async def test_seaweed_refuses_a_wrong_secret_key_and_the_log_says_which(
    seaweed_site: S3Site, caplog: pytest.LogCaptureFixture
) -> None:
    seaweed_site.client.put_object(Bucket=seaweed_site.bucket, Key="a", Body=b"x")
    async with proxy_of(seaweed_site, secret_key="wrong") as proxy:
        assert (await proxy.get("a")).status == 502
    assert {getattr(record, "variable", None) for record in caplog.records} >= {"S3_SECRET_KEY"}


@pytest.mark.parametrize("site", ["moto_site", "seaweed_site"])
async def test_a_bucket_that_is_not_there_is_a_502(
    site: str, request: pytest.FixtureRequest
) -> None:
    there: S3Site = request.getfixturevalue(site)
    keys = FixedCredentials(Credentials(there.access_key, there.secret_key))
    async with Proxy(there.endpoint, "no-such-bucket-here", keys, timeout=20) as proxy:
        assert (await proxy.get("a")).status == 502


async def test_anonymous_requests_are_not_signed_and_a_public_server_takes_them(
    moto_site: S3Site,
) -> None:
    moto_site.client.put_object(Bucket=moto_site.bucket, Key="a", Body=b"public", ACL="public-read")
    anonymous = FixedCredentials(None)
    async with Proxy(moto_site.endpoint, moto_site.bucket, anonymous, timeout=20) as proxy:
        assert (await proxy.get("a")).body == b"public"
