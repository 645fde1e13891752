"""What lies in the outboxes on this machine, whosever they are: for people, who look from outside.

Nothing is changed, and a lock is tried only to see whether its owner lives. An owner may be at work
meanwhile, so what is read is a moment's view.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.outbox.journal import (
    METRIC,
    PARAM,
    REQUEST,
    TAG,
    Journal,
    damaged_in,
    journals_in,
)
from mlflow_oci_store.tracking.outbox.ledger import DeadLetter, Ledger
from mlflow_oci_store.tracking.outbox.process_lock import ProcessLock
from mlflow_oci_store.tracking.outbox.request import Request
from mlflow_oci_store.tracking.outbox.spool import LOCK_FILE
from mlflow_oci_store.tracking.outbox.target import spool_folders

Json = dict[str, Any]

KINDS = {METRIC: "metric", PARAM: "param", TAG: "tag", REQUEST: "change"}
_UNREADABLE = "damaged"


class Item(NamedTuple):
    """One thing that was logged.

    Attributes:
        run_id: Its run.
        kind: ``metric``, ``param``, ``tag``, ``change`` (anything else), or ``damaged``.
        content: What was logged, as the service's JSON has it; text of what is damaged.
        refused: When the service refused it, seconds since 1970; None while it waits.
        error: Why it did.
    """

    run_id: str
    kind: str
    content: Any
    refused: float | None = None
    error: str | None = None

    def json(self) -> Json:
        """All of it, for programs."""
        return {"state": "waiting" if self.refused is None else "refused", **self._asdict()}


class Box(NamedTuple):
    """The folder of one process.

    Attributes:
        path: The folder.
        is_alive: Whether the process lives.
        facts: Who it is: ``pid``, ``host``, ``version``, ``created``, ``settings``.
        waiting: How many items wait, by run.
        refused: How many items were refused.
        sealed: How many requests may be on their way.
        size: Bytes on disk.
        fault: Why the folder cannot be read, or None.
    """

    path: Path
    is_alive: bool
    facts: dict[str, str]
    waiting: dict[str, int]
    refused: int
    sealed: int
    size: int
    fault: str | None

    @property
    def settings(self) -> Settings | None:
        """The settings of the store that filled it, if this release can read them.

        The folder is where it is now: it may have been moved, or be a volume that has another path
        in the container that filled it.
        """
        outbox_dir = str(self.path.parents[1])
        try:
            return Settings(**{**json.loads(self.facts["settings"]), "outbox_dir": outbox_dir})
        except (KeyError, TypeError, ValueError):
            return None

    def json(self) -> Json:
        """All of it, for programs."""
        settings = self.settings
        return {
            "folder": str(self.path),
            "platform_id": settings and settings.platform_id,
            "workspace_key": settings and settings.workspace_key,
            "pid": self.facts.get("pid"),
            "host": self.facts.get("host"),
            "is_alive": self.is_alive,
            "waiting": self.waiting,
            "sealed_requests": self.sealed,
            "refused": self.refused,
            "bytes": self.size,
            "fault": self.fault,
        }


def boxes_in(outbox_dir: Path) -> list[Box]:
    """Look at the folders of all processes.

    Args:
        outbox_dir: The setting of that name.
    """
    targets = sorted(outbox_dir.iterdir()) if outbox_dir.is_dir() else []
    return [_box(path) for target in targets for path in spool_folders(target)]


def waiting_items(box: Box) -> Iterator[Item]:
    """Read what waits in a folder, in each run's order."""
    for journal, position in _journals(box.path):
        for line in journal.lines(position):
            kind = KINDS.get(line.kind, _UNREADABLE)
            yield Item(journal.run_id, kind, _content(line.kind, line.content))


def refused_items(letters: list[DeadLetter]) -> Iterator[Item]:
    """Read what was refused."""
    for letter in letters:
        kind = KINDS.get(letter.kind, _UNREADABLE)
        content = _content(letter.kind, letter.content)
        yield Item(letter.run_id, kind, content, letter.at, letter.refusal.message)


def dead_letters(box: Box) -> list[DeadLetter]:
    """Read a folder's dead letters; none, if its ledger cannot be read."""
    try:
        ledger = Ledger(box.path, read_only=True)
    except sqlite3.Error:
        return []
    try:
        return ledger.dead_letters()
    finally:
        ledger.close()


def _box(path: Path) -> Box:
    facts: dict[str, str] = {}
    refused = sealed = 0
    fault = None
    try:
        ledger = Ledger(path, read_only=True)
        try:
            facts = ledger.description()
            refused = ledger.count_dead_letters()
            sealed = len(ledger.sealed())
        finally:
            ledger.close()
    except sqlite3.Error as error:
        fault = str(error)
    if damaged := damaged_in(path):
        fault = f"{', '.join(it.name for it in damaged)}: damaged, of an unknown run"
    waiting = {journal.run_id: _count(journal, start) for journal, start in _journals(path)}
    return Box(
        path,
        _is_alive(path),
        facts,
        {run_id: count for run_id, count in waiting.items() if count},
        refused,
        sealed,
        sum(_size(it) for it in path.glob("*")),
        fault,
    )


def _journals(path: Path) -> list[tuple[Journal, int]]:
    """A folder's journals, each with the position from which on nothing has been dealt with."""
    try:
        ledger = Ledger(path, read_only=True)
        try:
            positions = ledger.positions()
        finally:
            ledger.close()
    except sqlite3.Error:
        positions = {}
    return [(it, max(it.start, positions.get(it.run_id, 0))) for it in journals_in(path)]


def _count(journal: Journal, start: int) -> int:
    return sum(1 for _ in journal.lines(start))


def _content(kind: bytes, content: bytes) -> Any:
    if kind == REQUEST:
        request = Request.of_line(content)
        return {"operation": request.operation, **json.loads(request.body)}
    return json.loads(content) if kind in KINDS else content.decode(errors="replace")


def _is_alive(path: Path) -> bool:
    lock = ProcessLock(path / LOCK_FILE)
    try:
        is_free = lock.acquire()
    except OSError:
        return False
    lock.release()
    return not is_free


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
