"""Oracle's SDK as the referee: our requests are those it would send, and each reads the other's."""

from __future__ import annotations

from typing import Any

import pytest
from aidp_python_client.aidataplatform_dp import MLOpsClient, models
from contract import sdk as official
from contract.conftest import Exchange, exchanges
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.operations import OPERATIONS, Operation, Scope
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

__all__ = ["exchanges"]  # the fixture

UNICODE = 'Grüße, "試験" \\ 😀\n\u2028'
NAME = "catalog.schema.größer & 試験, 100%"
Place = tuple[str, str]

# Tags are set one by one, and permissions are not MLflow's business.
UNUSED = {
    "update_registered_model_tags",
    "update_model_version_tags",
    "list_registered_model_permissions",
    "manage_registered_model_permission",
}


@pytest.fixture
def sdk(emulator: AidpEmulator) -> MLOpsClient:
    return official.client(emulator.config_file, emulator.profile, emulator.endpoint)


def use_everything(store: OciDataPlatformRegistryStore) -> None:
    """Call every method that leads to a request, with plain and with awkward values."""
    store.create_registered_model("first", [RegisteredModelTag("k", UNICODE)], UNICODE, "job")
    store.create_registered_model("plain")
    store.get_registered_model("first")
    store.rename_registered_model("first", NAME)
    store.update_registered_model(NAME, UNICODE, "job")
    store.update_registered_model(NAME, None)
    store.set_registered_model_tag(NAME, RegisteredModelTag("a/b", UNICODE))
    store.delete_registered_model_tag(NAME, "a/b")
    store.create_model_version(NAME, "s3://bucket/é")
    store.create_model_version(
        NAME,
        "s3://bucket/é",
        "0" * 32,
        [ModelVersionTag("k", UNICODE)],
        "https://host/run?a=b&c=d",
        UNICODE,
    )
    store.create_model_version(NAME, f"models:/{NAME}/1", "1" * 32)
    store.get_model_version(NAME, 2)
    store.get_model_version_download_uri(NAME, 3)
    store.update_model_version(NAME, "2", UNICODE)
    store.transition_model_version_stage(NAME, 2, "staging", True)
    store.get_latest_versions(NAME, ["Staging"])
    store.set_model_version_tag(NAME, 2, ModelVersionTag("a b", ""))
    store.delete_model_version_tag(NAME, 2, "a b")
    store.set_registered_model_alias(NAME, "champion", 2)
    store.get_model_version_by_alias(NAME, "champion")
    store.delete_registered_model_alias(NAME, "champion")
    store.set_registered_model_alias(NAME, "größer", 1)
    store.search_registered_models("name LIKE 'c%'", 1, ["name DESC"])
    store.search_model_versions(f"name = '{NAME}'", 1, ["version_number DESC"])
    page = store.search_model_versions(max_results=1)
    store.search_model_versions(max_results=1, page_token=page.token)
    store.search_prompts()
    with pytest.raises(MlflowException):
        store.get_registered_model("a&b=c+d %2F?")
    store.delete_model_version(NAME, 1)
    store.delete_registered_model(NAME)


def operation_of(exchange: Exchange, place: Place) -> Operation:
    [row] = [
        row
        for row in OPERATIONS.values()
        if exchange.path == f"/20260430/{_base(row, place)}/mlops/api/2.0/mlflow/{row.path}"
    ]
    return row


def _base(row: Operation, place: Place) -> str:
    platform = f"aiDataPlatforms/{place[0]}"
    return platform if row.scope is Scope.PLATFORM else f"{platform}/workspaces/{place[1]}"


def sent_by_the_sdk(sdk: MLOpsClient, exchange: Exchange, place: Place) -> official.Sent:
    row = operation_of(exchange, place)
    names = place if row.scope is Scope.WORKSPACE else place[:1]
    return official.request_of(sdk, row.name, names, exchange.fields)


def test_the_session_uses_every_operation_of_the_registry(
    store: OciDataPlatformRegistryStore, place: Place, exchanges: list[Exchange]
) -> None:
    use_everything(store)
    used = {operation_of(exchange, place).name for exchange in exchanges}
    rows = {row.name for row in OPERATIONS.values() if row.scope is Scope.PLATFORM}
    assert used == rows - UNUSED | {"create_workspace_model_version"}


def test_requests_are_those_the_sdk_would_send(
    store: OciDataPlatformRegistryStore,
    place: Place,
    sdk: MLOpsClient,
    exchanges: list[Exchange],
) -> None:
    use_everything(store)
    for exchange in exchanges:
        sent = sent_by_the_sdk(sdk, exchange, place)
        assert (exchange.method, exchange.path) == (sent.method, f"/20260430{sent.path}")
        assert exchange.fields == (sent.query or sent.body), exchange.path


def test_answers_are_of_the_sdks_models(
    store: OciDataPlatformRegistryStore,
    place: Place,
    sdk: MLOpsClient,
    exchanges: list[Exchange],
) -> None:
    use_everything(store)
    for exchange in exchanges:
        if exchange.status != 200:
            assert exchange.answer.keys() == {"code", "message"}
            continue
        expected = sent_by_the_sdk(sdk, exchange, place).response_model
        assert official.complaints_about(exchange.answer, expected) == [], exchange.path


def test_changes_and_only_changes_carry_a_retry_token_of_their_own(
    store: OciDataPlatformRegistryStore, place: Place, exchanges: list[Exchange]
) -> None:
    use_everything(store)
    tokens = []
    for exchange in exchanges:
        token = exchange.headers.get("opc-retry-token")
        assert bool(token) == operation_of(exchange, place).retry_token
        tokens += [token] if token else []
    assert len(set(tokens)) == len(tokens)


def test_the_sdk_reads_what_the_store_wrote(
    store: OciDataPlatformRegistryStore, place: Place, sdk: MLOpsClient
) -> None:
    store.create_registered_model(NAME, [RegisteredModelTag("k", UNICODE)], UNICODE)
    tags = [ModelVersionTag("k", UNICODE)]
    store.create_model_version(NAME, "s3://bucket/é", "0" * 32, tags, "https://host", UNICODE)
    store.create_model_version(NAME, f"models:/{NAME}/1")
    store.set_registered_model_alias(NAME, "champion", 1)
    model = sdk.get_registered_model(place[0], NAME).data.registered_model
    assert (model.name, model.description) == (NAME, UNICODE)
    assert _tags(model) == {"k": UNICODE, "mlflow-oci-store.alias.champion": "1"}
    version = sdk.get_model_version(place[0], NAME, "1").data.model_version
    assert (version.name, version.version, version.source) == (NAME, "1", "s3://bucket/é")
    assert (version.run_id, version.run_link) == ("0" * 32, "https://host")
    assert (version.description, _tags(version)) == (UNICODE, {"k": UNICODE})
    other = sdk.get_model_version(place[0], NAME, "2").data.model_version
    assert other.source == "s3://bucket/é"
    assert _tags(other) == {"mlflow-oci-store.source": f"models:/{NAME}/1"}


def test_the_store_reads_what_the_sdk_wrote(
    store: OciDataPlatformRegistryStore, place: Place, sdk: MLOpsClient
) -> None:
    tag = models.RegisteredModelTag(key="k", value=UNICODE)
    details = models.CreateRegisteredModelDetails(name=NAME, description=UNICODE, tags=[tag])
    sdk.create_registered_model(place[0], details)
    sdk.create_workspace_model_version(
        *place,
        models.CreateModelVersionDetails(
            name=NAME,
            source="s3://bucket/é",
            run_id="0" * 32,
            run_link="https://host",
            description=UNICODE,
            tags=[models.ModelVersionTag(key="k", value=UNICODE)],
        ),
    )
    model = store.get_registered_model(NAME)
    assert (model.name, model.description, model.tags) == (NAME, UNICODE, {"k": UNICODE})
    [version] = store.search_model_versions(f"name = '{NAME}'")
    assert _entity(version) == _entity(store.get_model_version(NAME, 1))
    assert (version.source, version.run_id, version.run_link) == (
        "s3://bucket/é",
        "0" * 32,
        "https://host",
    )
    assert (version.description, version.tags) == (UNICODE, {"k": UNICODE})


def _tags(entity: Any) -> dict[str, str]:
    return {tag.key: tag.value for tag in entity.tags}


def _entity(version: ModelVersion) -> dict[str, Any]:
    return dict(version)
