"""MLflow's SQL store and ours, side by side, with the same clock and the same dice.

Time, run ids and generated run names come from the call's number while a store works, so that they
are equal on both sides and searches that order by them can be compared.
"""

from __future__ import annotations

import itertools
import shutil
import types
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.store.tracking.sqlalchemy_store as sql
import pytest
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.abstract_store import AbstractStore

import mlflow_oci_store.emulator.tracking
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .call import Call
from .canonical import Symbols, canonical, canonical_error
from .differences import as_the_service_takes_it, is_listed

# A page token does not say how many pages follow; no history fills as many as these.
_MOST_PAGES = 50
_EPOCH_MILLIS = 1_700_000_000_000


class ReferenceStore(sql.SqlAlchemyStore):
    """MLflow's store on an empty database, since the service has no experiment 0 either."""

    def _create_default_experiment(self, session: Any) -> None:
        """Leave the new database empty."""


class Dice:
    """The time and the randomness that both stores see."""

    def __init__(self) -> None:
        self.turn(0)

    def turn(self, number: int) -> None:
        """Start over for call ``number``: both sides draw the same, whoever comes first."""
        self._number = number
        self._draws = itertools.count()

    def now(self) -> int:
        return _EPOCH_MILLIS + self._number

    def uuid4(self) -> uuid.UUID:
        # Spread, so that the order of ids is not the order of creation.
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self._number} {next(self._draws)}")

    def name(self) -> str:
        return f"name-{self.uuid4().hex[:8]}"


@contextmanager
def shared_dice() -> Iterator[Dice]:
    """Give both stores the same time and randomness for as long as the block runs."""
    dice = Dice()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "uuid", types.SimpleNamespace(uuid4=dice.uuid4))
        patch.setattr(sql, "_generate_random_name", dice.name)
        for module in (sql, mlflow_oci_store.emulator.tracking):
            patch.setattr(module, "get_current_time_millis", dice.now)
        # A failure of the emulator is to be seen, not waited for.
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield dice


class Side:
    """One of the two stores, with the ids it has given."""

    def __init__(self, store: AbstractStore, unknown_experiment: str) -> None:
        self.store = store
        self._unknown_experiment = unknown_experiment
        self._experiments: list[str] = []
        self._runs: list[str] = []
        self._symbols = Symbols()

    def outcome(self, call: Call) -> Any:
        """Make the call, page through whatever comes in pages, and rewrite what comes out."""
        call = call.resolved(self._experiment, self._run)
        try:
            result = getattr(self.store, call.method)(**call.arguments)
            if call.method == "create_experiment":
                return self._noted_experiment(result)
            if call.method == "create_run":
                self._runs.append(result.info.run_id)
            return canonical(self._all_pages(call, result), self._symbols)
        except Exception as error:  # noqa: BLE001 - whatever is raised is what is compared
            return canonical_error(error)

    def _noted_experiment(self, experiment_id: str) -> str:
        if experiment_id not in self._experiments:
            self._experiments.append(experiment_id)
            names = {given: f"experiment {n}" for n, given in enumerate(self._experiments)}
            root = (
                self._symbols.artifact_root
                or (self.store.get_experiment(experiment_id).artifact_location.rpartition("/")[0])
            )
            self._symbols = Symbols(names, root)
        return self._symbols.experiments[experiment_id]

    def _all_pages(self, call: Call, first: Any) -> Any:
        pages = [first]
        while isinstance(pages[-1], PagedList) and pages[-1].token and len(pages) < _MOST_PAGES:
            arguments = {**call.arguments, "page_token": pages[-1].token}
            pages.append(getattr(self.store, call.method)(**arguments))
        return pages

    def _experiment(self, number: int) -> str:
        known = self._experiments
        return known[number] if number < len(known) else self._unknown_experiment

    def _run(self, number: int) -> str:
        return self._runs[number] if number < len(self._runs) else "0" * 31 + "f"


class Pair:
    """The two stores, empty at first.

    Args:
        emulator: A new workspace of it is ours.
        template: An empty SQLite database with MLflow's schema.
        folder: Where the copy for the reference goes.
        dice: What both see.
    """

    def __init__(self, emulator: AidpEmulator, template: Path, folder: Path, dice: Dice) -> None:
        self._dice = dice
        self._number = 0
        place = emulator.create_workspace()
        self._database = folder / f"{place[1]}.db"
        shutil.copy(template, self._database)
        self._reference_store = ReferenceStore(
            f"sqlite:///{self._database}", (folder / "artifacts").as_uri()
        )
        self._reference = Side(self._reference_store, "987654321")
        self._ours = Side(OciDataPlatformStore(emulator.uri_of(*place)), "no-such-experiment")

    def close(self) -> None:
        """Close the reference's database, and remove it."""
        self._reference_store._dispose_engine()
        self._database.unlink()

    def ask(self, call: Call) -> tuple[Any, Any]:
        """Make a call on both sides; give what the reference and what ours made of it."""
        self._number += 1
        return self.ask_reference(call), self.ask_ours(call)

    def ask_reference(self, call: Call) -> Any:
        """Make a call on MLflow's own store only."""
        self._dice.turn(self._number)
        return self._reference.outcome(as_the_service_takes_it(call))

    def ask_ours(self, call: Call) -> Any:
        """Make a call on our store only."""
        self._dice.turn(self._number)
        return self._ours.outcome(call)

    def check(self, call: Call) -> None:
        """Make a call on both sides, and insist on equal outcomes but for the listed ones."""
        expected, actual = self.ask(call)
        assert actual == expected or is_listed(call, expected, actual), call
