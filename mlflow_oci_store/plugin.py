"""What MLflow's entry points name.

MLflow loads these at ``import mlflow``, in every program on a machine that has this package
installed. So nothing is imported here before somebody uses an ``oci-dp`` URI: not for speed alone,
but because a program may import this package first, whose modules import MLflow, which then loads
these entry points while those modules are half made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from mlflow_oci_store.artifacts.repository import OciArtifactRepository
    from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore
    from mlflow_oci_store.tracking.store import OciDataPlatformStore


def tracking_store(
    store_uri: str | None = None, artifact_uri: str | None = None
) -> OciDataPlatformStore:
    """Make the tracking store of a URI (entry point ``mlflow.tracking_store``).

    Args:
        store_uri: The tracking URI.
        artifact_uri: What MLflow passes for servers that choose artifact locations themselves.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when the URI or a setting cannot be used.
    """
    from mlflow.store.artifact.artifact_repository_registry import (
        get_registered_artifact_repositories,
    )

    from mlflow_oci_store.tracking.store import OciDataPlatformStore

    # Of two packages that claim a scheme MLflow takes the one that Python happens to find last, and
    # oci-mlflow, which OCI's notebooks have installed, claims this one too.
    get_registered_artifact_repositories()["oci"] = artifact_repository
    return OciDataPlatformStore(store_uri, artifact_uri)


def model_registry_store(
    store_uri: str | None = None, tracking_uri: str | None = None
) -> OciDataPlatformRegistryStore:
    """Make the model registry of a URI (entry point ``mlflow.model_registry_store``).

    Args:
        store_uri: The registry URI, which MLflow takes from the tracking URI unless told otherwise.
        tracking_uri: Where the runs and logged models are that versions come from.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when the URI or a setting cannot be used.
    """
    from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

    return OciDataPlatformRegistryStore(store_uri, tracking_uri)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> OciArtifactRepository:
    """Make the artifact repository of a URI (entry point ``mlflow.artifact_repository``).

    Args:
        artifact_uri: ``oci://<bucket>@<namespace>/<prefix>``.
        tracking_uri: The tracking URI it was found through; MLflow 3.1 passes none.
        registry_uri: The same for a model registry.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when a URI or a setting cannot be used.
    """
    from mlflow_oci_store.artifacts.repository import OciArtifactRepository

    return OciArtifactRepository(artifact_uri, tracking_uri, registry_uri)


def run_artifact_repository(artifact_uri: str, **where: Any) -> ArtifactRepository:
    """Make the artifact repository of a ``runs:/`` URI (``mlflow.artifact_repository``).

    It is MLflow's own for the runs of any other server.

    Args:
        artifact_uri: ``runs:/<run_id>[/<path>]``.
        where: ``tracking_uri`` and ``registry_uri``, as far as the installed MLflow passes them.
    """
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
    from mlflow.tracking import get_tracking_uri

    if not str(where.get("tracking_uri") or get_tracking_uri()).startswith("oci-dp:"):
        return RunsArtifactRepository(artifact_uri, **where)
    from mlflow_oci_store.tracking.run_artifacts import RunArtifactRepository

    return RunArtifactRepository(artifact_uri, **where)


class DefaultExperimentProvider:
    """Names the experiment of scripts that name none (``mlflow.default_experiment_provider``).

    MLflow asks every provider for any tracking URI; it takes any class with these two methods.
    """

    def in_context(self) -> bool:
        """Whether the current tracking URI is this plugin's."""
        from mlflow.tracking import get_tracking_uri

        return str(get_tracking_uri()).startswith("oci-dp:")

    def get_experiment_id(self) -> str:
        """The id of the default experiment at the current tracking URI.

        Raises:
            MlflowException: The service cannot be reached or refuses; MLflow logs it.
        """
        from mlflow_oci_store.tracking.default_experiment import default_experiment_id

        return default_experiment_id()
