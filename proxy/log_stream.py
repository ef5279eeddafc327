"""The log handler that writes every line of a process to one stream.

Access lines come by the thousand, ready-made, and are written together: after a tenth of a
second, when they fill a batch, before any other record, and when logging shuts down. What kills
the process outright takes the lines of the last tenth of a second with it. A reader that does not
keep up makes the process wait, as it does with any other handler; no line is ever dropped for it.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import select
import stat
import sys
from typing import TextIO

_FLUSH_SECONDS = 0.1
# pipe(7): writes of up to PIPE_BUF bytes are not mixed with those of other processes. To a file
# writes are whole whatever their size.
_PIPE_BATCH_BYTES, _FILE_BATCH_BYTES = select.PIPE_BUF, 64 * 1024


class LineHandler(logging.StreamHandler[TextIO]):
    """A StreamHandler that also takes finished lines, in the same order as records."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._flush_is_due = False
        self._fd = _descriptor(self.stream)
        self._batch_bytes = _batch_bytes(self._fd)

    def emit(self, record: logging.LogRecord) -> None:
        """Write what was there before it, then the record."""
        if self._lines:
            self.flush()
        super().emit(record)

    def add_line(self, line: bytes) -> None:
        """Take one line, its end included, to be written within a tenth of a second.

        To be called from one thread only; where no event loop runs it is written at once.
        """
        size = self._bytes + len(line)
        if size > self._batch_bytes:
            self.flush()
            size = len(line)
        self._bytes = size
        self._lines.append(line)
        if not self._flush_is_due:
            self._flush_soon()

    def flush(self) -> None:
        """Write all lines taken so far; as elsewhere in logging, errors go to standard error."""
        self.acquire()
        try:
            super().flush()
            count = len(self._lines)
            if count:
                # Another thread flushes for a record of its own, while lines go on coming.
                lines = self._lines[:count]
                del self._lines[:count]
                self._bytes = 0
                self._write(lines)
        finally:
            self.release()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        super().close()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._flush_is_due = True
        loop.call_later(_FLUSH_SECONDS, self._flush_now)

    def _flush_now(self) -> None:
        self._flush_is_due = False
        self.flush()

    def _write(self, lines: list[bytes]) -> None:
        try:
            batch = b""
            for line in lines if sum(map(len, lines)) > self._batch_bytes else [b"".join(lines)]:
                if batch and len(batch) + len(line) > self._batch_bytes:
                    self._write_batch(batch)
                    batch = b""
                batch += line
            self._write_batch(batch)
        except (OSError, ValueError) as error:
            if logging.raiseExceptions and sys.stderr is not None:
                sys.stderr.write(f"access lines lost, {len(lines)} or fewer: {error}\n")

    def _write_batch(self, batch: bytes) -> None:
        if self._fd is None:
            self.stream.write(batch.decode())
            self.stream.flush()
            return
        rest = memoryview(batch)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # Somebody else, who has the same stream, made it non-blocking.
                # Not select(), which knows no descriptor over 1,023.
                writable = select.poll()
                writable.register(self._fd, select.POLLOUT)
                writable.poll()


def _descriptor(stream: TextIO) -> int | None:
    """The file descriptor behind a stream; None where there is none."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
        return None


def _batch_bytes(fd: int | None) -> int:
    regular = fd is not None and stat.S_ISREG(os.fstat(fd).st_mode)
    return _FILE_BATCH_BYTES if regular else _PIPE_BATCH_BYTES
