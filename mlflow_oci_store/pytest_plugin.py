"""The pytest fixture ``aidp_emulator``: an emulated AI Data Platform for one test.

pytest loads this module in every run of every project that has the package installed, so it
imports nothing until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlflow_oci_store.emulator import AidpEmulator


@pytest.fixture
def aidp_emulator() -> Iterator[AidpEmulator]:
    """A fresh, empty emulator, with its own port, keys, audit and faults, closed after the test.

    Point MLflow at ``aidp_emulator.tracking_uri``.
    """
    try:
        from mlflow_oci_store.emulator import AidpEmulator
    except ImportError as error:
        pytest.fail(
            f"The fixture aidp_emulator needs {error.name}: "
            "run pip install 'mlflow-oci-store[emulator]'",
            pytrace=False,
        )
    with AidpEmulator() as emulator:
        yield emulator
