"""What a store returned or raised, as plain values that compare strictly.

Two results are equal when every property of every entity in them is, type included: 1 is not 1.0,
-0.0 is not 0.0, and NaN is NaN. Left out is only what docs/semantics.md lists: experiment ids and
artifact roots become symbols, a page token counts as there or not there, and absent inputs or
outputs are empty ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import DatasetInput, RunData, RunInputs, RunOutputs
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList


@dataclass
class Symbols:
    """What stands for the names that each store chooses for itself."""

    experiments: Mapping[str, str] = field(default_factory=dict)
    artifact_root: str = ""


def canonical(value: Any, symbols: Symbols) -> Any:
    """Rewrite a result: entities, lists of them, or plain values."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return f"float {value!r}"
    if isinstance(value, PagedList):
        items = [canonical(item, symbols) for item in value]
        return {"items": items, "more": value.token is not None}
    if isinstance(value, (list, tuple)):
        return [canonical(item, symbols) for item in value]
    if isinstance(value, dict):
        return {key: canonical(item, symbols) for key, item in value.items()}
    return _entity(value, symbols)


def canonical_error(error: Exception) -> str:
    """Rewrite what was raised: MLflow's code, or the type of any other exception."""
    if isinstance(error, MlflowException):
        return f"raised {error.error_code}"
    return f"raised {type(error).__name__}"


def _entity(entity: Any, symbols: Symbols) -> dict[str, Any]:
    if isinstance(entity, RunData):
        # Its dictionary of metrics has lost timestamps and steps.
        metrics = sorted(entity._metric_objs, key=lambda metric: str(metric.key))
        found = {"metrics": metrics, "params": entity.params, "tags": entity.tags}
    elif isinstance(entity, RunInputs):
        # SQL gives these in any order.
        by_name = sorted(entity.dataset_inputs, key=lambda it: (it.dataset.name, it.dataset.digest))
        found = {"datasets": by_name, "models": entity.model_inputs or []}
    elif isinstance(entity, DatasetInput):
        tags = sorted(entity.tags or [], key=lambda tag: str(tag.key))
        found = {"dataset": entity.dataset, "tags": tags}
    else:
        found = {name: getattr(entity, name) for name in _properties(entity)}
    for name, value in found.items():
        if name == "experiment_id":
            found[name] = symbols.experiments.get(value, value)
        elif name in ("artifact_uri", "artifact_location") and value:
            found[name] = value.replace(symbols.artifact_root, "<root>")
        elif name == "outputs":
            found[name] = canonical(value or RunOutputs([]), symbols)
        else:
            found[name] = canonical(value, symbols)
    return {"entity": type(entity).__name__, **found}


def _properties(entity: Any) -> list[str]:
    """The entity's properties; ``_MlflowObject`` itself knows of those of its last class only."""
    names = {name for cls in type(entity).__mro__ for name in vars(cls)}
    return sorted(name for name in names if isinstance(getattr(type(entity), name), property))
