"""MLflow's SQL store and ours, side by side, on the mechanism of ``tests/reference``.

A history also names the n-th model that it made: ``Model(0)`` among the arguments and inside the
entities, ``{model0}`` inside a string.
"""

from __future__ import annotations

import copy
import json
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, Metric
from mlflow.utils import name_utils
from reference.call import Call
from reference.pair import Dice, Pair, Side, shared_dice

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking import kept_models, model_id, run_models

from .differences import is_listed
from .placeholder import Model


@contextmanager
def shared_model_dice() -> Iterator[Dice]:
    """Let what keeps models in tags see the reference's time and randomness, too."""
    with shared_dice() as dice, pytest.MonkeyPatch.context() as patch:
        for module in (kept_models, run_models):
            patch.setattr(module, "get_current_time_millis", dice.now)
        patch.setattr(model_id, "uuid", types.SimpleNamespace(uuid4=dice.uuid4))
        patch.setattr(name_utils, "_generate_random_name", dice.name)
        yield dice


class ModelSide(Side):
    """One of the two stores, with the ids of models, too."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._models: list[str] = []

    def outcome(self, call: Call) -> Any:
        arguments = {name: self._put(value) for name, value in call.arguments.items()}
        outcome = super().outcome(Call(call.method, arguments))
        if call.method == "create_logged_model" and isinstance(outcome, list):
            self._models.append(outcome[0]["model_id"])
        return self._named(outcome)

    def _put(self, value: Any) -> Any:
        if isinstance(value, Model):
            known = self._models
            return known[value.number] if value.number < len(known) else "m-" + "0" * 32
        if isinstance(value, list):
            return [self._put(item) for item in value]
        if isinstance(value, str) and "{model" in value:
            for number in range(3):
                value = value.replace(f"{{model{number}}}", self._put(Model(number)))
            return value
        if isinstance(value, (LoggedModelInput, LoggedModelOutput, Metric)):
            value = copy.copy(value)
            value._model_id = self._put(value.model_id)
        return value

    def _named(self, outcome: Any) -> Any:
        """Put the history's names of models in place of their ids."""
        text = json.dumps(outcome)
        for number, known in enumerate(self._models):
            text = text.replace(known, f"model {number}")
        return _alike(json.loads(text))


def _alike(outcome: Any) -> Any:
    """Look past what each side represents in its own way (``differences.REPRESENTATION``)."""
    if isinstance(outcome, list):
        return [_alike(item) for item in outcome]
    if not isinstance(outcome, dict):
        return outcome
    found = {name: _alike(value) for name, value in outcome.items()}
    for links in ("models", "model_inputs", "model_outputs"):
        if links in found:
            # SQL gives these in any order.
            found[links] = sorted(found[links] or [], key=json.dumps)
    if found.get("entity") == LoggedModel.__name__:
        found["metrics"] = sorted(found["metrics"] or [], key=json.dumps)
        del found["artifact_location"]
    return found


class ModelPair(Pair):
    """The two stores, empty at first; see ``Pair``."""

    def __init__(self, emulator: AidpEmulator, template: Path, folder: Path, dice: Dice) -> None:
        super().__init__(emulator, template, folder, dice)
        self._reference = ModelSide(self._reference.store, "987654321")
        self._ours = ModelSide(self._ours.store, "no-such-experiment")

    def check(self, call: Call) -> None:
        """Make a call on both sides, and insist on equal outcomes but for the listed ones."""
        expected, actual = self.ask(call)
        assert actual == expected or is_listed(call, expected, actual), call
