from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from mlflow_oci_store.emulator import AidpEmulator

from .programs import Training, run_script

MODES = ("documented", "native")


@pytest.fixture(scope="session")
def emulators() -> Iterator[dict[str, AidpEmulator]]:
    """The service with its documented endpoints only, and with MLflow's native routes."""
    with AidpEmulator() as documented, AidpEmulator(native_logged_models=True) as native:
        yield {"documented": documented, "native": native}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture
def tracking_uri(emulators: dict[str, AidpEmulator], mode: str) -> str:
    """An empty workspace."""
    return new_workspace(emulators[mode])


@pytest.fixture(scope="session")
def train(
    emulators: dict[str, AidpEmulator], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Training]:
    """Runs a script, once: in a mode of the service, or at ``mlflow``, which is its SQL store."""

    def empty_store(server: str, folder: Path) -> str:
        if server == "mlflow":
            return f"sqlite:///{folder / 'mlflow.db'}"
        return new_workspace(emulators[server])

    @cache
    def trained(script: str, server: str) -> Training:
        folder = tmp_path_factory.mktemp(f"{script}-{server}")
        uri = empty_store(server, folder)
        return run_script(script, uri, folder)

    return trained


def new_workspace(emulator: AidpEmulator) -> str:
    return emulator.uri_of(*emulator.create_workspace())
