"""The table of operations, row by row against the requests of Oracle's own SDK."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import oci.config
import pytest
from aidp_python_client.aidataplatform_dp import MLOpsClient, models

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.client.operations import OPERATIONS, Effect, Operation, Scope

from .conftest import PLATFORM_ID, WORKSPACE_KEY, ApiKey
from .scripted_server import Request, ScriptedServer, scripted_server

# The SDK's client also serves model deployments, which have paths of their own.
MLFLOW_PATH = "/mlops/api/2.0/mlflow/"
PLATFORM_PATH = f"/20260430/aiDataPlatforms/{PLATFORM_ID}"
WORKSPACE_PATH = f"{PLATFORM_PATH}/workspaces/{quote(WORKSPACE_KEY, safe='')}"


@pytest.fixture(scope="module")
def sdk_server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture(scope="module")
def sdk(sdk_server: ScriptedServer, api_key: ApiKey) -> MLOpsClient:
    profile = oci.config.from_file(str(api_key.config_file))
    return MLOpsClient(profile, service_endpoint=sdk_server.endpoint)


def arguments_of(operation: str) -> dict[str, Any]:
    """Something for each argument that the SDK's method insists on."""
    parameters = list(inspect.signature(getattr(MLOpsClient, operation)).parameters)[1:-1]
    known = {"ai_data_platform_id": PLATFORM_ID, "workspace_key": WORKSPACE_KEY}
    return {
        name: {} if name.endswith("_details") else known.get(name, f"a {name}/ß?")
        for name in parameters
    }


def sent_by_sdk(sdk: MLOpsClient, server: ScriptedServer, operation: str) -> tuple[Request, bool]:
    """The SDK's request, and whether it lets its user set a retry token."""
    arguments = arguments_of(operation)
    # Without it the SDK leaves '/' in a key as it is, and such a path would be another route.
    arguments |= {"enable_strict_url_encoding": True}
    server.requests.clear()
    takes_retry_token = "opc_retry_token" in inspect.getsource(getattr(MLOpsClient, operation))
    getattr(sdk, operation)(
        **arguments, **({"opc_retry_token": "a-token"} if takes_retry_token else {})
    )
    return server.request, takes_retry_token


def path_parameters(row: Operation) -> dict[str, str]:
    """The same for the parameters in our path, which are camelCase where the SDK's are snake."""
    snake = {
        name: re.sub("[A-Z]", "_\\g<0>", name).lower() for name in re.findall(r"{(\w+)}", row.path)
    }
    return {name: f"a {argument}/ß?" for name, argument in snake.items()}


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_each_operation_is_requested_as_the_sdk_requests_it(
    row: Operation,
    sdk: MLOpsClient,
    sdk_server: ScriptedServer,
    client: DataPlatformClient,
    server: ScriptedServer,
) -> None:
    theirs, takes_retry_token = sent_by_sdk(sdk, sdk_server, row.name)

    client.call(row.name, path_parameters(row), dict)

    ours = server.request
    assert ours.method == theirs.method == row.method
    assert urlsplit(ours.target).path == urlsplit(theirs.target).path
    assert ("opc-retry-token" in ours.headers) is takes_retry_token is row.retry_token
    assert ours.headers.get("content-type") == (
        theirs.headers["content-type"] if row.method == "POST" else None
    )


def test_the_table_has_every_mlflow_operation_of_the_sdk() -> None:
    methods = inspect.getmembers(MLOpsClient, inspect.isfunction)
    of_mlflow = {name for name, method in methods if MLFLOW_PATH in inspect.getsource(method)}

    assert set(OPERATIONS) == of_mlflow
    assert len(OPERATIONS) == 48


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_scope_and_effect_say_what_name_and_path_say(
    row: Operation, sdk: MLOpsClient, sdk_server: ScriptedServer
) -> None:
    request, _ = sent_by_sdk(sdk, sdk_server, row.name)

    prefix = WORKSPACE_PATH if row.scope is Scope.WORKSPACE else PLATFORM_PATH
    assert request.target.startswith(f"{prefix}{MLFLOW_PATH}")
    assert (row.effect is Effect.READ) == row.name.startswith(("get_", "list_"))


@pytest.mark.parametrize(
    "row",
    [row for row in OPERATIONS.values() if row.effect is not Effect.READ],
    ids=lambda row: row.name,
)
def test_a_change_that_is_answered_with_something_is_a_creation(row: Operation) -> None:
    source = inspect.getsource(getattr(MLOpsClient, row.name))
    response_type = re.search(r'response_type="(\w+)"', source)
    fields = getattr(models, response_type[1])().swagger_types if response_type else {}

    assert (row.effect is Effect.CREATE) == bool(fields)


def test_every_change_but_the_granting_of_permissions_takes_a_retry_token() -> None:
    without = {
        row.name
        for row in OPERATIONS.values()
        if row.effect is not Effect.READ and not row.retry_token
    }

    assert without == {"manage_registered_model_permission"}


def test_the_table_cannot_be_changed_by_accident() -> None:
    with pytest.raises(TypeError):
        OPERATIONS["create_experiment"] = OPERATIONS["get_experiment_by_id"]  # type: ignore[index]
