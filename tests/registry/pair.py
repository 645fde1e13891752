"""MLflow's SQL registry and ours, side by side, on the mechanism of ``tests/reference``."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.store.model_registry.sqlalchemy_store as sql
import pytest
from reference.call import Call
from reference.pair import Dice, Side

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

from .differences import is_listed


@contextmanager
def shared_clock() -> Iterator[Dice]:
    """Give both registries the same time for as long as the block runs."""
    dice = Dice()
    with pytest.MonkeyPatch.context() as patch:
        # The emulator's registry is MLflow's SQL registry as well.
        patch.setattr(sql, "get_current_time_millis", dice.now)
        # A failure of the emulator is to be seen, not waited for.
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield dice


class RegistryPair:
    """The two registries, empty at first.

    Args:
        emulator: A new platform of it is ours.
        template: An empty SQLite database with MLflow's schema.
        dice: What both see.
    """

    def __init__(self, emulator: AidpEmulator, template: Path, dice: Dice) -> None:
        self._dice = dice
        self._number = 0
        key = uuid.uuid4().hex
        self._database = template.with_name(f"{key}.db")
        shutil.copy(template, self._database)
        self._reference_store = sql.SqlAlchemyStore(f"sqlite:///{self._database}")
        self._reference = Side(self._reference_store, "")
        platform_id, _, _ = emulator.platform_id.rpartition(".")
        uri = emulator.uri_of(*emulator.create_workspace(f"{platform_id}.{key}", "workspace"))
        self._ours = Side(OciDataPlatformRegistryStore(uri, uri), "")

    def close(self) -> None:
        """Close the reference's database, and remove it."""
        self._reference_store._dispose_engine()
        self._database.unlink()

    def ask(self, call: Call) -> tuple[Any, Any]:
        """Make a call on both sides; give what the reference and what ours made of it."""
        self._number += 1
        self._dice.turn(self._number)
        expected = self._reference.outcome(call)
        self._dice.turn(self._number)
        return alike(expected), alike(self._ours.outcome(call))

    def check(self, call: Call) -> None:
        """Make a call on both sides, and insist on equal outcomes but for the listed ones."""
        expected, actual = self.ask(call)
        assert actual == expected or is_listed(call, expected, actual), call


def alike(outcome: Any) -> Any:
    """Look past what each side represents in its own way (``differences.REPRESENTATION``)."""
    if isinstance(outcome, list):
        return [alike(item) for item in outcome]
    if not isinstance(outcome, dict):
        return outcome
    found = {name: alike(value) for name, value in outcome.items()}
    if found.get("entity") == "ModelVersion":
        found["version"] = str(found["version"])
        found["aliases"] = sorted(found["aliases"])
    if found.get("entity") == "RegisteredModel":
        found["aliases"] = {alias: str(number) for alias, number in found["aliases"].items()}
        found["latest_versions"] = sorted(found["latest_versions"], key=lambda it: it["version"])
    return found
