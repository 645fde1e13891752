"""Changes whose answer is lost: applied once, and found when the service will not repeat it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from mlflow_oci_store.emulator import AidpEmulator, CloseAfter, Fail, Fault
from mlflow_oci_store.errors import RetryTokenInvalidated
from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

Lose = Callable[[str], None]


@pytest.fixture
def lose(emulator: AidpEmulator, uri: str) -> Lose:
    """Lose the next answer to an operation, and have the service refuse to repeat it."""

    def order(operation: str) -> None:
        emulator.faults.add(Fault(CloseAfter(), operation, times=1))
        emulator.faults.add(Fault(Fail(409, "InvalidatedRetryToken"), operation, nth=2, times=1))

    return order


@pytest.fixture
def model(client: MlflowClient) -> str:
    client.create_registered_model("model", tags={"k": "v"})
    client.create_model_version("model", "s3://bucket/1")
    return "model"


def test_an_answer_that_is_repeated_is_taken(emulator: AidpEmulator, client: MlflowClient) -> None:
    emulator.faults.add(Fault(CloseAfter(), nth=2))
    client.create_registered_model("model")
    numbers = [client.create_model_version("model", "s3://bucket/1").version for _ in range(3)]
    client.set_registered_model_alias("model", "champion", 2)
    assert numbers == ["1", "2", "3"]
    assert client.get_registered_model("model").aliases == {"champion": "2"}


def test_a_registered_model_is_found_by_its_name(client: MlflowClient, lose: Lose) -> None:
    lose("create_registered_model")
    created = client.create_registered_model("model", tags={"k": "v"}, description="d")
    assert (created.name, created.tags, created.description) == ("model", {"k": "v"}, "d")


def test_changes_of_a_registered_model_are_read_back(
    store: OciDataPlatformRegistryStore, lose: Lose, model: str
) -> None:
    lose("update_registered_model")
    assert store.update_registered_model(model, "new").description == "new"
    lose("rename_registered_model")
    assert store.rename_registered_model(model, "renamed").name == "renamed"


@pytest.mark.filterwarnings("ignore:.*since 2.9.0:FutureWarning")
def test_changes_of_a_version_are_read_back(client: MlflowClient, lose: Lose, model: str) -> None:
    client.set_registered_model_alias(model, "champion", 1)
    lose("update_model_version")
    assert client.update_model_version(model, 1, "new").description == "new"
    lose("transition_model_version_stage")
    moved = client.transition_model_version_stage(model, 1, "Staging")
    assert (moved.current_stage, moved.aliases) == ("Staging", ["champion"])


@pytest.mark.parametrize(
    ("operation", "run_id"),
    [("create_model_version", None), ("create_workspace_model_version", "0" * 32)],
)
def test_a_version_is_found_by_its_number_and_source(
    client: MlflowClient, lose: Lose, model: str, operation: str, run_id: str | None
) -> None:
    lose(operation)
    created = client.create_model_version(model, "s3://bucket/1", run_id)
    assert (created.version, created.run_id) == ("2", run_id)
    assert len(client.search_model_versions(f"name = '{model}'")) == 2


def test_a_version_that_cannot_be_told_from_others_is_left_to_the_user(
    client: MlflowClient, lose: Lose, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else registers another version before the lost one is looked up."""
    look_up = OciDataPlatformRegistryStore._created_version

    def meanwhile(store: OciDataPlatformRegistryStore, *args: Any) -> Any:
        store.create_model_version(model, "s3://bucket/other")
        return look_up(store, *args)

    monkeypatch.setattr(OciDataPlatformRegistryStore, "_created_version", meanwhile)
    lose("create_model_version")
    with pytest.raises(RetryTokenInvalidated, match="with the source 's3://bucket/mine'"):
        client.create_model_version(model, "s3://bucket/mine")
    assert client.get_model_version(model, 2).source == "s3://bucket/mine"
