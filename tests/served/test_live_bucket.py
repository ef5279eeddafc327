"""A bucket that changes while clients read it through the proxy."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from tests.raw_http import RawConnection

if TYPE_CHECKING:
    from tests.origins import S3Site
    from tests.served.process import Serve, Served

TTL = 1.0


@pytest.fixture(params=["moto_site", "seaweed_site"])
def site(request: pytest.FixtureRequest) -> S3Site:
    """An empty bucket on each S3 server there is."""
    found: S3Site = request.getfixturevalue(request.param)
    return found


def changes_to(served: Served, path: str, status: int, body: bytes | None = None) -> httpx.Response:
    """The first answer that is so; raises AssertionError if none is within the TTL and a bit."""
    deadline = time.monotonic() + TTL + 3
    while True:
        answer = served.get(path)
        if answer.status_code == status and body in (None, answer.content):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def test_an_object_lives_through_its_whole_life(serve: Serve, site: S3Site) -> None:
    served = serve(site, CACHE_TTL=f"{TTL:.0f}s", CACHE_STALE_TTL="0s", CACHE_NEGATIVE_TTL="200ms")
    put: dict[str, Any] = {
        "ContentType": "text/plain",
        "Metadata": {"author": "me"},
        "CacheControl": "public",
    }
    assert served.get("/folder/page.txt").status_code == 404
    site.client.put_object(Bucket=site.bucket, Key="folder/page.txt", Body=b"one", **put)
    first = changes_to(served, "/folder/page.txt", 200, b"one")
    assert first.headers["Content-Type"] == "text/plain"
    assert first.headers["x-amz-meta-author"] == "me"
    assert {name for name in first.headers if name.startswith("x-amz-")} == {"x-amz-meta-author"}
    assert served.get("/folder/page.txt").headers["X-Cache"] == "HIT"

    site.client.put_object(Bucket=site.bucket, Key="folder/page.txt", Body=b"two!", **put)
    second = changes_to(served, "/folder/page.txt", 200, b"two!")
    assert second.headers["ETag"] != first.headers["ETag"]
    known = {"If-None-Match": second.headers["ETag"]}
    assert served.get("/folder/page.txt", headers=known).status_code == 304
    known = {"If-None-Match": first.headers["ETag"]}
    assert served.get("/folder/page.txt", headers=known).status_code == 200

    deadline = time.monotonic() + TTL + 3
    while served.get("/folder/page.txt").headers["X-Cache"] != "REVALIDATED":
        assert time.monotonic() < deadline
        time.sleep(0.05)

    site.client.delete_object(Bucket=site.bucket, Key="folder/page.txt")
    changes_to(served, "/folder/page.txt", 404)
    assert served.request("HEAD", "/folder/page.txt").status_code == 404


@pytest.mark.parametrize(
    "key", ["a b+c.txt", "ü/漢字.txt", "100%/x%2Fy", "jquery..min.js", "q?x=1#y"]
)
def test_unusual_keys_are_found(serve: Serve, moto_site: S3Site, key: str) -> None:
    served = serve(moto_site)
    moto_site.client.put_object(Bucket=moto_site.bucket, Key=key, Body=key.encode())
    with RawConnection("127.0.0.1", served.port) as client:
        client.get("/" + quote(key))
        assert client.read_response().body == key.encode()


def test_encoded_and_empty_objects_are_passed_as_they_are(serve: Serve, site: S3Site) -> None:
    served = serve(site)
    packed = gzip.compress(b"hello" * 1000)
    site.client.put_object(
        Bucket=site.bucket,
        Key="packed",
        Body=packed,
        ContentEncoding="gzip",
        ContentType="text/css",
    )
    site.client.put_object(Bucket=site.bucket, Key="empty", Body=b"")
    for cache in (b"MISS", b"HIT"):
        with RawConnection("127.0.0.1", served.port) as client:
            client.get("/packed")
            answer = client.read_response()
            assert (answer.body, answer.header("Content-Encoding")) == (packed, b"gzip")
            assert answer.header("X-Cache") == cache
            client.get("/empty")
            answer = client.read_response()
            assert (answer.body, answer.header("Content-Length")) == (b"", b"0")


def test_large_objects_are_streamed_and_served_in_parts(serve: Serve, site: S3Site) -> None:
    served = serve(site, MAX_OBJECT_SIZE="1MiB")
    body = b"0123456789abcdef" * 65536 * 3
    site.client.put_object(Bucket=site.bucket, Key="large", Body=body)
    assert served.get("/large").content == body
    part = served.get("/large", headers={"Range": "bytes=3000000-"})
    assert (part.status_code, part.content) == (206, body[3_000_000:])
    assert part.headers["X-Cache"] == "BYPASS"
    assert served.request("HEAD", "/large").headers["Content-Length"] == str(len(body))


class Reader(threading.Thread):
    """Reads an object over and over, and notes what must not be."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__()
        self.seen = {0}
        self.failures: list[str] = []
        self._url = url
        self._size = size
        self._done = threading.Event()

    def run(self) -> None:
        with httpx.Client(trust_env=False, verify=False, timeout=10) as client:
            while not self._done.is_set():
                # A large object that is overwritten while it is sent is cut off, not mixed.
                with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                    self._judge(client.get(self._url))

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _judge(self, answer: httpx.Response) -> None:
        if answer.status_code != httpx.codes.OK:
            self.failures.append(f"{self._url}: {answer.status_code}")
            return
        number = int(answer.content[:7])
        if answer.content != version(number, self._size):
            self.failures.append(f"{self._url}: mixed or cut")
        if number < max(self.seen):
            self.failures.append(f"{self._url}: {number} after {max(self.seen)}")
        self.seen.add(number)


def version(number: int, size: int) -> bytes:
    return (b"%07d\n" % number) * (size // 8)


def test_readers_see_whole_versions_while_writers_overwrite(
    serve: Serve, seaweed_site: S3Site
) -> None:
    """Every answer is one version, never older than one seen before, in the end the newest."""
    site = seaweed_site
    served = serve(site, CACHE_TTL="100ms", CACHE_STALE_TTL="0s", MAX_OBJECT_SIZE="1MiB")
    sizes = {"small": 1000, "large": 3_000_000}
    last = 12

    def put(number: int) -> None:
        for key, size in sizes.items():
            site.client.put_object(Bucket=site.bucket, Key=key, Body=version(number, size))

    put(0)
    readers = [Reader(f"{served.url}/{key}", size) for key, size in sizes.items() for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, last + 1):
            put(number)
        for key, size in sizes.items():
            changes_to(served, f"/{key}", 200, version(last, size))
    finally:
        for reader in readers:
            reader.stop()
    assert [failure for reader in readers for failure in reader.failures] == []
    assert all(len(reader.seen) > 1 for reader in readers)
    site.client.delete_object(Bucket=site.bucket, Key="small")
    changes_to(served, "/small", 404)
    assert "Traceback" not in served.output
