"""A lock tells whether the process that took it lives."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from mlflow_oci_store.tracking.outbox.process_lock import ProcessLock

from .process import CONTEXT, kill, start


def test_a_lock_is_held_once_in_a_process_also_by_another_name_of_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    lock = ProcessLock(folder / "owner.lock")
    assert lock.acquire()
    for path in (folder, tmp_path / "link", folder / ".." / "folder"):
        assert not ProcessLock(path / "owner.lock").acquire()
    lock.release()
    assert ProcessLock(folder / "owner.lock").acquire()


def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    ProcessLock(tmp_path / "owner.lock").acquire()
    assert (tmp_path / "owner.lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_on_a_file_that_its_owner_has_deleted_is_none(tmp_path: Path) -> None:
    path = tmp_path / "owner.lock"
    mine = ProcessLock(path)
    assert mine.acquire()
    here, there = CONTEXT.Pipe()
    other = start(_acquire_when_told, path, there)
    assert here.recv() is False
    path.unlink()
    mine.release()
    here.send("again")
    # It makes a file of its own; the deleted one is nobody's.
    assert here.recv() is True
    kill(other)


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    here, there = CONTEXT.Pipe()
    other = start(_acquire_when_told, tmp_path / "owner.lock", there)
    assert here.recv() is True
    assert not ProcessLock(tmp_path / "owner.lock").acquire()
    kill(other)
    assert ProcessLock(tmp_path / "owner.lock").acquire()


def _acquire_when_told(path: Path, line: Connection) -> None:
    while True:
        line.send(ProcessLock(path).acquire())
        line.recv()
