"""Serves the same objects from files by nginx, each with its own header fields."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.origins.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from proxy.demo.bucket import SampleObject

_START_SECONDS = 10.0

_CONFIG = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
{locations}
    }}
}}
"""


def nginx_version() -> str:
    """As in ``nginx/1.22.1``; raises RuntimeError where nginx is not installed."""
    told = subprocess.run([_program(), "-v"], capture_output=True, text=True, timeout=10)
    return told.stderr.rpartition(" ")[2].strip()


@contextmanager
def nginx(folder: Path, objects: Iterable[SampleObject]) -> Iterator[str]:
    """The URL of an nginx that serves the objects, for as long as the context lasts.

    ``folder`` is empty and stays the caller's. Raises RuntimeError with nginx's output if it
    does not answer.
    """
    # Its workers give up root's rights and have to read the files still.
    folder.chmod(0o755)
    port = free_ports(1)[0]
    locations = "\n".join(_location(folder / "files", sample) for sample in objects)
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, locations=locations))
    log = folder / "log"
    command = [_program(), "-e", "stderr", "-c", str(config)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_until_it_answers(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _program() -> str:
    # Debian keeps it where only root's PATH leads.
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("nginx is not installed: apt-get install nginx-light")
    return found


def _location(root: Path, sample: SampleObject) -> str:
    path = root / sample.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sample.body)
    added = (("Cache-Control", sample.cache_control), ("Content-Encoding", sample.content_encoding))
    fields = "".join(f'add_header {name} "{value}"; ' for name, value in added if value)
    return (
        f'        location = "/{sample.key}" '
        f'{{ types {{ }} default_type "{sample.content_type}"; {fields}}}'
    )


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("HEAD", "/")
            connection.getresponse()
            return
        time.sleep(0.05)
    raise RuntimeError(f"nginx does not answer:\n{log.read_text()}")
