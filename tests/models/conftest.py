from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing

import pytest
from reference.pair import ReferenceStore

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .pair import ModelPair, shared_model_dice

NewPair = Callable[[], AbstractContextManager[ModelPair]]


@pytest.fixture(scope="module", params=[False, True], ids=["kept", "native"])
def emulator(request: pytest.FixtureRequest) -> Iterator[AidpEmulator]:
    """A service without endpoints for logged models, and one with MLflow's."""
    with AidpEmulator(native_logged_models=request.param) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def new_pair(emulator: AidpEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewPair]:
    """Makes pairs of empty stores; each is to be closed."""
    folder = tmp_path_factory.mktemp("reference")
    template = folder / "template.db"
    ReferenceStore(f"sqlite:///{template}", folder.as_uri())._dispose_engine()
    with shared_model_dice() as dice:
        yield lambda: closing(ModelPair(emulator, template, folder, dice))


@pytest.fixture
def uri(emulator: AidpEmulator) -> str:
    """The tracking URI of an empty workspace."""
    return emulator.uri_of(*emulator.create_workspace())


@pytest.fixture
def store(uri: str) -> OciDataPlatformStore:
    return OciDataPlatformStore(uri)
