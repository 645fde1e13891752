"""The emulator's bucket: objects as files of the data folder, and a row for what is known of each.

An object's bytes lie in one file, or in one file for each part it was uploaded in; files have names
of their own, because an object's name may be anything. What an object is stands in one row, so it
appears, is replaced and goes in one step, and whoever reads the old one reads it to its end or not
at all. Nothing here holds more of an object in memory than a chunk.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_oci_store.emulator.answers import Readable, Refusal
from mlflow_oci_store.emulator.state import State

CHUNK_BYTES = 1024 * 1024

# Sorts behind every character that may follow the delimiter "/" in a name.
_AFTER_DELIMITER = chr(ord("/") + 1)


class Piece(NamedTuple):
    """A file that holds a stretch of an object."""

    file: str
    size: int


class StoredObject(NamedTuple):
    """What is known of an object.

    ``md5`` is base64: of the whole content, or, with ``parts``, of the parts' MD5s in a row.
    ``headers`` are those of its upload that come back with it: content type and user metadata.
    """

    name: str
    etag: str
    size: int
    md5: str
    parts: int | None
    headers: Mapping[str, str]
    created: float
    modified: float
    pieces: Sequence[Piece]


class Part(NamedTuple):
    """One uploaded part of an object that is still to be committed."""

    number: int
    etag: str
    md5: str
    piece: Piece


class Upload(NamedTuple):
    """A multipart upload under way."""

    upload_id: str
    name: str
    headers: Mapping[str, str]
    created: float


@dataclass(frozen=True)
class Listing:
    """One page of names: objects, the folders between them, and where the next page starts."""

    objects: list[StoredObject] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    next_start: str | None = None


@dataclass(frozen=True)
class Content:
    """A stretch of an object, read while it is sent."""

    folder: Path
    pieces: Sequence[Piece]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[bytes]:
        begins = 0
        for piece in self.pieces:
            first, last = max(self.start - begins, 0), min(self.stop - begins, piece.size)
            if first < last:
                yield from _chunks(self.folder / piece.file, first, last)
            begins += piece.size


class Bucket:
    """The objects of one bucket.

    Args:
        state: The emulator's database.
        folder: Where content is kept, made when missing.
        clock: Seconds since the epoch.
    """

    def __init__(self, state: State, folder: Path, clock: Callable[[], float]) -> None:
        self._state = state
        self._folder = folder
        self._clock = clock
        self._replacing = threading.Lock()
        self.namespace = state.name("namespace", f"ns{uuid.uuid4().hex[:10]}")
        self.name = state.name("bucket", "aidp")
        folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def uri(self) -> str:
        """The bucket as an artifact root, ``oci://<bucket>@<namespace>``."""
        return f"oci://{self.name}@{self.namespace}"

    def find(self, name: str) -> StoredObject | None:
        """Give an object, or None when there is none of that name."""
        rows = self._state.execute("SELECT * FROM objects WHERE name = ?", (name,))
        return _object(rows[0]) if rows else None

    def content(self, stored: StoredObject, start: int, stop: int) -> Content:
        """Give the bytes of an object from ``start`` up to, not including, ``stop``."""
        return Content(self._folder, stored.pieces, start, stop)

    def put(
        self, name: str, source: Readable, md5: str | None, headers: Mapping[str, str]
    ) -> StoredObject:
        """Keep an object, in the place of one that has its name.

        Args:
            name: Its name.
            source: Its content, read to the end.
            md5: What its MD5 must be, in base64; None takes what comes.
            headers: What to give back with it.

        Raises:
            Refusal: 400 UnmatchedContentMD5, and nothing has changed.
        """
        piece, actual = self._receive(source, md5)
        return self._keep(name, actual, None, headers, [piece])

    def delete(self, stored: StoredObject) -> None:
        """Delete an object with its content."""
        self._state.execute(
            "DELETE FROM objects WHERE name = ? AND etag = ?", (stored.name, stored.etag)
        )
        self._drop(stored.pieces)

    def listing(
        self, prefix: str, start: str, end: str | None, delimiter: str | None, limit: int
    ) -> Listing:
        """List objects in the order of their names' bytes.

        Args:
            prefix: Names begin with it.
            start: The first name there may be.
            end: Names stop before it; None never stops them.
            delimiter: Names that have it after the prefix are listed as a folder, up to it.
            limit: The most objects and folders to list.
        """
        page = Listing()
        position = max(prefix, start)
        for stored in self._from(position, prefix, delimiter):
            if end is not None and stored.name >= end:
                break
            if len(page.objects) + len(page.folders) == limit:
                return Listing(page.objects, page.folders, stored.name)
            folder = _folder(stored.name, prefix, delimiter)
            if folder is None:
                page.objects.append(stored)
            else:
                page.folders.append(folder)
        return page

    def _from(self, position: str, prefix: str, delimiter: str | None) -> Iterator[StoredObject]:
        """Give the objects from a position on, of each folder only the first."""
        while True:
            rows = self._state.execute(
                "SELECT * FROM objects WHERE name >= ? ORDER BY name LIMIT 100",
                (position,),
            )
            for row in rows:
                stored = _object(row)
                if not stored.name.startswith(prefix):
                    return
                if stored.name < position:
                    continue
                yield stored
                folder = _folder(stored.name, prefix, delimiter)
                position = f"{stored.name}\0" if folder is None else folder[:-1] + _AFTER_DELIMITER
            if not rows:
                return

    def create_upload(self, name: str, headers: Mapping[str, str]) -> Upload:
        """Begin a multipart upload."""
        upload = Upload(str(uuid.uuid4()), name, dict(headers), self._clock())
        self._state.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?)",
            (upload.upload_id, name, json.dumps(upload.headers), upload.created),
        )
        return upload

    def uploads(self) -> list[Upload]:
        """List the multipart uploads under way."""
        return [
            Upload(upload_id, name, json.loads(headers), created)
            for upload_id, name, headers, created in self._state.execute(
                "SELECT * FROM uploads ORDER BY name, created"
            )
        ]

    def upload(self, upload_id: str, name: str) -> Upload:
        """Give a multipart upload under way.

        Raises:
            Refusal: 404 NoSuchUpload when there is none for that object.
        """
        for upload in self.uploads():
            if (upload.upload_id, upload.name) == (upload_id, name):
                return upload
        raise Refusal(404, "NoSuchUpload", f"There is no upload {upload_id!r} of {name!r}")

    def put_part(self, upload: Upload, number: int, source: Readable, md5: str | None) -> Part:
        """Keep a part, in the place of one that has its number; see ``put``."""
        piece, actual = self._receive(source, md5)
        part = Part(number, uuid.uuid4().hex, actual, piece)
        replaced = [old.piece for old in self.parts(upload) if old.number == number]
        self._state.execute(
            "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)",
            (upload.upload_id, number, part.etag, actual, piece.file, piece.size),
        )
        self._drop(replaced)
        return part

    def parts(self, upload: Upload) -> list[Part]:
        """List the parts of a multipart upload by number."""
        return [
            Part(number, etag, md5, Piece(file, size))
            for number, etag, md5, file, size in self._state.execute(
                "SELECT number, etag, md5, file, size FROM parts WHERE upload_id = ?"
                " ORDER BY number",
                (upload.upload_id,),
            )
        ]

    def commit(self, upload: Upload, chosen: Mapping[int, str]) -> StoredObject:
        """Make an object of parts, and forget those that were not chosen.

        Args:
            upload: The multipart upload.
            chosen: The etags of the parts by their numbers.

        Raises:
            Refusal: 400 InvalidUploadPart for a part that is not there.
        """
        parts = self.parts(upload)
        if missing := chosen.items() - {(part.number, part.etag) for part in parts}:
            number, etag = min(missing)
            raise Refusal(
                400, "InvalidUploadPart", f"There is no part {number} with the etag {etag!r}"
            )
        taken = [part for part in parts if part.number in chosen]
        digests = b"".join(base64.b64decode(part.md5) for part in taken)
        stored = self._keep(
            upload.name, _md5(digests), len(taken), upload.headers, [part.piece for part in taken]
        )
        self._forget(upload)
        self._drop([part.piece for part in parts if part.number not in chosen])
        return stored

    def abort(self, upload: Upload) -> None:
        """Forget a multipart upload with its parts."""
        pieces = [part.piece for part in self.parts(upload)]
        self._forget(upload)
        self._drop(pieces)

    def _forget(self, upload: Upload) -> None:
        self._state.execute("DELETE FROM uploads WHERE upload_id = ?", (upload.upload_id,))
        self._state.execute("DELETE FROM parts WHERE upload_id = ?", (upload.upload_id,))

    def _keep(
        self,
        name: str,
        md5: str,
        parts: int | None,
        headers: Mapping[str, str],
        pieces: Sequence[Piece],
    ) -> StoredObject:
        now = self._clock()
        with self._replacing:
            old = self.find(name)
            stored = StoredObject(
                name=name,
                etag=str(uuid.uuid4()),
                size=sum(piece.size for piece in pieces),
                md5=md5,
                parts=parts,
                headers=headers,
                created=old.created if old else now,
                modified=now,
                pieces=pieces,
            )
            self._state.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    stored.etag,
                    stored.size,
                    md5,
                    parts,
                    json.dumps(dict(headers)),
                    stored.created,
                    now,
                    json.dumps(pieces),
                ),
            )
        if old:
            self._drop(old.pieces)
        return stored

    def _receive(self, source: Readable, expected_md5: str | None) -> tuple[Piece, str]:
        digest = hashlib.md5(usedforsecurity=False)
        path = self._folder / uuid.uuid4().hex
        size = 0
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += file.write(chunk)
            actual = base64.b64encode(digest.digest()).decode()
            if expected_md5 not in (None, actual):
                raise Refusal(
                    400,
                    "UnmatchedContentMD5",
                    f"The computed MD5 of the request body ({actual}) does not match the "
                    f"Content-MD5 header ({expected_md5})",
                )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Piece(path.name, size), actual

    def _drop(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            (self._folder / piece.file).unlink(missing_ok=True)


def _object(row: tuple[Any, ...]) -> StoredObject:
    name, etag, size, md5, parts, headers, created, modified, pieces = row
    return StoredObject(
        name,
        etag,
        size,
        md5,
        parts,
        json.loads(headers),
        created,
        modified,
        [Piece(*piece) for piece in json.loads(pieces)],
    )


def _folder(name: str, prefix: str, delimiter: str | None) -> str | None:
    """The folder that a name is in, below the prefix; None when it is in none."""
    if not delimiter:
        return None
    first, found, _ = name[len(prefix) :].partition(delimiter)
    return f"{prefix}{first}{found}" if found else None


def _chunks(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (chunk := file.read(min(CHUNK_BYTES, stop - start))):
            yield chunk
            start += len(chunk)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
