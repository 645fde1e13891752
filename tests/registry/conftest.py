from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from reference.pair import ReferenceStore

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

from .pair import RegistryPair, shared_clock

NewPair = Callable[[], AbstractContextManager[RegistryPair]]


@pytest.fixture(scope="module")
def emulator() -> Iterator[AidpEmulator]:
    with AidpEmulator() as emulator:
        yield emulator


@pytest.fixture
def place(emulator: AidpEmulator) -> Iterator[tuple[str, str]]:
    """A new platform with an empty registry, and a workspace in it."""
    platform_id, _, _ = emulator.platform_id.rpartition(".")
    place = emulator.create_workspace(f"{platform_id}.{uuid.uuid4().hex}", "workspace")
    yield place
    emulator.faults.clear()


@pytest.fixture
def uri(
    emulator: AidpEmulator,
    place: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[str]:
    """The place's tracking URI, which is MLflow's tracking URI for the test's time."""
    uri = emulator.uri_of(*place)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient()


@pytest.fixture
def store(uri: str) -> OciDataPlatformRegistryStore:
    return OciDataPlatformRegistryStore(uri, uri)


@pytest.fixture(scope="module")
def new_pair(emulator: AidpEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewPair]:
    """Makes pairs of empty registries; each is to be closed."""
    folder = tmp_path_factory.mktemp("registry")
    template = folder / "template.db"
    ReferenceStore(f"sqlite:///{template}", folder.as_uri())._dispose_engine()
    with shared_clock() as dice:
        yield lambda: closing(RegistryPair(emulator, template, dice))
