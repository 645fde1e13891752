"""The folder in which one process keeps its outbox.

    <outbox_dir>/<target>/<process>/
        owner.lock        locked for as long as the process lives
        ledger.sqlite     what was sealed, sent and refused
        *.journal         what was accepted

``target`` stands for the platform and workspace, so that the next process which logs there finds
what a dead one left. Only the owner's user can read it: folders have mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import platform
import shutil
import threading
import time
import uuid
from pathlib import Path

from mlflow_oci_store import __version__
from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.outbox.journal import Journal, damaged_in, journals_in, segments_in
from mlflow_oci_store.tracking.outbox.ledger import Ledger
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.process_lock import ProcessLock
from mlflow_oci_store.tracking.outbox.target import target_folder

LOCK_FILE = "owner.lock"

_logger = logging.getLogger(__name__)


class Spool:
    """The folder of a process, whose lock this process holds.

    Attributes:
        path: The folder.
        ledger: Its ledger.
    """

    def __init__(self, path: Path, lock: ProcessLock, sync: bool) -> None:
        self.path = path
        self.ledger = Ledger(path, sync=sync)
        self._lock = lock
        self._sync = sync
        self._unfinished = 0
        self._counting = threading.Lock()

    @classmethod
    def create(cls, settings: Settings) -> Spool:
        """Make a folder for this process.

        Raises:
            OSError: The folder cannot be made.
            sqlite3.Error: The ledger cannot be made.
        """
        target = target_folder(settings)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = target / _next_name(target)
            path.mkdir(mode=0o700)
            lock = ProcessLock(path / LOCK_FILE)
            if lock.acquire():
                break
        spool = cls(path, lock, settings.outbox_sync == "full")
        spool.ledger.describe(
            settings=json.dumps(dataclasses.asdict(settings)),
            pid=str(os.getpid()),
            host=platform.node(),
            version=__version__,
            created=str(Moment.now().epoch),
        )
        return spool

    @classmethod
    def adopt(cls, path: Path, *, sync: bool = False) -> Spool | None:
        """Take over what a dead process left.

        Args:
            path: Its folder.
            sync: Whether what is decided about it waits for the disk.

        Returns:
            None if the owner lives, or if somebody else was quicker.

        Raises:
            OSError: The folder cannot be read.
            sqlite3.Error: The ledger is damaged, or of a later version.
        """
        lock = ProcessLock(path / LOCK_FILE)
        try:
            if not lock.acquire():
                return None
        except FileNotFoundError:
            return None
        try:
            return cls(path, lock, sync)
        except BaseException:
            lock.release()
            raise

    def journal(self, run_id: str) -> Journal:
        """The journal of a run that this process logs to."""
        position = self.ledger.position(run_id)
        return Journal(self.path, run_id, end=position, sync=self._sync)

    def journals(self) -> list[Journal]:
        """The journals of a dead process; when as many are finished, the folder is closed."""
        for path in damaged_in(self.path):
            _logger.error(
                "%s is damaged: nothing says of which run it is, so it stays there.", path
            )
        journals = journals_in(self.path)
        self._unfinished = len(journals)
        return journals

    def finished_journal(self) -> None:
        """All of a dead process's journal has been dealt with."""
        with self._counting:
            self._unfinished -= 1
            is_done = not self._unfinished
        if is_done:
            self.close()

    def close(self) -> None:
        """Give the folder up, and delete it unless it has something to tell."""
        with contextlib.suppress(OSError):
            if not segments_in(self.path) and not self.ledger.count_dead_letters():
                self.ledger.close()
                for path in sorted(self.path.iterdir(), key=lambda it: it.name == LOCK_FILE):
                    path.unlink()
                self.path.rmdir()
        self.ledger.close()
        self._lock.release()


def _next_name(target: Path) -> str:
    """A name that comes after those of all folders that are there, in whose order what they hold of
    a run is sent; the clock alone may have been set back."""
    numbers = [int(it.name.partition("-")[0], 16) for it in target.glob("????????????????-*")]
    number = max([time.time_ns(), *(it + 1 for it in numbers)])
    return f"{number:016x}-{uuid.uuid4().hex[:8]}"


def delete_dead(path: Path) -> bool:
    """Delete a dead process's folder with all that is in it.

    Returns:
        False, if the process lives.
    """
    lock = ProcessLock(path / LOCK_FILE)
    if not lock.acquire():
        return False
    shutil.rmtree(path, ignore_errors=True)
    lock.release()
    return True
