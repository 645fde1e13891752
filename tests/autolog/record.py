"""All that a training script left at a tracking server, told without ids, times and places.

Two records are equal when a script did the same thing at two servers.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import FileInfo, LoggedModel, Metric, Run

# Made up anew for each run.
_OWN_TAGS = frozenset({"mlflow.runName", "mlflow.parentRunId"})
# A note for MLflow 2 clients, with ids and times. MLflow 3 writes it for few flavors; where logged
# models are kept with documented endpoints, all have it.
_HISTORY_TAG = "mlflow.log-model.history"
# MLflow writes it beside the files of a model that it loads: into the store, if that is a folder.
_WRITTEN_BY_LOADING = "registered_model_meta"
_MEASURED_TIME = re.compile("_time$|runtime|per_second|latency")
# The commit of the checkout that a script is in, which may move on while the tests run.
_COMMIT = re.compile(r"\b[0-9a-f]{40}\b")
# MLflow counts the rows of Spark's data for five seconds, and on a busy machine finds out nothing.
_COUNTED_IN_TIME = re.compile(r'(?<="approx_count": )(\d+|"unknown")')
_MODEL_ID = re.compile(r"\bm-[\w-]+")
_ADDRESS = re.compile("0x[0-9a-f]+")
# In names of files: TensorBoard's time, host and process, Spark's UUIDs and uids.
_RANDOM = re.compile(
    r"(?<=tfevents)\..+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=_)[0-9a-f]{12}\b"
)

Json = dict[str, Any]


class Record(NamedTuple):
    """What a server holds.

    Attributes:
        runs: The runs without a parent, with their children inside.
        models: The logged models.
        metrics: Every value of every run's metrics, by run, metric, step and number.
    """

    runs: list[Json]
    models: list[Json]
    metrics: dict[str, float]


def record_of(tracking_uri: str) -> Record:
    """Read a server with MLflow's public API."""
    with pytest.MonkeyPatch.context() as patch:
        # MLflow looks the models of a `runs:/` URI up at the tracking URI of the process.
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        client = MlflowClient()
        models = models_of(client)
        names = {model.model_id: model.name for model in models}
        runs = {run.info.run_id: _run(client, run, models, names) for run in runs_of(client)}
        roots = []
        for run in runs.values():
            parent = run.pop("parent")
            (runs[parent]["children"] if parent else roots).append(run)
        for run in runs.values():
            run["children"] = _sorted(run["children"])
        roots = _sorted(roots)
        return Record(
            metrics=dict(_values(roots)),
            runs=roots,
            models=_sorted(_model(client, model) for model in models),
        )


def runs_of(client: MlflowClient) -> list[Run]:
    """All runs that a server has, complete."""
    found = client.search_runs([it.experiment_id for it in client.search_experiments()])
    return [client.get_run(run.info.run_id) for run in found]


def models_of(client: MlflowClient) -> list[LoggedModel]:
    """All logged models that a server has, complete."""
    found = client.search_logged_models([it.experiment_id for it in client.search_experiments()])
    return [client.get_logged_model(model.model_id) for model in found]


def _run(client: MlflowClient, run: Run, models: list[LoggedModel], names: dict[str, str]) -> Json:
    info, data = run.info, run.data
    root = f"{info.artifact_uri.rstrip('/')}/"
    in_models = tuple(
        f"{model.artifact_location.removeprefix(root).rstrip('/')}/" for model in models
    )
    files = _files(lambda path: client.list_artifacts(info.run_id, path))
    return {
        "parent": data.tags.get("mlflow.parentRunId"),
        "status": info.status,
        "params": {key: _ADDRESS.sub("0x", value) for key, value in data.params.items()},
        "metrics": {key: client.get_metric_history(info.run_id, key) for key in data.metrics},
        "tags": {
            key: _COMMIT.sub("commit", _MODEL_ID.sub(lambda found: names[found[0]], value))
            for key, value in data.tags.items()
            if key not in _OWN_TAGS and key != _HISTORY_TAG
        },
        "datasets": _sorted(
            {
                "dataset": _dataset(dict(it.dataset)),
                "tags": sorted((tag.key, tag.value) for tag in it.tags),
            }
            for it in run.inputs.dataset_inputs
        ),
        "model_inputs": sorted(names[it.model_id] for it in run.inputs.model_inputs),
        "model_outputs": sorted((names[it.model_id], it.step) for it in run.outputs.model_outputs),
        "files": sorted(_RANDOM.sub("", it) for it in files if not it.startswith(in_models)),
        "children": [],
    }


def _dataset(fields: Json) -> Json:
    # Of what a Spark model predicted, the digest is a hash of the plan, with random names in it.
    digest = None if "sparkml_vector" in fields["schema"] else fields["digest"]
    return {
        **fields,
        "digest": digest,
        "source": _COMMIT.sub("commit", fields["source"]),
        "profile": _COUNTED_IN_TIME.sub("rows", fields["profile"]),
    }


def _model(client: MlflowClient, model: LoggedModel) -> Json:
    return {
        "name": model.name,
        "status": str(model.status),
        "type": model.model_type,
        "params": model.params,
        "tags": model.tags,
        "metrics": sorted(
            (it.key, it.step, it.dataset_name, it.dataset_digest) for it in model.metrics or ()
        ),
        "files": sorted(
            _files(lambda path: client.list_logged_model_artifacts(model.model_id, path))
        ),
    }


def _files(listing: Callable[[str | None], list[FileInfo]]) -> list[str]:
    files: list[str] = []
    folders: list[str | None] = [None]
    while folders:
        for entry in listing(folders.pop()):
            if entry.is_dir:
                folders.append(entry.path)
            elif entry.path != _WRITTEN_BY_LOADING:
                files.append(entry.path)
    return files


def _values(runs: list[Json], place: str = "") -> Iterator[tuple[str, float]]:
    """Take the values of metrics out of runs and name each, so that they compare as numbers."""
    for number, run in enumerate(runs):
        for key, history in run.pop("metrics").items():
            seen: Counter[int] = Counter()
            for it in history:
                value = math.nan if _MEASURED_TIME.search(key) else it.value
                yield f"run {place}{number}: {key}, step {it.step}, {seen[it.step]}", value
                seen[it.step] += 1
        yield from _values(run["children"], f"{place}{number}.")


def _sorted(items: Iterable[Json]) -> list[Json]:
    def step(metric: Metric) -> int:
        # Not its value, which may be a time: where a run stands must not depend on chance.
        return metric.step

    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True, default=step))
