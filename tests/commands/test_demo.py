"""`manage.py demo`, driven as its user drives it."""

import gzip
import hashlib
import io
import json
import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import wave
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from django.core.management import CommandError, call_command

from proxy.demo.bucket import MAX_OBJECT_SIZE, SampleObject, sample_objects
from proxy.demo.media import PNG_SIGNATURE
from s3proxy_site.notation import size
from tests.origins.ports import free_ports
from tests.origins.site import s3_client
from tests.server.conversation import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MANAGE_PY = Path(__file__).resolve().parents[2] / "manage.py"


@pytest.fixture(scope="module")
def objects() -> dict[str, SampleObject]:
    return {sample.key: sample for sample in sample_objects()}


@dataclass
class Demo:
    """A running demo and what its JSON line says of it."""

    process: subprocess.Popen[str]
    described: dict[str, Any]

    def web(self) -> httpx.Client:
        """A client of its proxy."""
        return httpx.Client(base_url=self.described["url"], trust_env=False, timeout=20)

    def stop(self, number: signal.Signals) -> int:
        """Send it a signal; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def leaves_processes(self) -> bool:
        """Whether a process of the proxy's group is left."""
        try:
            os.killpg(self.described["server_pid"], 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the demo's standard error goes: a pipe that nobody reads would fill."""
    return tmp_path / "stderr"


def tail(log: Path) -> str:
    return log.read_text()[-4000:]


@contextmanager
def running(log: Path) -> Iterator[Demo]:
    """A demo on a free port, ended with the block where the test has not stopped it."""
    port = free_ports(1)[0]
    command = [sys.executable, str(MANAGE_PY), "demo", "--addr", f"127.0.0.1:{port}", "--json"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        stdout = process.stdout
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=40)
            assert line, f"the demo did not start:\n{tail(log)}"
            yield Demo(process, json.loads(line))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)


@dataclass
class Versions:
    """Every version that one object ever had, by entity tag."""

    key: str
    length: int
    bodies: dict[str, bytes] = field(default_factory=dict)
    deleting: bool = False

    def next(self) -> bytes:
        """A new body, known from now on: before any reader can see it."""
        body = random.Random(f"{self.key}{len(self.bodies)}").randbytes(self.length)
        self.bodies[entity_tag(body)] = body
        return body


def entity_tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


@dataclass
class Reader:
    """Reads changing objects until told to stop; notes whatever is not a whole version."""

    web: httpx.Client
    watched: Sequence[Versions]
    stopping: threading.Event
    faults: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Until `stopping` is set or something is wrong."""
        dice = random.Random(id(self))
        try:
            while not self.stopping.is_set() and not self.faults:
                for versions in self.watched:
                    dice.choice((self._whole, self._part, self._conditional))(versions)
        except httpx.HTTPError as error:
            self.faults.append(repr(error))

    def _whole(self, versions: Versions) -> None:
        answer = self.web.get(f"/{versions.key}")
        if self._expect(versions, answer, 200) and answer.content != self._body(versions, answer):
            self.faults.append(f"200 for {versions.key} is no version of it")

    def _part(self, versions: Versions) -> None:
        first, last = versions.length // 3, versions.length // 2
        answer = self.web.get(f"/{versions.key}", headers={"Range": f"bytes={first}-{last}"})
        if not self._expect(versions, answer, 206):
            return
        if answer.content != self._body(versions, answer)[first : last + 1]:
            self.faults.append(f"206 for {versions.key} is no part of the version it names")

    def _conditional(self, versions: Versions) -> None:
        tag = list(versions.bodies)[-1]
        answer = self.web.get(f"/{versions.key}", headers={"If-None-Match": tag})
        if answer.status_code == 304:
            self.seen["304"] += 1
            if answer.headers["ETag"] != tag:
                self.faults.append(f"304 for {versions.key} names another version than was asked")
        elif self._expect(versions, answer, 200):
            if answer.headers["ETag"] == tag:
                self.faults.append(f"200 for {versions.key} although its tag was given")
            if answer.content != self._body(versions, answer):
                self.faults.append(f"200 for {versions.key} is no version of it")

    def _expect(self, versions: Versions, answer: httpx.Response, status: int) -> bool:
        """Whether there is a body to compare."""
        self.seen[answer.headers.get("X-Cache", "none")] += 1
        if answer.status_code == 404 and versions.deleting:
            return False
        if answer.status_code != status:
            self.faults.append(f"{answer.status_code} for {versions.key}, not {status}")
            return False
        return True

    def _body(self, versions: Versions, answer: httpx.Response) -> bytes:
        return versions.bodies.get(answer.headers["ETag"], b"no version has this entity tag")


@dataclass
class Writer:
    """Changes objects in the demo's bucket, then purges them from its proxy."""

    demo: Demo
    s3: "S3Client"
    web: httpx.Client

    @property
    def bucket(self) -> str:
        return str(self.demo.described["s3"]["bucket"])

    def overwrite(self, versions: Versions) -> bytes:
        """Put a new version; returns its body once the purge is acknowledged."""
        body = versions.next()
        # Sends the readers to S3, so that some fetch the old version while it is replaced.
        self._purge(versions)
        self.s3.put_object(
            Bucket=self.bucket, Key=versions.key, Body=body, CacheControl="max-age=3600"
        )
        self._purge(versions)
        return body

    def delete(self, versions: Versions) -> None:
        versions.deleting = True
        self.s3.delete_object(Bucket=self.bucket, Key=versions.key)
        self._purge(versions)

    def _purge(self, versions: Versions) -> None:
        answer = self.web.post(
            "/cache/purge",
            json={"keys": [versions.key]},
            headers={"X-Auth-Token": self.demo.described["token"]},
        )
        assert answer.status_code == 200, answer.text


@contextmanager
def read_meanwhile(web: httpx.Client, watched: Sequence[Versions]) -> Iterator[list[Reader]]:
    """Four readers for as long as the block runs."""
    stopping = threading.Event()
    readers = [Reader(web, watched, stopping) for _ in range(4)]
    threads = [threading.Thread(target=reader.run) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield readers
    finally:
        stopping.set()
        for thread in threads:
            thread.join(30)


def test_a_changing_bucket_is_served_in_whole_versions_until_ctrl_c(log: Path) -> None:
    watched = (Versions("live/small.bin", 1_000), Versions("live/larger.bin", 700_000))
    with running(log) as demo:
        s3 = demo.described["s3"]
        with (
            s3_client(s3["endpoint"], s3["access_key"], s3["secret_key"]) as client,
            demo.web() as web,
        ):
            writer = Writer(demo, client, web)
            for versions in watched:
                writer.overwrite(versions)
            with read_meanwhile(web, watched) as readers:
                for versions in watched * 20:
                    newest = writer.overwrite(versions)
                    answer = web.get(f"/{versions.key}")
                    assert answer.headers["ETag"] == entity_tag(newest)
                for versions in watched:
                    writer.delete(versions)
                    assert web.get(f"/{versions.key}").status_code == 404
                    newest = writer.overwrite(versions)
                    assert web.get(f"/{versions.key}").content == newest
            assert [fault for reader in readers for fault in reader.faults] == []
            # Without hits and misses among what was read, nothing has been tried.
            seen = sum((reader.seen for reader in readers), Counter[str]())
            assert seen["HIT"] > 10
            assert seen["MISS"] > 0

        assert demo.stop(signal.SIGINT) == 0, tail(log)
        assert not demo.leaves_processes()


def replay(curl: Sequence[str], web: httpx.Client) -> httpx.Response:
    """Send what a curl command line of the demo would send."""
    words = iter(curl[1:])
    method, url, headers, data = "GET", "", {}, None
    for word in words:
        match word:
            case "-i":
                pass
            case "-X":
                method = next(words)
            case "-H":
                name, value = next(words).split(": ", 1)
                headers[name] = value
            case "-d":
                data = next(words)
            case _:
                url = word
    return web.request(method, url, headers=headers, content=data)


def test_every_sample_and_every_suggested_request_does_what_is_said(
    objects: dict[str, SampleObject], log: Path
) -> None:
    with running(log) as demo, demo.web() as web:
        hit, conditional, part, purge, stats = demo.described["trials"]
        assert replay(hit, web).headers["X-Cache"] == "MISS"
        assert replay(hit, web).headers["X-Cache"] == "HIT"
        assert replay(conditional, web).status_code == 304
        answer = replay(part, web)
        assert answer.status_code == 206
        assert answer.content.startswith(b"line    100000 begins at byte")
        assert replay(purge, web).json()["purged"] == 1
        assert replay(hit, web).headers["X-Cache"] == "MISS"
        assert replay(stats, web).status_code == 200

        assert demo.described["objects"] == list(objects)
        for key, sample in objects.items():
            with web.stream("GET", f"/{quote(key)}") as answer:
                stored = b"".join(answer.iter_raw())
            assert answer.status_code == 200, key
            assert stored == sample.body, key
            assert answer.headers["Content-Type"] == sample.content_type
            assert answer.headers.get("Cache-Control") == sample.cache_control
            assert answer.headers.get("Content-Encoding") == sample.content_encoding

        web.close()
        assert demo.stop(signal.SIGTERM) == 0, tail(log)
        assert not demo.leaves_processes()


def test_the_demo_fails_when_its_proxy_dies(log: Path) -> None:
    with running(log) as demo:
        os.kill(demo.described["server_pid"], signal.SIGKILL)
        assert demo.process.wait(20) == 1
        assert "The proxy ended by itself with status -9." in log.read_text()
        # Its workers are nobody's children, for init to take notice of.
        eventually(lambda: not demo.leaves_processes())


@pytest.mark.parametrize("option", ["--addr", "--s3-port"])
def test_a_port_that_is_taken_is_said_at_once(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        places = {"--addr": "127.0.0.1:0", "--s3-port": "0"}
        places[option] = str(port) if option == "--s3-port" else f"127.0.0.1:{port}"
        with pytest.raises(CommandError, match=f"Cannot listen on 127.0.0.1:{port}.*{option}"):
            call_command("demo", *(part for place in places.items() for part in place))


def test_an_address_that_cannot_be_read_is_refused_with_a_hint() -> None:
    with pytest.raises(CommandError, match="write a colon before the port"):
        call_command("demo", "--addr", "8080")


def test_without_moto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "proxy.demo.embedded_s3", raising=False)
    monkeypatch.setitem(sys.modules, "moto.moto_server.werkzeug_app", None)
    with pytest.raises(CommandError, match=r"pip install -r requirements/demo\.txt"):
        call_command("demo", "--addr", "127.0.0.1:0")


def test_the_bucket_has_something_of_each_kind(objects: dict[str, SampleObject]) -> None:
    limit = size(0)(MAX_OBJECT_SIZE)
    few_mib = len(objects["audio/chimes.wav"].body)
    assert limit < len(objects["large/lines.txt"].body)
    assert 2 * 2**20 < few_mib < limit
    assert objects["empty.txt"].body == b""
    assert json.loads(gzip.decompress(objects["data/primes.json"].body))[:4] == [2, 3, 5, 7]
    assert any(" " in key and not key.isascii() for key in objects)
    assert len({sample.cache_control for sample in objects.values()}) > 5


def test_the_page_links_every_object(objects: dict[str, SampleObject]) -> None:
    page = objects["index.html"].body.decode()
    assert [key for key in objects if f'href="{quote(key)}"' not in page] == []


def test_the_picture_is_a_png(objects: dict[str, SampleObject]) -> None:
    picture = objects["images/plasma.png"].body
    assert picture.startswith(PNG_SIGNATURE)
    chunks = {}
    rest = picture[len(PNG_SIGNATURE) :]
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, data = rest[4:8], rest[8 : 8 + length]
        assert struct.unpack(">I", rest[8 + length : 12 + length]) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        rest = rest[12 + length :]
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]


def test_the_sound_is_a_wav(objects: dict[str, SampleObject]) -> None:
    with wave.open(io.BytesIO(objects["audio/chimes.wav"].body)) as sound:
        assert sound.getnframes() / sound.getframerate() == 36
        assert any(sound.readframes(1000))
