"""A lock file that says whether the process that made it is alive.

The operating system drops the lock with the process, however it ends. Where there are POSIX record
locks they are used, not ``flock``: a forked child shares the latter with its parent and would keep
a dead parent's files locked.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

# POSIX drops a process's lock when it closes any descriptor of the file, and gives it to the same
# process twice, so a file that this process has locked must not even be opened again. By process,
# device and inode: a file may have several names.
_held: set[tuple[int, int, int]] = set()
_holding = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A child must not find it locked by a thread that it does not have.
    os.register_at_fork(
        before=_holding.acquire,
        after_in_parent=_holding.release,
        after_in_child=_holding.release,
    )


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
        with _holding:
            if self._path.exists() and _identity(self._path.stat()) in _held:
                return False
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
                mine = _identity(os.fstat(descriptor))
                if mine != _identity(self._path.stat()):
                    raise BlockingIOError
            except OSError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            _held.add(mine)
            return True

    def release(self) -> None:
        """Give the lock back; without effect if it is not held."""
        with _holding:
            if self._descriptor is not None:
                _held.discard(_identity(os.fstat(self._descriptor)))
                os.close(self._descriptor)
                self._descriptor = None


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), status.st_dev, status.st_ino


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
