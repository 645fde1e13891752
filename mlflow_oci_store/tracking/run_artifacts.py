"""Artifacts of ``runs:/`` URIs, where models are kept below the artifact root of their run.

MLflow shows the files of a run and, in the same folders, those of the models that the run made. To
find these it searches the models of the whole experiment, and it takes for granted that they lie
somewhere else. Here a model named ``model`` lies in the run's folder ``model``, and MLflow would
list and download every file twice. And if the run made several models of the name, the first one
has the folder, whose files would be mixed with those of the newest one, which MLflow means.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.tracking._tracking_service.utils import _get_store
from mlflow.utils.file_utils import create_tmp_dir
from mlflow.utils.uri import append_to_uri_path

if TYPE_CHECKING:
    from mlflow_oci_store.tracking.store import OciDataPlatformStore


class _Owner(Enum):
    """Whose files are meant by a folder at the top of a run."""

    RUN = "the run's, and those of a model are among them"
    MODEL = "the newest model's, while an older one has the folder"
    BOTH = "the run's and the newest model's, which is elsewhere"


class RunArtifactRepository(RunsArtifactRepository):
    """The artifacts of a run of ours: ``runs:/<run_id>[/<path>]``.

    Args:
        artifact_uri: The URI.
        tracking_uri: Where the run is; None means the current tracking URI.
        more: What newer releases of MLflow pass as well.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, **more: Any) -> None:
        # MLflow 3.1 passes no tracking URI and takes none.
        if tracking_uri is not None:
            more["tracking_uri"] = tracking_uri
        super().__init__(artifact_uri, **more)
        self._store = cast("OciDataPlatformStore", _get_store(tracking_uri))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """List the files and folders in a folder of the run, or of the model of its name."""
        owner = self._owner(path)
        listed: list[FileInfo] = []
        if owner is not _Owner.MODEL:
            listed += self._list_run_artifacts(path)
        if owner is not _Owner.RUN:
            listed += self._list_model_artifacts(path)
        return listed

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Download a file or folder of the run, or of the model of its name."""
        owner = self._owner(artifact_path)
        folder = dst_path or create_tmp_dir()
        if owner is _Owner.RUN:
            downloaded = self.repo.download_artifacts(artifact_path, folder)
        elif owner is _Owner.MODEL:
            downloaded = self._download_model_artifacts(artifact_path, folder)
        else:
            downloaded = super().download_artifacts(artifact_path, folder)
        return str(downloaded)

    def _get_logged_model_artifact_repo(self, run_id: str, name: str) -> ArtifactRepository | None:
        """Find the newest model of a name, without a search of the whole experiment."""
        models = self._store.models_of_run(self._store.get_run(run_id).info, name)
        return get_artifact_repository(f"models:/{models[-1].model_id}") if models else None

    def _owner(self, path: str | None) -> _Owner:
        run_id, in_run = self.parse_runs_uri(f"{self.artifact_uri}/{path or ''}")
        if not in_run:
            return _Owner.RUN
        name = in_run.partition("/")[0]
        run = self._store.get_run(run_id).info
        folder = append_to_uri_path(run.artifact_uri, name)
        places = [model.artifact_location for model in self._store.models_of_run(run, name)]
        if not places or places[-1] == folder:
            return _Owner.RUN
        return _Owner.MODEL if folder in places else _Owner.BOTH
