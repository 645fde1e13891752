"""An object to a file: under a name of its own until it is whole, checked, then under its name.

A broken transfer goes on where it broke, and only with the same version of the object. A large
object is read in stretches at the same time, each into its place in the file.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from mlflow.environment_variables import (
    MLFLOW_ENABLE_MULTIPART_DOWNLOAD,
    MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE,
    MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import IO_ERROR
from mlflow.utils.file_utils import ArtifactProgressBar

from mlflow_oci_store.artifacts.checksum import content_md5, md5_of, multipart_md5
from mlflow_oci_store.artifacts.location import Location
from mlflow_oci_store.artifacts.object_storage import ObjectStorage, Send, each
from mlflow_oci_store.artifacts.progress import progress
from mlflow_oci_store.artifacts.upload import PART_SIZE_HEADER
from mlflow_oci_store.errors import OciDataPlatformException

_CHUNK_BYTES = 1024 * 1024


def download(storage: ObjectStorage, place: Location, name: str, file: Path) -> None:
    """Download an object.

    Args:
        storage: Makes the calls.
        place: Namespace and bucket.
        name: The object's name.
        file: Where to; a file that is there is replaced when the download is complete. From
            MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE on, stretches of
            MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE are read at the same time.

    Raises:
        OciDataPlatformException: A request failed.
        MlflowException: IO_ERROR, if what arrived does not have the object's checksum.
        OSError: The file cannot be written.
    """
    temporary = file.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.touch()
        _Download(storage, place, name, temporary).run()
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


class _Download:
    """One object on its way to a file that exists and is empty."""

    def __init__(self, storage: ObjectStorage, place: Location, name: str, file: Path) -> None:
        self._storage = storage
        self._place = place
        self._name = name
        self._file = file
        self._headers: Mapping[str, str] = {}

    def run(self) -> None:
        self._read(_Stretch(0, None))
        size = int(self._headers["content-length"])
        if self._is_large(size):
            step = MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE.get()
            stretches = [_Stretch(at, min(at + step, size)) for at in range(0, size, step)]
            with ArtifactProgressBar.chunks(size, f"Downloading {self._name}", step) as bar:
                each(self._storage.parts, self._read, stretches, progress(bar))
        self._verify(size)

    def _read(self, stretch: _Stretch) -> None:
        """Read a stretch, in another call after a broken one that got further."""
        while True:
            before = stretch.start
            try:
                self._storage.call(
                    "get_object", self._place, lambda send: self._receive(send, stretch)
                )
            except OciDataPlatformException as error:
                if error.status is not None or stretch.start == before:
                    raise
            else:
                return

    def _receive(self, send: Send, stretch: _Stretch) -> None:
        from oci._vendor.requests.exceptions import ChunkedEncodingError

        with closing(send(self._name, **self._which(stretch)).data) as answer:
            if stretch.stop is None:
                # The first request asks for everything, because only its answer says how much
                # that is, and what the checksum of all is.
                self._headers = answer.headers
                stretch.stop = int(answer.headers["content-length"])
                if self._is_large(stretch.stop):
                    return
            with self._file.open("r+b") as content:
                content.seek(stretch.start)
                for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
                    stretch.start += content.write(chunk)
            if stretch.start != stretch.stop:
                raise ChunkedEncodingError("the answer broke off")

    def _which(self, stretch: _Stretch) -> dict[str, str]:
        if stretch.stop is None:
            return {}
        return {
            "range": f"bytes={stretch.start}-{stretch.stop - 1}",
            "if_match": self._headers["etag"],
        }

    def _is_large(self, size: int) -> bool:
        smallest = max(MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE.get(), 1)
        return size >= smallest and bool(MLFLOW_ENABLE_MULTIPART_DOWNLOAD.get())

    def _verify(self, size: int) -> None:
        expected = self._headers.get("content-md5")
        part_size = self._headers.get(PART_SIZE_HEADER, "")
        if expected:
            found = content_md5(md5_of(self._file, 0, size))
        elif part_size.isdecimal():
            expected = self._headers.get("opc-multipart-md5")
            step = int(part_size)
            found = multipart_md5(md5_of(self._file, at, at + step) for at in range(0, size, step))
        else:
            # Uploaded in parts by another program: nobody knows where they end.
            return
        if found != expected:
            raise MlflowException(
                f"The object {self._name} is damaged, or was on its way: its MD5 is {expected}, "
                f"and that of what arrived is {found}. Nothing was kept; download it again, and "
                "if that fails too, upload it again.",
                IO_ERROR,
            )


class _Stretch:
    """What is still to be read: from ``start`` up to ``stop``, or to the end, wherever that is."""

    def __init__(self, start: int, stop: int | None) -> None:
        self.start = start
        self.stop = stop
