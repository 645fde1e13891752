from __future__ import annotations

from collections.abc import Mapping

import pytest

from mlflow_oci_store.client.connection import Answer, Connection
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore


@pytest.fixture(autouse=True)
def _patient_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short retries: chance must not decide whether a test passes."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "40")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0.002")


@pytest.fixture
def store(aidp_emulator: AidpEmulator) -> OciDataPlatformStore:
    return OciDataPlatformStore(aidp_emulator.tracking_uri)


@pytest.fixture
def experiment_id(store: OciDataPlatformStore) -> str:
    return store.create_experiment("reliability")


@pytest.fixture
def run_id(store: OciDataPlatformStore, experiment_id: str) -> str:
    return str(store.create_run(experiment_id, "ada", 0, [], "the run").info.run_id)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The retry token of every request that is sent from here on."""
    sent: list[str | None] = []
    send = Connection.send

    def recording(
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Answer:
        sent.append(headers.get("opc-retry-token"))
        return send(connection, method, target, headers, body, timeout)

    monkeypatch.setattr(Connection, "send", recording)
    return sent


def applied(emulator: AidpEmulator, operation: str) -> list[str | None]:
    """The retry tokens of what was applied of an operation, in that order."""
    return [record.retry_token for record in emulator.audit() if record.operation == operation]
