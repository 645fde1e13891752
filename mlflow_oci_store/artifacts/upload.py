"""A file to an object: in one request, or in parts at the same time.

OCI's ``UploadManager`` does much of this, but not what matters when something goes wrong: it checks
no checksum of its parts, repeats them five times without a pause, and leaves the parts of a failed
upload in the bucket, where they are paid for and seen by nobody. So the requests are made here, and
``UploadManager`` is what the tests compare with.
"""

from __future__ import annotations

import hashlib
import logging
import math
import mimetypes
import os
import stat
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from mlflow.environment_variables import (
    MLFLOW_ENABLE_MULTIPART_UPLOAD,
    MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE,
    MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import IO_ERROR
from mlflow.utils.file_utils import ArtifactProgressBar

from mlflow_oci_store.artifacts.checksum import content_md5, md5_of, multipart_md5
from mlflow_oci_store.artifacts.location import Location
from mlflow_oci_store.artifacts.object_storage import ObjectStorage, Send, each
from mlflow_oci_store.artifacts.progress import progress
from mlflow_oci_store.client.connection import ConnectionFailed
from mlflow_oci_store.errors import OciDataPlatformException

# Says where the parts of an object end, so that its checksum can be checked.
PART_SIZE_HEADER = "opc-meta-mlflow-part-size"

_MAX_PARTS = 10_000
# Files up to this size are held in memory, one for each thread.
_HELD_BYTES = 1024 * 1024

_logger = logging.getLogger(__name__)


def upload(storage: ObjectStorage, place: Location, name: str, file: str | Path) -> None:
    """Upload a file.

    Args:
        storage: Makes the calls.
        place: Namespace and bucket.
        name: The object's name; an object that has it is replaced.
        file: The file. From MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE on it goes in parts of
            MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE.

    Raises:
        OciDataPlatformException: A request failed; no new object was made.
        MlflowException: INVALID_PARAMETER_VALUE, if it is no file; IO_ERROR, if it becomes shorter
            meanwhile, or if what was committed is not what was sent.
        OSError: The file cannot be read.
    """
    size = size_of(file)
    if size >= in_parts_from():
        _Parts(storage, place, name, file, size).upload()
        return
    if size <= _HELD_BYTES:
        storage.call("put_object", place, whole_put(name, file))
        return
    checksum, content_type = content_md5(md5_of(file, 0, size)), _content_type(name)

    def put(send: Send) -> None:
        with _Stretch(file, 0, size) as body:
            send(name, body, content_md5=checksum, content_type=content_type)

    storage.call("put_object", place, put)


def whole_put(name: str, file: str | Path) -> Callable[[Send], Any]:
    """Read a file, and give what puts all of it.

    What is put takes the place of what was there, so its checksum goes with it.

    Args:
        name: The object's name.
        file: The file; it is held in memory.

    Returns:
        It calls the method that it is given, and gives its result.

    Raises:
        OSError: The file cannot be read.
    """
    with _opened(file) as whole:
        content = whole.readall()
    checksum = content_md5(hashlib.md5(content, usedforsecurity=False).digest())
    content_type = _content_type(name)
    return lambda send: send(name, content, content_md5=checksum, content_type=content_type)


class _Parts:
    """One upload in parts."""

    def __init__(
        self, storage: ObjectStorage, place: Location, name: str, file: str | Path, size: int
    ) -> None:
        self._storage = storage
        self._place = place
        self._name = name
        self._file = file
        self._size = size
        self._part_size = max(
            MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE.get(), math.ceil(size / _MAX_PARTS)
        )

    def upload(self) -> None:
        upload_id = self._create()
        starts = range(0, self._size, self._part_size)
        try:
            with ArtifactProgressBar.chunks(
                self._size, f"Uploading {self._file}", self._part_size
            ) as bar:
                parts = each(
                    self._storage.parts, lambda at: self._put(upload_id, at), starts, progress(bar)
                )
            self._commit(upload_id, parts)
        except BaseException:
            self._abort(upload_id)
            raise

    def _create(self) -> str:
        from oci.object_storage.models import CreateMultipartUploadDetails

        details = CreateMultipartUploadDetails(
            object=self._name,
            content_type=_content_type(self._name),
            metadata={PART_SIZE_HEADER: str(self._part_size)},
        )
        created = self._call("create_multipart_upload", lambda send: send(details).data)
        return str(created.upload_id)

    def _put(self, upload_id: str, start: int) -> tuple[str, bytes]:
        """Upload the part that begins at ``start``, and give its etag and MD5."""
        stop = min(start + self._part_size, self._size)
        number = start // self._part_size + 1

        def put(send: Send) -> tuple[str, bytes]:
            # Read once: a part replaces nothing yet, so its checksum may be compared afterwards.
            digest = hashlib.md5(usedforsecurity=False)
            with _Stretch(self._file, start, stop, digest) as body:
                headers = send(self._name, upload_id, number, body).headers
            sent, arrived = content_md5(digest.digest()), headers.get("opc-content-md5")
            if arrived != sent:
                raise ConnectionFailed(
                    f"none says that part {number} arrived whole; its MD5 is {sent}, and that of "
                    f"what arrived is {arrived or 'not known'}"
                )
            return str(headers["etag"]), digest.digest()

        return self._storage.call("upload_part", self._place, put)

    def _commit(self, upload_id: str, parts: Any) -> None:
        from oci.object_storage.models import (
            CommitMultipartUploadDetails,
            CommitMultipartUploadPartDetails,
        )

        details = CommitMultipartUploadDetails(
            parts_to_commit=[
                CommitMultipartUploadPartDetails(part_num=number, etag=etag)
                for number, (etag, _) in enumerate(parts, 1)
            ]
        )
        try:
            answer = self._call(
                "commit_multipart_upload", lambda send: send(self._name, upload_id, details)
            )
        except OciDataPlatformException as error:
            if error.status != 404 or not error.retries:
                raise
            # The upload is gone, so an earlier try took effect and its answer was lost.
            answer = self._call("head_object", lambda send: send(self._name))
        expected = multipart_md5(digest for _, digest in parts)
        found = answer.headers.get("opc-multipart-md5")
        if found != expected:
            raise MlflowException(
                f"The object {self._name} is not what was uploaded: the MD5 of its parts is "
                f"{found}, and not {expected}. Upload it again.",
                IO_ERROR,
            )

    def _abort(self, upload_id: str) -> None:
        try:
            self._call("abort_multipart_upload", lambda send: send(self._name, upload_id))
        except MlflowException as error:
            if getattr(error, "status", None) != 404:
                _logger.warning(
                    "The parts of a failed upload of %s are still in the bucket %s, where they "
                    "take space: delete the upload %s. %s",
                    self._name,
                    self._place.bucket,
                    upload_id,
                    error.message,
                )

    def _call(self, operation: str, attempt: Callable[[Send], Any]) -> Any:
        return self._storage.call(operation, self._place, attempt)


class _Stretch:
    """A part of a file as the body of a request, read while it is sent.

    Args:
        file: The file.
        start: Where the part begins.
        stop: Where it ends.
        digest: Is updated with what is read, if given.
    """

    def __init__(self, file: str | Path, start: int, stop: int, digest: Any = None) -> None:
        self._file = file
        self._digest = digest
        self._content = _opened(file)
        if start:
            self._content.seek(start)
        self._length = self._left = stop - start

    def __enter__(self) -> _Stretch:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()

    def __len__(self) -> int:
        return self._length

    def read(self, size: int, /) -> bytes:
        """Read on.

        Raises:
            MlflowException: IO_ERROR, if the file ends before the part does.
        """
        if not self._left:
            return b""
        piece = self._content.read(min(size, self._left))
        if not piece:
            raise MlflowException(
                f"The file {self._file} became shorter while it was uploaded. Upload it again when "
                "nothing writes to it.",
                IO_ERROR,
            )
        self._left -= len(piece)
        if self._digest is not None:
            self._digest.update(piece)
        return piece


def _opened(file: str | Path) -> FileIO:
    # Buffers would cost more calls of the system, and each may hand Python's lock on.
    return open(file, "rb", buffering=0)


def in_parts_from() -> float:
    """Give the size in bytes, by MLflow's variables, from which on a file goes in parts."""
    if not MLFLOW_ENABLE_MULTIPART_UPLOAD.get():
        return math.inf
    return max(float(MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE.get()), 1.0)


def size_of(file: str | Path) -> int:
    """Give a file's size in bytes.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if it is no file.
    """
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise MlflowException.invalid_parameter_value(f"{file} is not a file.")
    return status.st_size


def _content_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
