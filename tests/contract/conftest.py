from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from aidp_python_client.aidataplatform_dp import MLOpsClient

from mlflow_oci_store.client.connection import Answer, Connection
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from . import sdk


class Exchange(NamedTuple):
    """One request of ours with its answer, parsed."""

    method: str
    path: str
    fields: dict[str, Any]
    headers: dict[str, str]
    status: int
    answer: Any


class Service(NamedTuple):
    """An emulated workspace, with both clients of it."""

    emulator: AidpEmulator
    place: tuple[str, str]
    store: OciDataPlatformStore
    sdk: MLOpsClient


@pytest.fixture(scope="module")
def emulator() -> Iterator[AidpEmulator]:
    with AidpEmulator() as emulator:
        yield emulator


@pytest.fixture
def service(emulator: AidpEmulator) -> Service:
    """A new workspace with an empty name space."""
    place = emulator.create_workspace(workspace_key=None)
    client = sdk.client(emulator.config_file, emulator.profile, emulator.endpoint)
    return Service(emulator, place, OciDataPlatformStore(emulator.uri_of(*place)), client)


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[Exchange]:
    """What our client sends and receives from here on."""
    found: list[Exchange] = []
    send = Connection.send

    def recording(
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Answer:
        answer = send(connection, method, target, headers, body, timeout)
        parts = urlsplit(target)
        fields = json.loads(body) if body else dict(parse_qsl(parts.query, keep_blank_values=True))
        found.append(
            Exchange(
                method,
                unquote(parts.path),
                fields,
                dict(headers),
                answer.status,
                json.loads(answer.body),
            )
        )
        return answer

    monkeypatch.setattr(Connection, "send", recording)
    return found
