"""The emulator's copy of the API says what Oracle's SDK says."""

from __future__ import annotations

import inspect
import json
import re
from importlib.resources import files
from typing import Any

import pytest
from aidp_python_client.aidataplatform_dp import MLOpsClient, models

from mlflow_oci_store.emulator.registry import RegistryOperations
from mlflow_oci_store.emulator.schema import Operation, documented
from mlflow_oci_store.emulator.tracking import TrackingOperations

DOCUMENT = json.loads(files("mlflow_oci_store.emulator").joinpath("api.json").read_text())
API = documented()


def test_it_has_all_operations_of_the_mlflow_api() -> None:
    of_the_sdk = {
        name
        for name, method in inspect.getmembers(MLOpsClient, inspect.isfunction)
        if "/mlops/api/2.0/mlflow/" in inspect.getsource(method)
    }
    assert API.operations.keys() == of_the_sdk
    assert len(of_the_sdk) == 48


@pytest.mark.parametrize("operation", API.operations.values(), ids=lambda operation: operation.name)
def test_an_operation_is_where_the_sdk_calls_it(operation: Operation) -> None:
    source = inspect.getsource(getattr(MLOpsClient, operation.name))
    [path] = re.findall(r'resource_path = "(.*)"', source)
    [method] = re.findall(r'^ *method = "(.*)"', source, re.MULTILINE)
    place = "/workspaces/{workspaceKey}" if operation.scope == "workspace" else ""
    base = f"/aiDataPlatforms/{{aiDataPlatformId}}{place}/mlops/api/2.0/mlflow/"
    assert (path, method) == (base + operation.path, operation.method)
    query = re.search(r"query_params = \{\n(.*?)\}", source, re.DOTALL)
    assert set(re.findall(r'"(\w+)": ', query[1] if query else "")) == set(operation.query)
    implementation = TrackingOperations if operation.scope == "workspace" else RegistryOperations
    assert callable(getattr(implementation, operation.name))


@pytest.mark.parametrize("name", DOCUMENT["schemas"])
def test_a_body_has_the_fields_of_the_sdks_model(name: str) -> None:
    model: Any = getattr(models, name)()
    fields = {model.attribute_map[field]: kind for field, kind in model.swagger_types.items()}
    ours = {
        field: re.sub(r"array of (\w+)", r"list[\1]", kind.rstrip("!"))
        for field, kind in DOCUMENT["schemas"][name].items()
    }
    assert ours == fields
    source = inspect.getsource(type(model))
    required = set(re.findall(r"\*\*\[Required\]\*\* Gets the (\w+) of this", source))
    assert required == {
        field
        for field, wire in model.attribute_map.items()
        if DOCUMENT["schemas"][name][wire].endswith("!")
    }
