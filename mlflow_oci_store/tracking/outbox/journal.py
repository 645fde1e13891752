"""What one run logged, on disk, in the order in which it was accepted.

A journal is a row of files ("segments") that only grow:

    <name>-<position>.journal
        mlflow-oci-store journal 1 <run id>
        <CRC-32, 8 hexadecimal digits><kind, 1 letter><JSON>
        ...

A line that was appended is in the operating system's hands, so it survives the death of the
process; with ``sync`` it is on disk, so it survives the death of the machine. JSON has no line
breaks, and the checksum tells a damaged line from a whole one.

Positions count bytes from the run's first line, headers excluded, and never mean another line: a
segment's name says where it begins. A segment is deleted when all of it has been dealt with.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

SUFFIX = ".journal"
METRIC, PARAM, TAG, REQUEST, DAMAGED = b"m", b"p", b"t", b"r", b"?"
# By the lists of a log-batch in which they are sent.
KIND_OF_LIST = {"metrics": METRIC, "params": PARAM, "tags": TAG}

_MAGIC = b"mlflow-oci-store journal 1 "
# A new segment is begun from this size on, so that an outage's backlog is given back in parts.
_SEGMENT_BYTES = 16 * 2**20
# A segment of which nothing is needed is kept to go on with if it is smaller than this.
_KEPT_BYTES = 64 * 2**10
_CHUNK_BYTES = 128 * 2**10
_CHECKSUM_DIGITS = 8
_APPEND = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Line(NamedTuple):
    """One line of a journal.

    Attributes:
        kind: METRIC, PARAM, TAG or REQUEST; DAMAGED if it is not what was written.
        content: JSON in UTF-8; all of a damaged line.
        start: Position of the line.
        end: Position of the next one.
    """

    kind: bytes
    content: bytes
    start: int
    end: int


def line(kind: bytes, content: bytes) -> bytes:
    """Write a line.

    Args:
        kind: METRIC, PARAM, TAG or REQUEST.
        content: JSON in UTF-8, without line breaks.
    """
    text = kind + content
    return b"%08x%b\n" % (crc32(text), text)


class _Segment(NamedTuple):
    path: Path
    base: int
    header_bytes: int


class Journal:
    """The journal of one run. ``append`` and ``forget`` are for one thread at a time.

    Args:
        folder: Where the segments are.
        run_id: The run.
        end: Position of the next line.
        segments: Segments that are there already, in order.
        sync: Whether ``append`` waits for the disk.

    Attributes:
        run_id: The run.
        end: Position of the next line that is appended.
    """

    def __init__(
        self,
        folder: Path,
        run_id: str,
        *,
        end: int,
        segments: tuple[_Segment, ...] = (),
        sync: bool = False,
    ) -> None:
        self.run_id = run_id
        self.end = end
        self._folder = folder
        self._segments = segments
        self._sync = sync
        self._descriptor: int | None = None
        self._is_clean = True

    @property
    def start(self) -> int:
        """Position of the first line that is still there."""
        return self._segments[0].base if self._segments else self.end

    def append(self, lines: bytes) -> int:
        """Append whole lines and return the position behind them.

        Raises:
            OSError: The disk is full or the like; then nothing was appended.
        """
        last = self._segments[-1] if self._descriptor is not None else None
        if last is None or self.end - last.base >= _SEGMENT_BYTES:
            last = self._begin_segment()
        descriptor = self._descriptor
        assert descriptor is not None
        if not self._is_clean:
            # A signal's exception (Ctrl-C) came between writing and counting.
            os.ftruncate(descriptor, last.header_bytes + self.end - last.base)
        self._is_clean = False
        try:
            written = os.write(descriptor, lines)
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            if self._sync:
                os.fsync(descriptor)
        except OSError:
            self._take_back(descriptor, last)
            raise
        self.end += len(lines)
        self._is_clean = True
        return self.end

    def lines(self, start: int, end: int | None = None) -> Iterator[Line]:
        """Read the lines from a position on, up to another or to the end as it is now."""
        end = self.end if end is None else end
        position, rest = start, b""
        while (at := position + len(rest)) < end:
            following = self._following(at, end)
            chunk = self._read(at, following)
            if not chunk:
                # The file ends before it should.
                yield Line(DAMAGED, rest, position, following)
                position, rest = following, b""
            *whole, rest = (rest + chunk).split(b"\n")
            for text in whole:
                behind = position + len(text) + 1
                content = text[_CHECKSUM_DIGITS:]
                try:
                    is_whole = int(text[:_CHECKSUM_DIGITS], 16) == crc32(content)
                except ValueError:
                    is_whole = False
                if is_whole:
                    yield Line(content[:1], content[1:], position, behind)
                else:
                    yield Line(DAMAGED, text, position, behind)
                position = behind

    def forget(self, position: int, *, entirely: bool = False) -> list[Path]:
        """Give up the segments that end before a position.

        Args:
            position: The first position that is still needed.
            entirely: Give up the last segment, too, if nothing of it is needed, however small.

        Returns:
            Their files, to be deleted.
        """
        segments = self._segments
        ends = [segment.base for segment in segments[1:]]
        if segments and (entirely or self.end - segments[-1].base >= _KEPT_BYTES):
            ends.append(self.end)
        count = sum(end <= position for end in ends)
        if count and count == len(segments):
            self.close()
        self._segments = segments[count:]
        return [segment.path for segment in segments[:count]]

    def close(self) -> None:
        """Close the file; appending opens another."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begin_segment(self) -> _Segment:
        header = _header(self.run_id)
        path = self._folder / f"{_name(self.run_id)}-{self.end:016x}{SUFFIX}"
        segment = _Segment(path, self.end, len(header))
        descriptor = os.open(segment.path, _APPEND, 0o600)
        try:
            if os.write(descriptor, header) < len(header):
                raise OSError(f"the disk took only part of {segment.path}")
            if self._sync:
                _sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            delete([segment.path])
            raise
        self.close()
        self._descriptor = descriptor
        # One of the same name held nothing: it began where this one does.
        kept = tuple(it for it in self._segments if it.path != segment.path)
        self._segments = (*kept, segment)
        self._is_clean = True
        return segment

    def _take_back(self, descriptor: int, last: _Segment) -> None:
        try:
            os.ftruncate(descriptor, last.header_bytes + self.end - last.base)
        except OSError:
            # What is behind the end is overlooked once there is another segment.
            self.close()
        else:
            self._is_clean = True

    def _following(self, position: int, end: int) -> int:
        """Where the segment ends in which a position is."""
        bases = [segment.base for segment in self._segments if segment.base > position]
        return min([*bases, end])

    def _read(self, position: int, end: int) -> bytes:
        segment = next((it for it in reversed(self._segments) if it.base <= position), None)
        if segment is None:
            return b""
        offset = segment.header_bytes + position - segment.base
        return _read(segment.path, offset, min(_CHUNK_BYTES, end - position))


def delete(segments: list[Path]) -> None:
    """Delete the files of segments that nobody needs."""
    for path in segments:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def segments_in(folder: Path) -> list[Path]:
    """The files in a process's folder in which something may have been accepted."""
    return [path for path in folder.glob(f"*{SUFFIX}") if _read_header(path).endswith(b"\n")]


def damaged_in(folder: Path) -> list[Path]:
    """Those of them that do not say any more of which run they are."""
    return [path for path in segments_in(folder) if _run_of(path) is None]


def journals_in(folder: Path) -> list[Journal]:
    """Find the journals that a process has in its folder, up to the last whole line of each."""
    found: dict[str, list[_Segment]] = {}
    for path in segments_in(folder):
        run_id = _run_of(path)
        if run_id is not None:
            base = int(path.stem.rpartition("-")[2], 16)
            header_bytes = len(_header(run_id))
            found.setdefault(run_id, []).append(_Segment(path, base, header_bytes))
    return [_recovered(folder, run_id, segments) for run_id, segments in found.items()]


def _run_of(path: Path) -> str | None:
    run_id = _read_header(path)[len(_MAGIC) : -1].decode(errors="replace")
    is_whole = _read_header(path) == _header(run_id) and path.name.startswith(f"{_name(run_id)}-")
    return run_id if is_whole else None


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline()
    except FileNotFoundError:
        # Its owner has just dealt with it.
        return b""


def _name(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()[:16]


def _header(run_id: str) -> bytes:
    return _MAGIC + run_id.encode() + b"\n"


def _recovered(folder: Path, run_id: str, segments: list[_Segment]) -> Journal:
    segments.sort(key=lambda segment: segment.base)
    last = segments[-1]
    size = _end_of_last_line(last.path)
    end = last.base + max(0, size - last.header_bytes)
    return Journal(folder, run_id, end=end, segments=tuple(segments))


def _end_of_last_line(path: Path) -> int:
    try:
        at = path.stat().st_size
    except FileNotFoundError:
        return 0
    while at > 0:
        start = max(0, at - _CHUNK_BYTES)
        found = _read(path, start, at - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def _read(path: Path, offset: int, most: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(most) or b""
    except FileNotFoundError:
        return b""


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
