"""Which models a run read and made, kept in the run's tags and shown where MLflow shows them.

The service's ``runs/log-inputs`` takes datasets only, and there is no ``runs/outputs``. So each
model is one record (``record``), ``mlflow-oci-store.input.<hash>`` or ``.output.<hash>``, and a
run's JSON is rewritten before it becomes an entity: these records go to its inputs and outputs, and
everything under the reserved prefix disappears from its tags and params, unless somebody wants to
see it (option ``reserved_tags``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow.entities import LoggedModelInput, LoggedModelOutput, RunTag
from mlflow.utils.time import get_current_time_millis

from mlflow_oci_store.reserved_tags import PREFIX, is_reserved
from mlflow_oci_store.tracking.record import digest, record_content, record_tags

Json = dict[str, Any]

_INPUT = f"{PREFIX}input."
_OUTPUT = f"{PREFIX}output."


def input_records(models: Sequence[LoggedModelInput]) -> list[RunTag]:
    """Write down that a run reads models."""
    return _records(_INPUT, [{"model_id": model.model_id} for model in models])


def output_records(models: Sequence[LoggedModelOutput]) -> list[RunTag]:
    """Write down that a run made models, and at which step."""
    return _records(_OUTPUT, [{"model_id": it.model_id, "step": it.step} for it in models])


def _records(prefix: str, links: Sequence[Json]) -> list[RunTag]:
    now = get_current_time_millis()
    return [
        tag
        for number, link in enumerate(links)
        for tag in record_tags(f"{prefix}{digest(link['model_id'])}", {"at": [now, number], **link})
    ]


def with_models(run: Json) -> Json:
    """Rewrite an ExperimentRun: the models in its tags become inputs and outputs."""
    ours = _reserved(run)
    if not ours:
        return run
    inputs, outputs = run.get("inputs") or {}, run.get("outputs") or {}
    return {
        **run,
        "inputs": {
            **inputs,
            "model_inputs": [*(inputs.get("model_inputs") or ()), *_links(ours, _INPUT)],
        },
        "outputs": {
            **outputs,
            "model_outputs": [*(outputs.get("model_outputs") or ()), *_links(ours, _OUTPUT)],
        },
    }


def without_reserved(run: Json) -> Json:
    """Rewrite an ExperimentRun: tags and params that this package keeps for itself disappear."""
    if not _reserved(run):
        return run
    data = run["data"]
    return {
        **run,
        "data": {
            **data,
            "tags": without_reserved_tags(data["tags"]),
            "params": without_reserved_tags(data.get("params") or ()),
        },
    }


def without_reserved_tags(items: Sequence[Json]) -> list[Json]:
    """Leave out tags, or params, that this package keeps for itself."""
    return [item for item in items if not is_reserved(item["key"])]


def _reserved(run: Json) -> dict[str, str]:
    tags = (run.get("data") or {}).get("tags") or ()
    return {tag["key"]: tag.get("value", "") for tag in tags if is_reserved(tag["key"])}


def _links(ours: dict[str, str], prefix: str) -> list[Json]:
    links: list[Json] = [record_content(ours, key) for key in ours if key.startswith(prefix)]
    return sorted(links, key=lambda link: link["at"])
