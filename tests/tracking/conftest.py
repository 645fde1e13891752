from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import mlflow
import pytest
from mlflow.tracking import fluent

from mlflow_oci_store.client.connection import Answer, Connection
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore


class Request(NamedTuple):
    """One request of ours: the end of its path, its headers, and its body."""

    route: str
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def emulator() -> Iterator[AidpEmulator]:
    with AidpEmulator() as emulator:
        yield emulator


@pytest.fixture
def uri(emulator: AidpEmulator) -> str:
    """The tracking URI of an empty workspace."""
    return emulator.uri_of(*emulator.create_workspace())


@pytest.fixture
def store(uri: str) -> OciDataPlatformStore:
    return OciDataPlatformStore(uri)


@pytest.fixture
def experiment_id(store: OciDataPlatformStore) -> str:
    return store.create_experiment("e")


@pytest.fixture
def run_id(store: OciDataPlatformStore, experiment_id: str) -> str:
    return str(store.create_run(experiment_id, "ada", 0, [], None).info.run_id)


@pytest.fixture
def script(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow as a script finds it that is started with ``MLFLOW_TRACKING_URI`` set."""
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    # mlflow.set_experiment sets this one, for subprocesses.
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")
    del os.environ["MLFLOW_EXPERIMENT_ID"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield uri
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What is sent from here on."""
    sent: list[Request] = []
    send = Connection.send

    def recording(
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Answer:
        route = urlsplit(target).path.rpartition("/mlflow/")[2]
        sent.append(Request(route, dict(headers), body or b""))
        return send(connection, method, target, headers, body, timeout)

    monkeypatch.setattr(Connection, "send", recording)
    return sent
