"""A lock file that says whether the process that made it is alive.

The operating system drops the lock with the process, however it ends. Where there are POSIX record
locks they are used, not ``flock``: a forked child shares the latter with its parent and would keep
a dead parent's files locked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# POSIX drops a process's lock when it closes any descriptor of the file, so a lock that this
# process holds must not even be tried again.
_held: set[tuple[int, str]] = set()


class ProcessLock:
    """A lock on a file, held by at most one process on the machine.

    Args:
        path: The file, which is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock, without waiting.

        Returns:
            False, if a living process has it, this one included, or if the file has been deleted
            by whoever had it.

        Raises:
            OSError: The file cannot be opened.
        """
        key = (os.getpid(), str(self._path))
        if key in _held:
            return False
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            if os.fstat(descriptor).st_ino != os.stat(self._path).st_ino:
                raise BlockingIOError
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        _held.add(key)
        return True

    def release(self) -> None:
        """Give the lock back; without effect if it is not held."""
        if self._descriptor is not None:
            _held.discard((os.getpid(), str(self._path)))
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
