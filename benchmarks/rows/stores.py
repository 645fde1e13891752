"""The stores and clients that rows are done with, each as its users make it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.row import Stage

PLATFORM, WORKSPACE, RUN = "ocid1.aidataplatform.oc1.iad.benchmark", "benchmark", "a" * 32
METRIC = ("loss", 0.5, 1_700_000_000_000, 3)
_ARN = "arn:aws:sagemaker:us-east-1:000000000000:mlflow-tracking-server/benchmark"


def our_uri(stage: Stage, endpoint: str) -> str:
    """The tracking URI of ours, signed with an API key."""
    return (
        f"oci-dp://{PLATFORM}/{WORKSPACE}"
        f"?endpoint={quote(endpoint)}&config_file={quote(stage.config_file)}"
    )


def our_store(stage: Stage, endpoint: str) -> Any:
    """Our store."""
    from mlflow_oci_store.tracking.store import OciDataPlatformStore

    return OciDataPlatformStore(our_uri(stage, endpoint))


def on_disk(name: str) -> str:
    """Make a folder on a disk, where the stage's own may be in memory; it goes with the process."""
    folder = tempfile.mkdtemp(prefix=f"{name}-", dir=Path(__file__).parents[2] / ".bench")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def our_outbox_store(stage: Stage, endpoint: str, name: str) -> Any:
    """Our store, with an outbox of its own on disk."""
    return our_store_at(stage, endpoint, on_disk(f"outbox-{name}"))


def our_store_at(stage: Stage, endpoint: str, folder: str) -> Any:
    """Our store, with its outbox in a folder."""
    from mlflow_oci_store.tracking.store import OciDataPlatformStore

    return OciDataPlatformStore(
        f"{our_uri(stage, endpoint)}&outbox_dir={quote(folder)}&outbox_exit_seconds=0"
    )


def rest_store(endpoint: str) -> Any:
    """MLflow's store for its own servers, which signs nothing."""
    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.utils.rest_utils import MlflowHostCreds

    return RestStore(lambda: MlflowHostCreds(endpoint))


def sagemaker_store(endpoint: str) -> Any:
    """SageMaker's store; it has an environment variable for another address than Amazon's."""
    import mlflow
    from sagemaker_mlflow.mlflow_sagemaker_store import MlflowSageMakerStore

    os.environ["SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT"] = endpoint
    mlflow.set_tracking_uri(_ARN)
    return MlflowSageMakerStore(_ARN, None)


def oracle_client(stage: Stage, endpoint: str) -> Any:
    """Oracle's own SDK for the service."""
    import oci
    from aidp_python_client.aidataplatform_dp import MLOpsClient

    config = oci.config.from_file(stage.config_file)
    return MLOpsClient(config, service_endpoint=f"{endpoint}/20260430")
