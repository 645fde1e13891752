"""Registered models and versions through MLflow's client, under three-part names."""

from __future__ import annotations

import pickle

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

# Stages are deprecated, and work.
pytestmark = pytest.mark.filterwarnings("ignore:.*since 2.9.0:FutureWarning")

NAME = "catalog.schema.model"
AWKWARD = "it's a model & größer, 100 %"


def code_of(caught: pytest.ExceptionInfo[MlflowException]) -> str:
    return str(caught.value.error_code)


@pytest.fixture
def version(client: MlflowClient) -> ModelVersion:
    client.create_registered_model(NAME, tags={"team": "a"}, description="first")
    return client.create_model_version(
        NAME, "s3://bucket/model", description="of old", tags={"k": 1}
    )


def test_the_registry_is_where_the_tracking_uri_points(uri: str) -> None:
    assert mlflow.get_registry_uri() == uri
    store = MlflowClient()._get_registry_client().store
    assert isinstance(store, OciDataPlatformRegistryStore)


def test_a_registry_uri_of_its_own_wins(emulator: AidpEmulator, place: tuple[str, str]) -> None:
    client = MlflowClient(emulator.tracking_uri, registry_uri=emulator.uri_of(*place))
    client.create_registered_model(NAME)
    assert [model.name for model in client.search_registered_models()] == [NAME]


def test_a_registered_model_is_read_back(client: MlflowClient, version: ModelVersion) -> None:
    model = client.get_registered_model(NAME)
    assert (model.name, model.description, model.tags) == (NAME, "first", {"team": "a"})
    assert model.creation_timestamp <= model.last_updated_timestamp
    assert [each.version for each in model.latest_versions] == [version.version] == ["1"]
    with pytest.raises(MlflowException, match="409") as caught:
        client.create_registered_model(NAME)
    assert code_of(caught) == "RESOURCE_ALREADY_EXISTS"


def test_a_version_is_read_back(client: MlflowClient, version: ModelVersion) -> None:
    found = client.get_model_version(NAME, 1)
    assert (found.name, found.version, found.source) == (NAME, "1", "s3://bucket/model")
    assert (found.description, found.tags) == ("of old", {"k": "1"})
    assert (found.status, found.current_stage, found.aliases) == ("READY", "None", [])
    assert client.get_model_version_download_uri(NAME, "1") == "s3://bucket/model"


@pytest.mark.parametrize("name", [NAME, AWKWARD])
def test_everything_takes_any_name(client: MlflowClient, name: str) -> None:
    client.create_registered_model("before")
    client.create_model_version("before", "s3://bucket/model")
    client.rename_registered_model("before", name)
    assert client.get_model_version(name, 1).name == name
    assert client.update_registered_model(name, "new").description == "new"
    client.set_registered_model_tag(name, "k", "v")
    client.set_model_version_tag(name, 1, "k", "v")
    client.set_registered_model_alias(name, "champion", 1)
    assert client.get_model_version_by_alias(name, "champion").tags == {"k": "v"}
    [found] = client.search_registered_models(f'name = "{name}"')
    assert (found.name, found.tags, found.aliases) == (name, {"k": "v"}, {"champion": "1"})
    assert (
        client.transition_model_version_stage(name, 1, "production").current_stage == "Production"
    )
    [latest] = client.get_latest_versions(name, ["Production"])
    assert (latest.version, latest.aliases) == ("1", ["champion"])
    assert client.update_model_version(name, 1, "new").description == "new"
    client.delete_registered_model_tag(name, "k")
    client.delete_model_version_tag(name, 1, "k")
    client.delete_model_version(name, 1)
    assert client.get_registered_model(name).latest_versions == []
    client.delete_registered_model(name)
    with pytest.raises(MlflowException, match=r"404 NotAuthorizedOrNotFound") as caught:
        client.get_registered_model(name)
    assert code_of(caught) == "RESOURCE_DOES_NOT_EXIST"


def test_searches_come_in_pages(client: MlflowClient) -> None:
    for number in range(5):
        client.create_registered_model(f"model-{number}", tags={"even": str(number % 2 == 0)})
        client.create_model_version(f"model-{number}", f"s3://bucket/{number}")
    first = client.search_registered_models("tags.even = 'True'", 2, ["name DESC"])
    second = client.search_registered_models(
        "tags.even = 'True'", 2, ["name DESC"], page_token=first.token
    )
    assert [model.name for model in [*first, *second]] == ["model-4", "model-2", "model-0"]
    assert not second.token
    versions = client.search_model_versions("name LIKE 'model-%'", 3, ["name ASC"])
    assert [version.name for version in versions] == ["model-0", "model-1", "model-2"]
    assert versions.token
    assert [found.name for found in mlflow.search_registered_models(order_by=["name"])] == [
        f"model-{number}" for number in range(5)
    ]


def test_stages_archive_what_is_there(client: MlflowClient, version: ModelVersion) -> None:
    client.create_model_version(NAME, "s3://bucket/other")
    client.transition_model_version_stage(NAME, 1, "Staging")
    client.transition_model_version_stage(NAME, 2, "staging", archive_existing_versions=True)
    stages = {v.version: v.current_stage for v in client.get_latest_versions(NAME)}
    assert stages == {"1": "Archived", "2": "Staging"}
    with pytest.raises(MlflowException, match="Staging and Production only") as caught:
        client.transition_model_version_stage(NAME, 1, "None", archive_existing_versions=True)
    assert code_of(caught) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("name", ["a/b", "a:b", "", "..", None])
def test_names_that_cannot_be_are_refused_before_anything_is_sent(
    emulator: AidpEmulator, store: OciDataPlatformRegistryStore, name: str
) -> None:
    before = len(emulator.audit())
    for refused in (
        lambda: store.create_registered_model(name),
        lambda: store.get_registered_model(name),
        lambda: store.rename_registered_model(NAME, name),
        lambda: store.create_model_version(name, "s3://bucket/model"),
        lambda: store.get_model_version(name, 1),
        lambda: store.delete_registered_model(name),
    ):
        with pytest.raises(MlflowException) as caught:
            refused()
        assert code_of(caught) == "INVALID_PARAMETER_VALUE"
    assert len(emulator.audit()) == before


def test_creation_is_awaited(
    client: MlflowClient, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.model_registry import abstract_store

    from mlflow_oci_store.emulator import registry

    write, asked = registry.model_version_json, []

    def slowly(entity: ModelVersion) -> dict[str, object]:
        asked.append(entity)
        pending = "PENDING_REGISTRATION" if len(asked) < 4 else "READY"
        return {**write(entity), "status": pending}

    monkeypatch.setattr(registry, "model_version_json", slowly)
    monkeypatch.setattr(abstract_store, "AWAIT_MODEL_VERSION_CREATE_SLEEP_INTERVAL_SECONDS", 0)
    created = client.create_model_version(NAME, "s3://bucket/slow", await_creation_for=60)
    assert created.status == "PENDING_REGISTRATION"
    assert client.get_model_version(NAME, created.version).status == "READY"
    assert len(asked) > 4


def test_a_failed_creation_is_told(
    client: MlflowClient, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow_oci_store.emulator import registry

    write = registry.model_version_json
    failed = {"status": "FAILED_REGISTRATION", "status_message": "the files are gone"}
    monkeypatch.setattr(registry, "model_version_json", lambda entity: {**write(entity), **failed})
    with pytest.raises(MlflowException, match="the files are gone"):
        client.create_model_version(NAME, "s3://bucket/slow")


def test_a_store_can_be_pickled(store: OciDataPlatformRegistryStore) -> None:
    store.create_registered_model(NAME)
    copy = pickle.loads(pickle.dumps(store))
    assert copy.get_registered_model(NAME).name == NAME
    assert copy.__getstate__() == store.__getstate__()


def test_what_the_service_lacks_is_empty_or_refused(store: OciDataPlatformRegistryStore) -> None:
    if not hasattr(store, "list_webhooks"):
        pytest.skip("this MLflow has no webhooks")
    assert store.list_webhooks() == []
    with pytest.raises(MlflowException, match="has no endpoint") as caught:
        store.create_webhook("w", "https://host", [])
    assert caught.value.error_code == ErrorCode.Name(ErrorCode.Value("NOT_IMPLEMENTED"))
