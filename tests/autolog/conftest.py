from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from mlflow_oci_store.emulator import AidpEmulator

from .programs import load_models
from .record import models_of, runs_of
from .training import Training

MODES = ("documented", "native")


@pytest.fixture(scope="session")
def emulators() -> Iterator[dict[str, AidpEmulator]]:
    """The service with its documented endpoints only, and with MLflow's native routes."""
    with AidpEmulator() as documented, AidpEmulator(native_logged_models=True) as native:
        yield {"documented": documented, "native": native}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture
def tracking_uri(emulators: dict[str, AidpEmulator], mode: str) -> str:
    """An empty workspace."""
    return new_workspace(emulators[mode])


@pytest.fixture(scope="session")
def train(
    emulators: dict[str, AidpEmulator], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Training]:
    """Runs a script, once: in a mode of the service, or at ``mlflow``, which is its SQL store."""
    # MLflow takes seconds to make its tables.
    empty_database = tmp_path_factory.mktemp("mlflow") / "empty.db"
    SqlAlchemyStore(f"sqlite:///{empty_database}", "mlruns").engine.dispose()

    def empty_store(server: str, folder: Path) -> str:
        if server == "mlflow":
            return f"sqlite:///{shutil.copy(empty_database, folder / 'mlflow.db')}"
        return new_workspace(emulators[server])

    @cache
    def trained(script: str, server: str) -> Training:
        folder = tmp_path_factory.mktemp(f"{script}-{server}")
        return Training.by(script, empty_store(server, folder), folder)

    return trained


@pytest.fixture(scope="session")
def load(
    train: Callable[[str, str], Training], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], dict[str, Any]]:
    """Gives what the models of a script predict in a new process, by each URI they have in a mode.

    The process loads those of both modes: it is the imports of frameworks that take the time.
    """

    @cache
    def loaded(script: str) -> dict[str, dict[str, Any]]:
        servers = [train(script, mode).tracking_uri for mode in MODES]
        uris = {server: register(script, server) for server in servers}
        predictions = load_models(script, tmp_path_factory.mktemp(f"{script}-load"), uris)
        assert {server: set(found) for server, found in predictions.items()} == {
            server: set(wanted) for server, wanted in uris.items()
        }
        return predictions

    return lambda script, mode: loaded(script)[train(script, mode).tracking_uri]


def register(script: str, server: str) -> list[str]:
    """Register a model of a script and give it an alias.

    Returns:
        All that now loads models at the server.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server)
        client = MlflowClient()
        uris = list(_uris_without_registry(client))
        version = mlflow.register_model(uris[0], script)
        client.set_registered_model_alias(script, "champion", version.version)
    return [*uris, f"models:/{script}@champion"]


def _uris_without_registry(client: MlflowClient) -> Iterator[str]:
    models = models_of(client)
    for model in models:
        yield f"models:/{model.model_id}"
        yield f"runs:/{model.source_run_id}/{model.name}"
    if not models:
        # Spark's flavor logs as MLflow 2 did: the model is but a folder of its run.
        (run,) = runs_of(client)
        yield f"runs:/{run.info.run_id}/model"


def new_workspace(emulator: AidpEmulator) -> str:
    return emulator.uri_of(*emulator.create_workspace())
