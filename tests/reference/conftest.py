from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing

import pytest

from mlflow_oci_store.emulator import AidpEmulator

from .pair import Pair, ReferenceStore, shared_dice

NewPair = Callable[[], AbstractContextManager[Pair]]


@pytest.fixture(scope="module")
def new_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewPair]:
    """Makes pairs of empty stores; each is to be closed."""
    folder = tmp_path_factory.mktemp("reference")
    template = folder / "template.db"
    ReferenceStore(f"sqlite:///{template}", folder.as_uri())._dispose_engine()
    with AidpEmulator() as emulator, shared_dice() as dice:
        yield lambda: closing(Pair(emulator, template, folder, dice))


@pytest.fixture
def pair(new_pair: NewPair) -> Iterator[Pair]:
    """Two empty stores."""
    with new_pair() as pair:
        yield pair
