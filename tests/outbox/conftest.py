from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlflow_oci_store.client.connection import Answer, Connection
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking import ordered_client
from mlflow_oci_store.tracking.outbox import circuit, outbox
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from . import applied as record
from .applied import Applied
from .process import ServiceProcess


@pytest.fixture(autouse=True)
def outbox_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An outbox of the test's own; what a test leaves in it does not hold up the end of all."""
    monkeypatch.setenv("MLFLOW_OCI_DP_OUTBOX_DIR", str(tmp_path / "outbox"))
    monkeypatch.setenv("MLFLOW_OCI_DP_OUTBOX_EXIT_SECONDS", "0")
    return tmp_path / "outbox"


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[Applied]:
    """What the emulator in this process applies from here on."""
    seen: list[Applied] = []
    record.record(monkeypatch, seen.append)
    return seen


@pytest.fixture
def store(aidp_emulator: AidpEmulator) -> OciDataPlatformStore:
    return OciDataPlatformStore(aidp_emulator.tracking_uri)


@pytest.fixture
def experiment_id(store: OciDataPlatformStore) -> str:
    return store.create_experiment("outbox")


@pytest.fixture
def run_id(store: OciDataPlatformStore, experiment_id: str) -> str:
    return str(store.create_run(experiment_id, "ada", 0, [], None).info.run_id)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """The service as a process of its own."""
    folder = tmp_path / "service"
    folder.mkdir()
    process = ServiceProcess(folder)
    yield process
    process.stop()


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short, and so is the patience at a run's end; synchronous calls try twice."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    quick = dataclasses.replace(circuit.BACKOFF, uniform=lambda low, high: min(high, 0.03))
    monkeypatch.setattr(circuit, "BACKOFF", quick)
    monkeypatch.setattr(outbox, "BACKOFF", quick)
    monkeypatch.setattr(ordered_client, "_END_PATIENCE_SECONDS", 0.3)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The method and path of every request that is sent from here on."""
    sent: list[str] = []
    send = Connection.send

    def recording(
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Answer:
        sent.append(f"{method} {urlsplit(target).path.rpartition('/mlflow/')[2]}")
        return send(connection, method, target, headers, body, timeout)

    monkeypatch.setattr(Connection, "send", recording)
    return sent
