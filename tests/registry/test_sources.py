"""What a version is made of: whatever it is called, the service is told where the files lie."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

NAME = "catalog.schema.model"


class Doubling(mlflow.pyfunc.PythonModel):
    """A model that needs nothing but MLflow."""

    def predict(self, context: object, model_input: list[int]) -> list[int]:
        return [2 * number for number in model_input]


@pytest.fixture
def run_id(client: MlflowClient, tmp_path: Path) -> str:
    """A run with a model in the folder ``model`` of its artifacts, which are files here."""
    mlflow.pyfunc.save_model(tmp_path / "saved", python_model=Doubling(), pip_requirements=[])
    experiment_id = client.create_experiment("local", (tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment_id) as run:
        mlflow.log_artifacts(str(tmp_path / "saved"), "model")
    return str(run.info.run_id)


@pytest.fixture
def location(run_id: str) -> str:
    return f"{mlflow.get_run(run_id).info.artifact_uri}/model"


def last_operation(emulator: AidpEmulator) -> str:
    return emulator.audit()[-1].operation


def test_a_model_is_registered_from_a_run_and_loaded(
    emulator: AidpEmulator, client: MlflowClient, run_id: str, location: str
) -> None:
    created = mlflow.register_model(f"runs:/{run_id}/model", NAME, tags={"k": "v"})
    assert last_operation(emulator) == "create_workspace_model_version"
    assert (created.name, created.version, created.run_id) == (NAME, "1", run_id)
    assert (created.source, created.tags) == (location, {"k": "v"})
    client.set_registered_model_alias(NAME, "champion", 1)
    for way in ("1", "latest", "None"):
        assert mlflow.pyfunc.load_model(f"models:/{NAME}/{way}").predict([1, 2]) == [2, 4]
    assert mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict([3]) == [6]
    assert mlflow.models.get_model_info(f"models:/{NAME}@champion").flavors["python_function"]


def test_a_version_without_a_run_belongs_to_the_platform(
    emulator: AidpEmulator, client: MlflowClient
) -> None:
    client.create_registered_model(NAME)
    client.create_model_version(NAME, "s3://bucket/model")
    assert last_operation(emulator) == "create_model_version"


def test_runs_of_another_place_are_not_looked_for_in_this_workspace(
    emulator: AidpEmulator, uri: str
) -> None:
    for elsewhere in (emulator.tracking_uri, "https://mlflow.example.com"):
        store = OciDataPlatformRegistryStore(uri, elsewhere)
        store.create_registered_model(name := f"model {len(elsewhere)}")
        version = store.create_model_version(name, "s3://bucket/model", run_id="0" * 32)
        assert version.run_id == "0" * 32
        assert last_operation(emulator) == "create_model_version"


def test_a_source_within_a_run_is_looked_up(
    client: MlflowClient, run_id: str, location: str
) -> None:
    client.create_registered_model(NAME)
    source = f"runs:/{run_id}/model"
    created = client.create_model_version(NAME, source)
    assert (created.source, created.tags) == (source, {})
    assert client.get_model_version(NAME, 1).source == source
    assert client.get_model_version_download_uri(NAME, 1) == location
    assert mlflow.pyfunc.load_model(f"models:/{NAME}/1").predict([1]) == [2]


@pytest.mark.parametrize("way", ["catalog.schema.model/1", "catalog.schema.model@champion"])
def test_a_copy_outlives_what_it_was_copied_from(
    client: MlflowClient, run_id: str, location: str, way: str
) -> None:
    mlflow.register_model(f"runs:/{run_id}/model", NAME, tags={"k": "v"})
    client.update_model_version(NAME, 1, "described")
    client.set_registered_model_alias(NAME, "champion", 1)
    copied = client.copy_model_version(f"models:/{way}", "production.models.copy")
    assert (copied.name, copied.version) == ("production.models.copy", "1")
    assert copied.source == f"models:/{NAME}/1"
    assert (copied.run_id, copied.tags, copied.description) == (run_id, {"k": "v"}, "described")
    assert copied.aliases == []
    client.delete_registered_model(NAME)
    assert client.get_model_version_download_uri("production.models.copy", 1) == location
    assert mlflow.pyfunc.load_model("models:/production.models.copy/1").predict([1]) == [2]


def test_a_version_may_be_made_of_another_by_any_of_its_names(client: MlflowClient) -> None:
    client.create_registered_model(NAME)
    client.create_model_version(NAME, "s3://bucket/model")
    client.set_registered_model_alias(NAME, "champion", 1)
    for way in (f"{NAME}/1", f"{NAME}@champion", f"{NAME}/latest"):
        created = client.create_model_version(NAME, f"models:/{way}")
        assert created.source == f"models:/{way}"
        found = client.get_model_version_download_uri(NAME, created.version)
        assert found == "s3://bucket/model"


@pytest.mark.parametrize(
    "source", ["models:/other/1", "models:/other@champion", f"runs:/{'0' * 32}/model"]
)
def test_a_source_that_is_not_there_is_refused(client: MlflowClient, source: str) -> None:
    client.create_registered_model(NAME)
    with pytest.raises(MlflowException) as caught:
        client.create_model_version(NAME, source)
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert client.search_model_versions(f"name = '{NAME}'") == []


@pytest.fixture
def logged_model(client: MlflowClient, run_id: str) -> LoggedModel:
    """A logged model of the run."""
    experiment_id = client.get_run(run_id).info.experiment_id
    return client.create_logged_model(experiment_id, "logged", source_run_id=run_id)


def test_a_logged_model_is_registered_with_its_run(
    emulator: AidpEmulator, client: MlflowClient, run_id: str, logged_model: LoggedModel
) -> None:
    created = mlflow.register_model(uri := f"models:/{logged_model.model_id}", NAME)
    assert "create_workspace_model_version" in [record.operation for record in emulator.audit()]
    assert (created.source, created.run_id) == (uri, run_id)
    found = client.get_model_version_download_uri(NAME, 1)
    assert found == logged_model.artifact_location
    assert found.startswith("file:")


def test_the_run_of_a_model_id_is_looked_up_for_any_source(
    client: MlflowClient, run_id: str, logged_model: LoggedModel
) -> None:
    client.create_registered_model(NAME)
    model_id = logged_model.model_id
    created = client.create_model_version(NAME, "s3://bucket/elsewhere", model_id=model_id)
    assert (created.source, created.run_id) == ("s3://bucket/elsewhere", run_id)
    given = client.create_model_version(NAME, f"models:/{model_id}", "2" * 32)
    assert given.run_id == "2" * 32
