"""Runs `manage.py serve` as a child process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from s3proxy_site.variables import VARIABLES

MANAGE_PY: Final = Path(__file__).resolve().parents[2] / "manage.py"
STOP_SECONDS: Final = 10.0

# What a user's shell may hold for a real deployment; tuning such as CACHE_TTL is let through.
_NOT_INHERITED: Final = frozenset(
    variable.name for variable in VARIABLES if variable.name.startswith("S3_")
) | {"PORT", "REDIS_URL", "ADMIN_PREFIX"}


class ServeProcess:
    """`manage.py serve` with the variables `configuration`; stopped when the block is left."""

    def __init__(self, configuration: Mapping[str, str], output: IO[str] | None = None) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, str(MANAGE_PY), "serve"],
            # A person reads along, unless told otherwise.
            env={"LOG_FORMAT": "text", **inherited, **configuration},
            stdin=subprocess.DEVNULL,
            stdout=output,
            # A group of its own: Ctrl-C reaches this process alone, which then stops that one
            # in order, and whatever does not stop can be killed with its workers.
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's as well."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def when_it_ends(self, callback: Callable[[], object]) -> None:
        """Call `callback` in another thread as soon as the process has ended."""

        def watch() -> None:
            self._process.wait()
            callback()

        threading.Thread(target=watch, name="serve-watch", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._process.wait()
        else:
            self._kill_group()

    def _kill_group(self) -> None:
        """Kill what is left of it: nothing, unless it was killed before its workers."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # PermissionError is what macOS says of a group that holds only zombies.
            return
