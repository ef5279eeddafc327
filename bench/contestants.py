"""The servers that are measured, and the origin behind them."""

from __future__ import annotations

import getpass
import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.client import Connection
from bench.errors import BenchError
from bench.machine import ROOT, Cores, program
from bench.processes import START_SECONDS, Process, clean_environ, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BUCKET = "bucket"
TOKEN = "benchmark-token-of-no-use"  # noqa: S105 - it guards nothing
_PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A running server."""

    name: str
    port: int
    process: Process


@dataclass(frozen=True, slots=True)
class Origin:
    """nginx with the files of one bucket, on the client's core."""

    port: int
    root: Path
    folder: Path
    process: Process

    def put(self, key: str, size: int) -> bytes:
        """Store an object; its bytes are the same in every run."""
        body = random.Random(f"{key} {size}").randbytes(size)  # noqa: S311 - not a secret
        self._path(key).write_bytes(body)
        return body

    def put_version(self, key: str, version: int) -> bytes:
        """Replace an object below fresh/ in one step; no two versions are of one size."""
        body = f"version {version} ".encode().ljust(1024 + version)
        path = self._path(key)
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(body)
        new.replace(path)
        return body

    def put_sparse(self, key: str, size: int) -> None:
        """Store an object of zeros that takes no room."""
        with self._path(key).open("wb") as file:
            file.truncate(size)

    def requests(self) -> int:
        """How many requests it has had, this one included."""
        with Connection(self.port) as connection:
            _, body = connection.get("/-/requests", {})
        # The third line of stub_status: accepts, handled, requests.
        return int(body.splitlines()[2].split()[2])

    def counted(self, key: str) -> int:
        """How often a key below counted/ was asked for."""
        log = self.folder / "counted.log"
        return log.read_text().splitlines().count(f"GET /{BUCKET}/{key}")

    def _path(self, key: str) -> Path:
        path = self.root / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Stage:
    """Where servers are started: a folder of their own, the cores, the origin."""

    folder: Path
    cores: Cores
    origin: Origin

    @contextmanager
    def s3proxy(
        self,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        cores: Sequence[int] = (),
    ) -> Iterator[Contestant]:
        """`manage.py serve` with one worker, its access log off unless ``environ`` says on."""
        port = free_port()
        command = [sys.executable, str(ROOT / "manage.py"), "serve", *arguments]
        variables = s3proxy_environ(self.origin.port, port) | dict(environ or {})
        with self._running("s3proxy", port, command, variables, cores=cores) as contestant:
            yield contestant

    @contextmanager
    def prefilled(
        self, environ: Mapping[str, str], entries: int, size: int, seconds: float
    ) -> Iterator[Contestant]:
        """The same with ``entries`` objects of ``size`` bytes in memory: see bench/prefilled.py."""
        port = free_port()
        command = [sys.executable, "-m", "bench.prefilled", str(entries), str(size)]
        variables = s3proxy_environ(self.origin.port, port) | dict(environ)
        with self._running("s3proxy", port, command, variables, wait=seconds) as contestant:
            yield contestant

    @contextmanager
    def nginx(
        self, *, sendfile: bool = False, access_log: bool = False, limit: bool = False
    ) -> Iterator[Contestant]:
        """nginx with proxy_cache, from peers/nginx.conf."""
        folder = _new_folder(self.folder, "nginx")
        port = free_port()
        log = f"{folder}/access.log json buffer=64k flush=1s" if access_log else "off"
        command = _nginx(
            "nginx",
            folder,
            port=port,
            origin=self.origin.port,
            sendfile="on" if sendfile else "off",
            access_log=log,
            limit="limit_req zone=clients burst=900000 nodelay;" if limit else "",
        )
        with self._running("nginx", port, command, folder=folder) as contestant:
            yield contestant

    @contextmanager
    def varnish(self) -> Iterator[Contestant]:
        """Varnish with one thread pool, from peers/varnish.vcl; all in memory."""
        folder = _new_folder(self.folder, "varnish")
        port = free_port()
        vcl = folder / "varnish.vcl"
        vcl.write_text(filled("varnish.vcl", origin=self.origin.port))
        command = [
            program("varnishd"), "-F", "-n", str(folder / "work"), "-f", str(vcl),
            "-a", f"127.0.0.1:{port}", "-T", "none", "-j", "none", "-s", "malloc,1g",
            "-p", "thread_pools=1",
        ]  # fmt: skip
        with self._running("Varnish", port, command, folder=folder) as contestant:
            yield contestant

    @contextmanager
    def relay(self) -> Iterator[Contestant]:
        """bench/relay.py."""
        port = free_port()
        command = [sys.executable, "-m", "bench.relay", str(port), str(self.origin.port)]
        with self._running("relay", port, command) as contestant:
            yield contestant

    @contextmanager
    def view(self, name: str, handler: str) -> Iterator[Contestant]:
        """bench/view.py."""
        port = free_port()
        command = [sys.executable, "-m", "bench.view", handler, str(port)]
        variables = s3proxy_environ(self.origin.port, port)
        with self._running(name, port, command, variables) as contestant:
            yield contestant

    @contextmanager
    def _running(
        self,
        name: str,
        port: int,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        cores: Sequence[int] = (),
        wait: float = START_SECONDS,
    ) -> Iterator[Contestant]:
        folder = folder or _new_folder(self.folder, name)
        variables = dict(environ or clean_environ()) | {"TMPDIR": str(folder)}
        try:
            with Process(
                command,
                cores=cores or (self.cores.server,),
                log=folder / "output.log",
                environ=variables,
            ) as process:
                process.wait_for_port(port, wait)
                yield Contestant(name, port, process)
        finally:
            # Access logs and stored files of one workload are no use to the next.
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def origin(folder: Path, cores: Cores) -> Iterator[Origin]:
    """The origin, with the bucket's objects in a folder."""
    place = _new_folder(folder, "origin")
    root = place / "root"
    port = free_port()
    command = _nginx("origin", place, port=port, root=root)
    with Process(command, cores=(cores.client,), log=place / "output.log") as process:
        process.wait_for_port(port)
        found = Origin(port, root, place, process)
        found.put("1k", 1024)
        yield found


@cache
def serve_takes(option: str) -> bool:
    """Has `serve` such an option?"""
    command = [sys.executable, str(ROOT / "manage.py"), "serve", "--help"]
    done = subprocess.run(  # noqa: S603
        command,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=s3proxy_environ(1, 1),
    )
    return option in done.stdout


def s3proxy_environ(origin_port: int, port: int) -> dict[str, str]:
    """The proxy's whole configuration in a benchmark."""
    return clean_environ(
        {
            "AUTH_TOKEN": TOKEN,
            "S3_ENDPOINT": f"http://127.0.0.1:{origin_port}",
            "S3_BUCKET": BUCKET,
            "S3_ACCESS_KEY": "benchmark",
            "S3_SECRET_KEY": "benchmark-secret",
            "S3_REGION": "us-east-1",
            "SERVER_ADDR": f"127.0.0.1:{port}",
            "WEB_CONCURRENCY": "1",
            "ACCESS_LOG": "off",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    )


def filled(template: str, **values: object) -> str:
    """A file of peers/ with its @names@ replaced; raises BenchError where one is left over."""
    text = (_PEERS / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    if "@" in text:
        raise BenchError(f"{template}: something between @ and @ has no value")
    return text


def _nginx(name: str, folder: Path, **values: object) -> list[str]:
    """The command for nginx with the template ``name``.conf."""
    # Workers of a root-owned master would become nobody, who may not enter the folder.
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    config = folder / f"{name}.conf"
    config.write_text(filled(f"{name}.conf", folder=folder, user=user, **values))
    return [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(config)]


def _new_folder(parent: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{name.lower().replace(' ', '-')}-", dir=parent))
