from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_oci_store.emulator import AidpEmulator
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
