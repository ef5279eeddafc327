"""Memory shared by a process with all that it forks, under a lock that no death can keep.

The lock is a POSIX lock on the file behind the memory: the kernel releases it when its holder
dies. Whoever takes it then finds the mark that a holder sets on taking and clears on release, and
begins the contents anew, since what a killed process was in the middle of cannot be trusted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import tempfile
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

WORD = 8

_alive: weakref.WeakSet[SharedMemory] = weakref.WeakSet()


class SharedMemory:
    """``size`` zero bytes; a context manager that is the lock, re-entrant within a thread.

    ``on_damage`` is called, holding the lock, when a holder was killed or left by an exception:
    it has to make the contents sound whatever they are. The last eight bytes are the lock's.
    """

    def __init__(self, name: str, size: int) -> None:
        self._file = _anonymous_file(name)
        pages = -(-(size + WORD) // mmap.PAGESIZE) * mmap.PAGESIZE
        os.ftruncate(self._file, pages)
        self.map = mmap.mmap(self._file, pages)
        self.view = memoryview(self.map)
        self.is_renewable = self._can_renew()
        self.on_damage: Callable[[], None] = _nothing_to_repair
        # Called before each release, with the lock still held.
        self.on_release: Callable[[], None] = _nothing_to_repair
        self._held = self.words(pages - WORD, 1)
        self._threads = threading.RLock()
        self._depth = 0
        self._left_by_exception = False
        _alive.add(self)
        weakref.finalize(self, os.close, self._file)

    def words(self, offset: int, count: int) -> memoryview[int]:
        """Aligned unsigned 8-byte numbers: each is read and written whole, without the lock."""
        return self.view[offset : offset + WORD * count].cast("Q")

    def halves(self, offset: int, count: int) -> memoryview[int]:
        """Unsigned 4-byte numbers."""
        return self.view[offset : offset + WORD // 2 * count].cast("I")

    def splice(self, offset: int, size: int, pipe: int) -> int:
        """Put these bytes into a pipe as references to their pages; how many of them. Linux only.

        Raises OSError as the kernel does.
        """
        return os.splice(self._file, pipe, size, offset)

    def renew(self, offset: int, size: int) -> None:
        """Put empty pages in place of these; who refers to the old ones has them as they were.

        Both are multiples of the page size. Only where ``is_renewable``.
        """
        self.map.madvise(mmap.MADV_REMOVE, offset, size)

    def __enter__(self) -> None:
        self._threads.acquire()
        # Before the lock is there: a finaliser may run in this thread at any moment, and must not
        # take and release it as if nobody were about to have it.
        self._depth += 1
        if self._depth == 1:
            try:
                self._take()
            except BaseException:
                self._depth = 0
                self._threads.release()
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._left_by_exception = True
        if self._depth == 1:
            self._release()
        self._depth -= 1
        self._threads.release()

    def try_enter(self) -> bool:
        """Take the lock if that needs no waiting, and this thread does not hold it already.

        For finalisers, which run anywhere. After true, __exit__() has to follow.
        """
        if not self._threads.acquire(blocking=False):
            return False
        if self._depth:
            self._threads.release()
            return False
        self._depth = 1
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin()
        except OSError:
            self._depth = 0
            self._threads.release()
            return False
        except BaseException:
            self._depth = 0
            self._threads.release()
            raise
        return True

    def _can_renew(self) -> bool:
        if not (hasattr(mmap, "MADV_REMOVE") and hasattr(os, "splice")):
            return False
        with contextlib.suppress(OSError):
            # Of a huge page that somebody refers to, a part would not be replaced but overwritten.
            # Where this is refused there are none.
            self.map.madvise(mmap.MADV_NOHUGEPAGE)
        try:
            self.map.madvise(mmap.MADV_REMOVE, 0, mmap.PAGESIZE)
        except OSError:
            return False
        return True

    def _take(self) -> None:
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX)
            except OSError as refusal:
                # The kernel looks for cycles between processes. Where two of them have threads
                # that use two memories it sees one that is none: who takes a lock while holding
                # another takes the purge log's while holding a cache's, never the other way.
                if refusal.errno != errno.EDEADLK:
                    raise
                time.sleep(0.0001)
            else:
                break
        self._begin()

    def _begin(self) -> None:
        if self._held[0]:
            self.on_damage()
        self._held[0] = 1

    def _release(self) -> None:
        try:
            if not self._left_by_exception:
                self.on_release()
                self._held[0] = 0
        finally:
            self._left_by_exception = False
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _become_child(self) -> None:
        # A thread of the parent may have held it, and is not here to release it. The lock
        # between processes is not inherited.
        self._threads = threading.RLock()
        self._depth = 0
        self._left_by_exception = False


def _nothing_to_repair() -> None:
    pass


def _anonymous_file(name: str) -> int:
    # Not /dev/shm, which containers bound to 64 MiB.
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile(prefix=name) as file:
        return os.dup(file.fileno())


def _after_fork() -> None:
    for memory in list(_alive):
        memory._become_child()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_after_fork)
