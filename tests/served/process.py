"""Runs the proxy as its users do: `manage.py serve` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import httpx
import pytest

from tests.environment import AUTH_TOKEN, without_proxy_variables
from tests.origins.ports import free_ports
from tests.raw_http import RawConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO

    from tests.origins.scripted import ScriptedOrigin
    from tests.origins.site import S3Site

ROOT = Path(__file__).resolve().parents[2]
SERVE: Sequence[str] = (sys.executable, str(ROOT / "manage.py"), "serve")

LogRecord: TypeAlias = dict[str, Any]

_START_LIMIT = 20.0


class Served:
    """A running proxy; the constructor returns once `/healthz` answers 200.

    `environ` is all that the process has of the proxy's variables, beside the defaults
    below. Raises RuntimeError with the process's output if it exits or does not answer.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        command: Sequence[str] = SERVE,
        temporary: Path | None = None,
        start_limit: float = _START_LIMIT,
    ) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        defaults = {
            "AUTH_TOKEN": AUTH_TOKEN,
            "SERVER_ADDR": f"127.0.0.1:{self.port}",
            "WEB_CONCURRENCY": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PYTHONUNBUFFERED": "1",
        }
        if temporary is not None:
            defaults["TMPDIR"] = str(temporary)
        self.environ = without_proxy_variables(os.environ) | defaults | dict(environ)
        self.token = self.environ["AUTH_TOKEN"]
        self._lines: list[str] = []
        self._grown = threading.Condition()
        # No proxies from the environment; certificates would only cost time.
        self.client = httpx.Client(trust_env=False, verify=False, timeout=10.0)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, so that `close` reaches workers that outlive their parent.
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._wait_until_healthy(start_limit)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lines(self) -> list[str]:
        """What the process wrote so far, standard output and error in order of arrival."""
        with self._grown:
            return list(self._lines)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def json_lines(self) -> list[LogRecord]:
        """The lines that are JSON objects."""
        records = (_record(line) for line in self.lines)
        return [record for record in records if record is not None]

    def wait_for_log(
        self, predicate: Callable[[LogRecord], bool], timeout: float = 5.0
    ) -> LogRecord:
        """The first JSON line that satisfies `predicate`; raises AssertionError if none comes."""
        found: list[LogRecord] = []

        def seen() -> bool:
            found.extend(record for record in self.json_lines() if predicate(record))
            return bool(found)

        with self._grown:
            if not self._grown.wait_for(seen, timeout):
                raise AssertionError(f"no such log line within {timeout} s in:\n{self.output}")
        return found[0]

    def wait_for_line(self, text: str, timeout: float = 5.0) -> str:
        """The first line that contains `text`; raises AssertionError if none comes."""
        with self._grown:
            if not self._grown.wait_for(lambda: text in self.output, timeout):
                raise AssertionError(f"no {text!r} within {timeout} s in:\n{self.output}")
        return next(line for line in self.lines if text in line)

    def worker_pids(self) -> list[int]:
        """The processes that answer, the children of `process`."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sorted(int(pid) for task in tasks for pid in (task / "children").read_text().split())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET through httpx, which may rewrite odd paths: use `raw` where bytes matter."""
        return self.client.get(self.url + path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.client.request(method, self.url + path, **options)

    def admin(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with the admin token."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return self.request(method, path, headers=headers, **options)

    def terminate(self, timeout: float = 20.0) -> int:
        """Sends SIGTERM to the parent process; its exit status (negative: the signal)."""
        self.process.terminate()
        return self.wait(timeout)

    def wait(self, timeout: float = 20.0) -> int:
        """The exit status; raises AssertionError if the process goes on."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.output}") from None
        self._join_readers()
        return status

    def kill(self) -> None:
        """Ends the process and its workers with SIGKILL, as a container host may."""
        # The group exists for as long as any of its members does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def close(self) -> None:
        """Leaves nothing behind: no process, thread or socket."""
        self.client.close()
        self.kill()
        self._join_readers()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _join_readers(self) -> None:
        for reader in self._readers:
            reader.join(timeout=5)

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            with self._grown:
                self._lines.append(line.decode(errors="replace").rstrip("\r\n"))
                self._grown.notify_all()

    def _wait_until_healthy(self, limit: float) -> None:
        deadline = time.monotonic() + limit
        answered: int | None = None
        while time.monotonic() < deadline:
            # Not through httpx, which logs each attempt.
            with (
                contextlib.suppress(OSError, ValueError),
                RawConnection("127.0.0.1", self.port, timeout=1.0) as connection,
            ):
                connection.get("/healthz")
                answered = connection.read_response().status
                if answered == httpx.codes.OK:
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.process.wait(timeout=0.05)
                self._join_readers()
                raise RuntimeError(f"exited with status {status} at its start:\n{self.output}")
        raise RuntimeError(f"/healthz is {answered}, not 200, after {limit} s:\n{self.output}")


def _record(line: str) -> LogRecord | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class Serve(Protocol):
    def __call__(
        self, site: S3Site | ScriptedOrigin, workers: int = 1, **environ: str
    ) -> Served: ...


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts proxies for an origin: `serve(moto_site, workers=2, CACHE_TTL="1s")`.

    All of them end with the test.
    """
    with contextlib.ExitStack() as running:

        def start(site: S3Site | ScriptedOrigin, workers: int = 1, **environ: str) -> Served:
            temporary = tmp_path_factory.mktemp("served")
            environ = site.environ() | {"WEB_CONCURRENCY": str(workers)} | environ
            return running.enter_context(Served(environ, temporary=temporary))

        yield start
