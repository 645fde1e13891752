"""What was appended is read again, whatever happened to the file's end."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mlflow_oci_store.tracking.outbox import journal as module
from mlflow_oci_store.tracking.outbox.journal import (
    DAMAGED,
    METRIC,
    REQUEST,
    TAG,
    Journal,
    delete,
    journals_in,
    line,
)

RUN = "0" * 32


def append(journal: Journal, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        journal.append(line(METRIC, b"%06d" % number))


def read(journal: Journal, start: int | None = None) -> list[int]:
    lines = journal.lines(journal.start if start is None else start)
    return [-1 if it.kind == DAMAGED else int(it.content) for it in lines]


def recovered(folder: Path) -> Journal:
    [journal] = journals_in(folder)
    assert journal.run_id == RUN
    return journal


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SEGMENT_BYTES", 100)
    monkeypatch.setattr(module, "_KEPT_BYTES", 10)


def test_lines_are_read_with_their_kinds_and_positions(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    texts = [line(METRIC, "ä".encode()), line(TAG, b"{}"), line(REQUEST, b"[]" * 100_000)]
    ends = [journal.append(text) for text in texts]
    lines = list(journal.lines(0))
    assert [it.kind for it in lines] == [METRIC, TAG, REQUEST]
    assert [it.content for it in lines] == ["ä".encode(), b"{}", b"[]" * 100_000]
    assert [it.end for it in lines] == ends
    assert [it.start for it in lines] == [0, *ends[:2]]
    assert list(recovered(tmp_path).lines(0)) == lines
    assert list(journal.lines(ends[0], ends[1])) == lines[1:2]


def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    append(Journal(tmp_path, RUN, end=0), 1)
    [path] = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("small_segments")
def test_a_journal_goes_on_in_further_files_and_gives_back_those_that_are_done(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 50)
    files = len(list(tmp_path.iterdir()))
    assert files > 5
    assert read(journal) == read(recovered(tmp_path)) == list(range(50))
    positions = [it.start for it in journal.lines(0)]
    delete(journal.forget(positions[25]))
    assert len(list(tmp_path.iterdir())) < files
    assert read(journal, positions[25]) == list(range(25, 50))
    assert read(recovered(tmp_path), positions[25]) == list(range(25, 50))
    delete(journal.forget(journal.end))
    assert list(tmp_path.iterdir()) == []
    append(journal, 2, first=50)
    assert read(journal, positions[25] + 25 * (positions[1])) == [50, 51]


def test_a_small_file_is_kept_to_go_on_with(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 3)
    assert journal.forget(journal.end) == []
    append(journal, 1, first=3)
    assert read(journal) == [0, 1, 2, 3]
    delete(journal.forget(journal.end, entirely=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lost", range(1, 17))
def test_a_line_that_was_not_finished_is_left_out(tmp_path: Path, lost: int) -> None:
    append(Journal(tmp_path, RUN, end=0), 3)
    [path] = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - lost)
    assert len(line(METRIC, b"%06d" % 0)) == 16
    assert read(recovered(tmp_path)) == ([0, 1] if lost <= 16 else [0])


@pytest.mark.usefixtures("small_segments")
def test_a_file_that_is_missing_is_one_damaged_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 21)
    sorted(tmp_path.iterdir())[1].unlink()
    found = read(recovered(tmp_path))
    assert found.count(-1) == 1
    assert [it for it in found if it >= 0] == [*range(7), *range(14, 21)]


def test_any_changed_byte_costs_its_line_and_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 3)
    [path] = tmp_path.iterdir()
    content = path.read_bytes()
    start = content.index(b"\n") + 1 + 16
    for at in range(start, start + 15):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert read(recovered(tmp_path)) == [0, -1, 2]
    # Without its line break a line takes the next one along.
    path.write_bytes(content[: start + 15] + b"_" + content[start + 16 :])
    assert read(recovered(tmp_path)) == [0, -1]


class FullDisk:
    """os.write on a disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 16, 17, 40])
def test_on_a_full_disk_all_of_an_append_is_there_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 2)
    several = b"".join(line(METRIC, b"%06d" % number) for number in (2, 3, 4))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room))
        with pytest.raises(OSError, match="No space"):
            journal.append(several)
    assert read(journal) == read(recovered(tmp_path)) == [0, 1]
    journal.append(several)
    assert read(journal) == read(recovered(tmp_path)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("room", [0, 10])
def test_a_file_that_cannot_even_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room))
        with pytest.raises(OSError, match=r"No space|only part"):
            append(journal, 1)
    assert list(tmp_path.iterdir()) == []
    append(journal, 1)
    assert read(journal) == [0]


def test_what_cannot_be_taken_back_is_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(20))
        patch.setattr(os, "ftruncate", broken)
        with pytest.raises(OSError, match="No space"):
            journal.append(line(METRIC, b"%06d" % 8) + line(METRIC, b"%06d" % 9))
    append(journal, 2, first=2)
    assert read(journal) == read(recovered(tmp_path)) == [0, 1, 2, 3]


def test_ctrl_c_after_writing_and_before_counting_accepts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, RUN, end=0)
    append(journal, 1)
    write = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        write(descriptor, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            append(journal, 1, first=9)
    append(journal, 1, first=1)
    assert read(journal) == read(recovered(tmp_path)) == [0, 1]


@pytest.mark.parametrize(("sync", "calls"), [(True, 4), (False, 0)])
def test_with_sync_each_append_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool, calls: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    append(Journal(tmp_path, RUN, end=0, sync=sync), 3)
    # Three appends, and the folder in which the file is new.
    assert len(synced) == calls
