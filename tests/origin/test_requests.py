"""What reaches S3, byte for byte: our own headers and the key, nothing of the client's."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from storages.backends.s3 import S3Storage

from proxy.core.cache_key import InvalidTarget, object_key
from proxy.origin.errors import OriginError
from proxy.origin.exchange import OriginAnswer
from tests.gateway.subject import Bucket, Proxy, s3_origin
from tests.origins import ScriptedOrigin, conditional, respond, s3_error, sequence

if TYPE_CHECKING:
    from proxy.origin.s3 import S3Origin

SIGNED = {"Authorization", "X-Amz-Content-SHA256", "X-Amz-Date"}
PLAIN = {"Host", "Accept", "Accept-Encoding", "Via"}

CLIENT = [
    "Accept: image/avif",
    "Accept-Encoding: gzip, br",
    "Accept-Language: de",
    "Authorization: Bearer secret",
    "Cookie: a=b",
    "Origin: https://example.com",
    "Referer: https://example.com/",
    "User-Agent: curl",
    "X-Forwarded-For: 192.0.2.1",
    "x-amz-acl: public-read",
    "X-Amz-Security-Token: theirs",
    "Connection: close",
    "Host: elsewhere",
    "Range: bytes=0-1",
    'If-None-Match: "theirs"',
    "If-Modified-Since: Tue, 01 Oct 2024 10:00:00 GMT",
    "Cache-Control: no-cache",
    "Pragma: no-cache",
    "Expect: 100-continue",
]


def names(origin: ScriptedOrigin, number: int = -1) -> list[str]:
    return [name.decode() for name, _ in origin.requests[number].headers]


async def get(s3: S3Origin, key: str) -> bytes:
    answer = await s3.get(key)
    assert isinstance(answer, OriginAnswer)
    try:
        return b"".join([chunk async for chunk in answer.chunks()])
    finally:
        answer.close()


async def test_the_exact_set_of_header_fields_sent(origin: ScriptedOrigin) -> None:
    # Public, because the client sends credentials: nothing else would be stored.
    shared = {"Cache-Control": "public"}
    origin.on("a", conditional(b"x" * 10, '"v1"', "Tue, 01 Oct 2024 10:00:00 GMT", shared))
    async with Proxy(origin.endpoint) as proxy:
        await proxy.get("a", *CLIENT)
        assert len(names(origin)) == len(PLAIN | SIGNED)
        assert set(names(origin)) == PLAIN | SIGNED
        request = origin.requests[0]
        assert (request.method, request.body) == ("GET", b"")
        assert request.header("Host") == f"127.0.0.1:{origin.port}"
        assert request.header("Accept") == "*/*"
        assert request.header("Accept-Encoding") == "identity"
        await proxy.get("a", *CLIENT)
        assert set(names(origin)) == PLAIN | SIGNED | {"If-None-Match", "If-Modified-Since"}


async def test_the_exact_set_of_header_fields_of_a_part(origin: ScriptedOrigin) -> None:
    origin.on("a", conditional(b"x" * 10, '"v1"'))
    async with Proxy(origin.endpoint, max_object_size=5) as proxy:
        await proxy.get("a", *CLIENT)
    assert set(names(origin)) == PLAIN | SIGNED | {"Range", "If-Match"}


async def test_an_absent_query_string(origin: ScriptedOrigin) -> None:
    async with Proxy(origin.endpoint) as proxy:
        await proxy.get("a?versionId=3&acl")
    assert origin.requests[0].target == b"/bucket/a%3FversionId%3D3%26acl"


KEYS = {
    b"/a": b"a",
    b"/a//b": b"a//b",
    b"//a": b"/a",
    b"/a/": b"a/",
    b"/a//": b"a//",
    b"/a%20b": b"a%20b",
    b"/a+b": b"a%2Bb",
    b"/%C3%BC.txt": b"%C3%BC.txt",
    b"/%E2%98%83/%F0%9F%98%80": b"%E2%98%83/%F0%9F%98%80",
    b"/100%25": b"100%25",
    b"/a%252Fb": b"a%252Fb",
    b"/a%2Fb": b"a/b",
    b"/jquery..min.js": b"jquery..min.js",
    b"/a/..b/c..": b"a/..b/c..",
    b"/...": b"...",
    b"/a%3Fb%23c": b"a%3Fb%23c",
    b"/~a_b-c.d": b"~a_b-c.d",
    b"/!$&'()*,;=:@": b"%21%24%26%27%28%29%2A%2C%3B%3D%3A%40",
    b"/%5B%5D%7B%7D%7C%5C%5E%60%22%3C%3E": b"%5B%5D%7B%7D%7C%5C%5E%60%22%3C%3E",
}


@pytest.mark.parametrize("path", KEYS)
async def test_keys_reach_s3_as_they_are(origin: ScriptedOrigin, path: bytes) -> None:
    origin.default(respond(body=b"x"))
    async with Proxy(origin.endpoint) as proxy:
        assert (await proxy.get_path(path)).status == 200
    assert [request.target for request in origin.requests] == [b"/bucket/" + KEYS[path]]


@pytest.mark.parametrize("path", [b"/%2e%2e/other/x", b"/a/../b", b"/a/%2E%2E", b"/./a", b"/.."])
async def test_no_request_leaves_the_bucket(origin: ScriptedOrigin, path: bytes) -> None:
    async with Proxy(origin.endpoint) as proxy:
        with pytest.raises(InvalidTarget):
            await proxy.get_path(path)
    assert origin.requests == []


async def test_a_key_of_1024_bytes(origin: ScriptedOrigin) -> None:
    key = "ü" * 512
    origin.on(key, respond(body=b"x"))
    async with Proxy(origin.endpoint) as proxy:
        assert (await proxy.get(key)).body == b"x"


async def test_a_prefix_stands_before_every_key(origin: ScriptedOrigin) -> None:
    origin.on("site/v1/a b", respond(body=b"x"))
    async with Proxy(origin.endpoint) as proxy:
        assert (await proxy.get(object_key(b"/a%20b", "site/v1/"))).body == b"x"


async def test_connections_are_used_again(origin: ScriptedOrigin) -> None:
    origin.default(respond(body=b"x"))
    async with Proxy(origin.endpoint) as proxy:
        for number in range(5):
            await proxy.get(f"key-{number}")
            await proxy.idle()
        await proxy.get("key-0", "Cache-Control: no-cache")
    assert origin.connections == 1


async def test_cookies_of_the_origin_are_not_kept(origin: ScriptedOrigin) -> None:
    origin.default(respond(body=b"x", headers={"Set-Cookie": "a=b; Path=/"}))
    async with Proxy(origin.endpoint) as proxy:
        await proxy.get("a")
        await proxy.get("b")
    assert "Cookie" not in names(origin)


async def test_a_proxy_of_the_environment_is_not_used(
    origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    origin.on("a", respond(body=b"x"))
    async with Proxy(origin.endpoint) as proxy:
        assert (await proxy.get("a")).status == 200


async def test_virtual_addressing_puts_the_bucket_into_host(
    origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    s3 = s3_origin(Bucket(f"http://s3.test:{origin.port}", "media", "virtual"))
    # The scripted origin is path-style: to it, this key is "a" in its bucket.
    origin.on("a", respond(body=b"x"))
    assert await get(s3, "bucket/a") == b"x"
    await s3.aclose()
    assert asked == ["media.s3.test"]
    assert origin.requests[0].header("Host") == f"media.s3.test:{origin.port}"
    assert origin.requests[0].target == b"/bucket/a"


def storage(origin: ScriptedOrigin, bucket: str = "bucket") -> S3Storage:
    return S3Storage(
        access_key="scripted-access-key",
        secret_key="scripted-secret-key",
        bucket_name=bucket,
        endpoint_url=origin.endpoint,
        addressing_style="path",
        region_name="us-east-1",
    )


def scope(origin: ScriptedOrigin) -> str:
    """The region that the last request was signed for."""
    return (origin.requests[-1].header("Authorization") or "").split("/")[2]


async def test_region_auto_asks_once(origin: ScriptedOrigin) -> None:
    origin.on("", respond(200, headers={"x-amz-bucket-region": "eu-central-1"}))
    origin.default(respond(body=b"x"))
    s3 = s3_origin(storage(origin), region="auto")
    await asyncio.gather(*(get(s3, f"key-{number}") for number in range(20)))
    await s3.aclose()
    assert [request.method for request in origin.requests if request.key == ""] == ["HEAD"]
    assert scope(origin) == "eu-central-1"


async def test_region_auto_learns_from_a_refusal(origin: ScriptedOrigin) -> None:
    refusal = s3_error(403, "AccessDenied", headers={"x-amz-bucket-region": "eu-west-3"})
    origin.on("", refusal)
    origin.on("a", respond(body=b"x"))
    s3 = s3_origin(storage(origin), region="auto")
    await get(s3, "a")
    await s3.aclose()
    assert scope(origin) == "eu-west-3"


async def test_region_auto_of_an_endpoint_that_does_not_tell_is_us_east_1(
    origin: ScriptedOrigin,
) -> None:
    origin.on("", respond(200))
    origin.on("a", respond(body=b"x"))
    s3 = s3_origin(storage(origin), region="auto")
    await get(s3, "a")
    await s3.aclose()
    assert scope(origin) == "us-east-1"


async def test_region_auto_concludes_nothing_from_silence(origin: ScriptedOrigin) -> None:
    class Silent:
        endpoint_url = origin.endpoint
        bucket_name = "bucket"
        addressing_style = "path"

        def __init__(self) -> None:
            self.storages = [
                S3Storage(
                    access_key="a",
                    secret_key="b",
                    bucket_name="bucket",
                    endpoint_url="http://127.0.0.1:9",
                    region_name="us-east-1",
                ),
                storage(origin),
            ]

        @property
        def connection(self) -> Any:
            return self.storages.pop(0).connection

    origin.on("", respond(200, headers={"x-amz-bucket-region": "eu-central-1"}))
    origin.on("a", respond(body=b"x"))
    s3 = s3_origin(Silent(), region="auto", retries=0, timeout=30)
    with pytest.raises(OriginError):
        await s3.get("a")
    assert await get(s3, "a") == b"x"
    await s3.aclose()
    assert scope(origin) == "eu-central-1"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_region_auto_concludes_nothing_from_a_failing_origin(
    origin: ScriptedOrigin, status: int
) -> None:
    failing = s3_error(status, "SlowDown")
    told = respond(200, headers={"x-amz-bucket-region": "eu-central-1"})
    origin.on("", failing)
    origin.on("a", respond(body=b"x"))
    s3 = s3_origin(storage(origin), region="auto", retries=0, timeout=30)
    with pytest.raises(OriginError):
        await s3.get("a")
    origin.on("", told)
    assert await get(s3, "a") == b"x"
    await s3.aclose()
    assert scope(origin) == "eu-central-1"


async def test_region_auto_asks_again_when_the_region_was_wrong(origin: ScriptedOrigin) -> None:
    origin.on("", respond(200, headers={"x-amz-bucket-region": "us-east-1"}))
    origin.on("a", sequence(s3_error(400, "AuthorizationHeaderMalformed"), respond(body=b"x")))
    s3 = s3_origin(storage(origin), region="auto")
    with pytest.raises(OriginError, match="S3_REGION"):
        await s3.get("a")
    origin.on("", respond(200, headers={"x-amz-bucket-region": "eu-west-1"}))
    assert await get(s3, "a") == b"x"
    await s3.aclose()
    assert scope(origin) == "eu-west-1"


async def test_a_configured_region_is_not_asked_for(origin: ScriptedOrigin) -> None:
    origin.on("a", respond(body=b"x"))
    s3 = s3_origin(Bucket(origin.endpoint), region="ap-south-1")
    await get(s3, "a")
    await s3.aclose()
    assert origin.count() == 1
    assert scope(origin) == "ap-south-1"
