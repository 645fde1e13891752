"""Every request of the store is one that the SDK would send; every answer is one it can read."""

from __future__ import annotations

from typing import Any

from mlflow_oci_store.client.operations import OPERATIONS, Scope

from . import sdk
from .conftest import Exchange, Service
from .session import use_everything

BASE = "/20260430/aiDataPlatforms/{}/workspaces/{}/mlops/api/2.0/mlflow/"

# What the store has no use for so far: tags are set one by one, artifacts are listed by MLflow's
# artifact repositories, and models belong to the registry.
UNUSED = {
    "update_experiment_tags",
    "update_experiment_run_tags",
    "list_artifacts",
    "list_logged_models",
    "create_workspace_model_version",
}


def operation_of(exchange: Exchange, place: tuple[str, str]) -> str:
    [name] = [
        row.name
        for row in OPERATIONS.values()
        if row.scope is Scope.WORKSPACE and exchange.path == BASE.format(*place) + row.path
    ]
    return name


def as_numbers(value: Any) -> Any:
    """The SDK writes NaN and infinities as bare words, which are not JSON; ours are strings."""
    if isinstance(value, dict):
        return {name: as_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_numbers(inner) for inner in value]
    if isinstance(value, float):
        return str(value)
    return str(float(value)) if value in sdk.NON_FINITE else value


def test_the_session_uses_every_operation(service: Service, exchanges: list[Exchange]) -> None:
    use_everything(service.store)
    used = {operation_of(exchange, service.place) for exchange in exchanges}
    rows = {row.name for row in OPERATIONS.values() if row.scope is Scope.WORKSPACE}
    assert used == rows - UNUSED


def test_requests_are_those_the_sdk_would_send(service: Service, exchanges: list[Exchange]) -> None:
    use_everything(service.store)
    for exchange in exchanges:
        operation = operation_of(exchange, service.place)
        sent = sdk.request_of(service.sdk, operation, service.place, exchange.fields)
        assert (exchange.method, exchange.path) == (sent.method, f"/20260430{sent.path}")
        assert as_numbers(exchange.fields) == as_numbers(sent.query or sent.body), operation


def test_answers_are_of_the_sdks_models(service: Service, exchanges: list[Exchange]) -> None:
    use_everything(service.store)
    for exchange in exchanges:
        operation = operation_of(exchange, service.place)
        if exchange.status != 200:
            assert exchange.answer.keys() == {"code", "message"}
            continue
        expected = sdk.request_of(
            service.sdk, operation, service.place, exchange.fields
        ).response_model
        assert sdk.complaints_about(exchange.answer, expected) == [], operation


def test_mutations_and_only_mutations_carry_a_retry_token_of_their_own(
    service: Service, exchanges: list[Exchange]
) -> None:
    use_everything(service.store)
    tokens = [
        exchange.headers.get("opc-retry-token")
        for exchange in exchanges
        if OPERATIONS[operation_of(exchange, service.place)].retry_token
    ]
    assert None not in tokens
    assert len(set(tokens)) == len(tokens)
    assert [record.retry_token for record in service.emulator.audit()][-len(tokens) :] == tokens
    for exchange in exchanges:
        if not OPERATIONS[operation_of(exchange, service.place)].retry_token:
            assert "opc-retry-token" not in exchange.headers
