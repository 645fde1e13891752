"""What older readers see of a model: the entry that ``runs/log-model`` makes on its run.

MLflow 2 logged every model with that call, and the service's pages and MLflow 2 clients list a
run's models by it. MLflow 3 no longer makes it, so it is made here once the model's files are
there: the entry quotes the flavors, which only the file ``MLmodel`` knows.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from typing import Any

from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from mlflow.utils.yaml_utils import read_yaml

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.data_platform import DataPlatformClient

_logger = logging.getLogger(__name__)

_FILE = "MLmodel"


def log_on_run(client: DataPlatformClient, model: LoggedModel, tracking_uri: str) -> None:
    """Note on a model's source run that it made the model.

    It is a courtesy to other readers: where it fails, the model is none the worse. It does when the
    model has no files, and when the run has so many models that their list outgrows its place.

    Args:
        client: The way to the service.
        model: A model with a source run, whose files are complete.
        tracking_uri: The store's URI.
    """
    try:
        entry = _entry(model, tracking_uri)
        fields = {"run_id": model.source_run_id, "model_json": json.dumps(entry)}
        client.call("log_experiment_run_model", fields, wire.nothing)
    except (MlflowException, OSError) as error:
        _logger.info("Model %s is not in its run's list of models: %s", model.model_id, error)


def _entry(model: LoggedModel, tracking_uri: str) -> dict[str, Any]:
    # By way of MLflow's client, which has used this repository for the upload and kept it.
    repository = TrackingServiceClient(tracking_uri)._get_artifact_repo(
        model.model_id, resource="logged_model"
    )
    with tempfile.TemporaryDirectory() as folder:
        # Not ``download_artifacts``, which shows a progress bar.
        repository._download_file(_FILE, os.path.join(folder, _FILE))
        described = read_yaml(folder, _FILE)
    flavors = described.get("flavors") or {}
    return {
        "run_id": model.source_run_id,
        "artifact_path": model.artifact_location.rpartition("/")[2],
        "utc_time_created": str(described.get("utc_time_created")),
        "model_uuid": model.model_id,
        # As MLflow 2 does: the configuration of a flavor may be long, and nobody lists it.
        "flavors": {
            name: {key: value for key, value in flavor.items() if key != "config"}
            for name, flavor in flavors.items()
        },
    }
