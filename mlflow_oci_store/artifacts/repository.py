"""MLflow's artifact repository on OCI Object Storage.

MLflow makes one for every place that artifacts are at, through the entry point
``mlflow.artifact_repository``. Where that is, is the service's choice, or that of
``mlflow.create_experiment(artifact_location="oci://...")``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.tracking import get_tracking_uri
from mlflow.utils.file_utils import ArtifactProgressBar

from mlflow_oci_store.artifacts.download import download
from mlflow_oci_store.artifacts.location import Location, fault_of
from mlflow_oci_store.artifacts.object_storage import ObjectStorage, each, object_storage
from mlflow_oci_store.artifacts.progress import progress
from mlflow_oci_store.artifacts.small_files import SMALL_BYTES, upload_small_files
from mlflow_oci_store.artifacts.upload import in_parts_from, size_of, upload
from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.errors import OciDataPlatformException
from mlflow_oci_store.settings import AccessSettings, Settings

Json = dict[str, Any]

# What OCI answers when it does not let the caller see a bucket.
_NOT_ALLOWED = (403, 404)

_logger = logging.getLogger(__name__)


class OciArtifactRepository(ArtifactRepository):
    """The artifacts at ``oci://<bucket>@<namespace>/<prefix>``.

    Nothing is read or sent before the first call. A repository may be shared between threads and
    used on both sides of a fork.

    Args:
        artifact_uri: The place.
        tracking_uri: The tracking URI that it was found through. If that, or else the current one,
            is of the scheme ``oci-dp``, its settings hold for artifacts too; otherwise the
            environment and the OCI profile say who calls.
        registry_uri: As ``tracking_uri``, for a model registry.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when a URI or a setting cannot be used.
    """

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        self._place = Location.parse(artifact_uri)
        candidates = (str(uri) for uri in (tracking_uri, registry_uri, get_tracking_uri()) if uri)
        platform = next((uri for uri in candidates if uri.startswith("oci-dp:")), None)
        self._settings: AccessSettings = (
            Settings.from_uri(platform) if platform else AccessSettings.from_environment()
        )
        super().__init__(artifact_uri)
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri

    @property
    def thread_pool(self) -> ThreadPoolExecutor:
        """The threads that ``download_artifacts`` of the base class uses."""
        return self._storage.files

    @thread_pool.setter
    def thread_pool(self, pool: ThreadPoolExecutor) -> None:
        """Leave out the base class's own, whose threads a forked child would wait for."""

    @property
    def _storage(self) -> ObjectStorage:
        return object_storage(self._settings)

    def log_artifact(self, local_file: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file.

        Args:
            local_file: The file.
            artifact_path: The folder to put it in, below this place.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE for a path that could mean another place;
                otherwise what went wrong with a request.
        """
        file = Path(local_file)
        name = self._place.name_of(_joined(artifact_path, file.name))
        upload(self._storage, self._place, name, file)

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Upload all files of a folder, several at the same time.

        Args:
            local_dir: The folder; links to folders are not followed.
            artifact_path: The folder to put its content in, below this place.

        Raises:
            MlflowException: as ``log_artifact`` does, for the first file that fails. Every path is
                checked before anything is sent.
        """
        small: list[tuple[str, str]] = []
        large: list[tuple[str, str]] = []
        large_from = min(SMALL_BYTES + 1, in_parts_from())
        for path, file in _files_in(Path(local_dir)):
            uploads = small if size_of(file) < large_from else large
            uploads.append((self._place.name_of(_joined(artifact_path, path)), file))
        storage = self._storage
        with ArtifactProgressBar.files("Uploading artifacts", len(small) + len(large)) as bar:
            move = progress(bar)
            upload_small_files(storage, self._place, small, move)
            each(storage.files, lambda it: upload(storage, self._place, *it), large, move)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """List the files and folders directly in a folder.

        When Object Storage does not let the caller see the bucket, the service is asked.

        Args:
            path: The folder, below this place; None for this place itself.

        Returns:
            They, ordered by path; nothing for a file and for what is not there.
        """
        folder = self._place.folder_of(path)
        try:
            return sorted(self._in_folder(folder), key=lambda info: str(info.path))
        except OciDataPlatformException as error:
            if error.status not in _NOT_ALLOWED:
                raise
            try:
                listed = self._listed_by_service(path)
            except OciDataPlatformException as refusal:
                raise error from refusal
            if listed is None:
                raise
            return listed

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file, or a folder with all that is in it.

        Args:
            artifact_path: The file or folder, below this place; None for all. What is not there is
                deleted already.
        """
        folder = self._place.folder_of(artifact_path)
        names = [item.name for page in self._pages(prefix=folder) for item in page.objects]
        if artifact_path:
            names.append(folder.removesuffix("/"))
        each(self._storage.files, self._delete, names, lambda _: None)

    def _download_file(self, remote_file_path: str, local_path: str | Path) -> None:
        name = self._place.name_of(str(remote_file_path))
        download(self._storage, self._place, name, Path(local_path))

    def _delete(self, name: str) -> None:
        try:
            self._storage.call("delete_object", self._place, lambda send: send(name))
        except OciDataPlatformException as error:
            if error.oci_code != "ObjectNotFound":
                raise

    def _in_folder(self, folder: str) -> Iterator[FileInfo]:
        root = len(self._place.prefix)
        for page in self._pages(prefix=folder, delimiter="/", fields="name,size"):
            for prefix in page.prefixes or ():
                path = prefix[root:-1]
                if _is_usable(path):
                    yield FileInfo(path, True, None)
            for item in page.objects:
                path = item.name[root:]
                # Consoles mark an empty folder with an object that has the folder's name.
                if item.name != folder and _is_usable(path):
                    yield FileInfo(path, False, item.size)

    def _pages(self, **options: str) -> Iterator[Any]:
        start: str | None = options["prefix"]
        while start is not None:
            page = self._page({**options, "start": start})
            yield page
            start = page.next_start_with

    def _page(self, options: Mapping[str, str]) -> Any:
        return self._storage.call("list_objects", self._place, lambda send: send(**options).data)

    def _listed_by_service(self, path: str | None) -> list[FileInfo] | None:
        """Ask the service for a folder of a run's artifacts.

        Returns:
            What it says; None when it is no AI Data Platform or this place is in no run's folder.
        """
        settings = self._settings
        run_id, below = _run_in(self._place.prefix)
        if not isinstance(settings, Settings) or run_id is None:
            return None
        client = DataPlatformClient(settings)
        in_run = _joined(below, path.removesuffix("/") if path else "")
        fields: Json = {"run_id": run_id, "path": in_run or None}
        infos: list[FileInfo] = []
        while True:
            answer = client.call("list_artifacts", fields, dict)
            for file in answer.get("files") or ():
                found = file["path"].removeprefix(f"{below}/") if below else file["path"]
                if _is_usable(found):
                    infos.append(FileInfo(found, bool(file["is_dir"]), file.get("file_size")))
            fields = {**fields, "page_token": answer.get("next_page_token")}
            if not fields["page_token"]:
                return sorted(infos, key=lambda info: str(info.path))


def _files_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the files in a folder, each by its path below the folder in POSIX form, and its path."""
    if not folder.is_dir():
        raise MlflowException.invalid_parameter_value(f"{folder} is not a folder.")
    for root, _, names in os.walk(folder):
        below = Path(root).relative_to(folder).as_posix()
        for name in names:
            yield _joined("" if below == "." else below, name), os.path.join(root, name)


def _joined(folder: str | None, name: str) -> str:
    # Not posixpath.join, for which an absolute name would replace the folder.
    return "/".join(part for part in ((folder or "").removesuffix("/"), name) if part)


def _is_usable(path: str) -> bool:
    fault = fault_of(path)
    if fault is not None:
        _logger.warning("The object %r is left out: as an artifact's path, %s.", path, fault)
    return fault is None


def _run_in(prefix: str) -> tuple[str | None, str]:
    """Find the run whose artifacts are at a place, and what the place is below them.

    MLflow's stores end a run's artifact root with ``<run_id>/artifacts``.
    """
    segments = PurePosixPath(prefix).parts
    if "artifacts" not in segments[1:]:
        return None, ""
    index = segments.index("artifacts", 1)
    return segments[index - 1], "/".join(segments[index + 1 :])
