"""MLflow's entities as the service writes them in JSON.

Absent values are left out, and NaN is a string, as in protobuf's JSON mapping.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    LoggedModel,
    Metric,
    Run,
    RunInfo,
)
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.protos import service_pb2 as pb2

from mlflow_oci_store.emulator.answers import not_found

Json = dict[str, Any]


def experiment_id_out(number: str) -> str:
    """MLflow's experiment number as the opaque id of the service."""
    return f"exp-{int(number):012x}"


def experiment_id_in(experiment_id: str | None) -> str | None:
    """The experiment number behind an id, or None when the service never gave such an id."""
    match = re.fullmatch(r"exp-([0-9a-f]{12})", experiment_id or "")
    return str(int(match[1], 16)) if match else None


def experiment_number(experiment_id: str | None) -> str:
    """The experiment number behind an id.

    Raises:
        Refusal: 404 NotAuthorizedOrNotFound, when the service never gave such an id.
    """
    number = experiment_id_in(experiment_id)
    if number is None:
        raise not_found(f"there is no experiment {experiment_id!r}")
    return number


def experiment_numbers(experiment_ids: Sequence[str]) -> list[str]:
    """Experiments to search in; what does not exist holds nothing to be found."""
    return [number for each in experiment_ids if (number := experiment_id_in(each))]


def pairs(tags: Mapping[str, Any], name: str = "key") -> list[Json]:
    """A mapping as a list of objects, such as tags and params."""
    return [{name: key, "value": value} for key, value in tags.items()]


def experiment_json(experiment: Experiment) -> Json:
    return _present(
        experiment_id=experiment_id_out(experiment.experiment_id),
        name=experiment.name,
        artifact_location=experiment.artifact_location,
        lifecycle_stage=experiment.lifecycle_stage,
        creation_time=experiment.creation_time,
        last_update_time=experiment.last_update_time,
        tags=pairs(experiment.tags),
    )


def metric_json(metric: Metric) -> Json:
    return {
        "key": metric.key,
        # The store has no infinities: it keeps the largest numbers in their place.
        "value": "NaN" if math.isnan(metric.value) else metric.value,
        "timestamp": metric.timestamp,
        "step": metric.step,
    }


def run_info_json(info: RunInfo) -> Json:
    return _present(
        run_id=info.run_id,
        run_uuid=info.run_id,
        run_name=info.run_name,
        experiment_id=experiment_id_out(info.experiment_id),
        user_id=info.user_id,
        status=info.status,
        start_time=info.start_time,
        end_time=info.end_time,
        artifact_uri=info.artifact_uri,
        lifecycle_stage=info.lifecycle_stage,
    )


def run_json(run: Run) -> Json:
    inputs, outputs = run.inputs, run.outputs
    return {
        "info": run_info_json(run.info),
        "data": {
            # The dictionary of metrics has lost timestamps and steps; the list behind it has not.
            "metrics": [metric_json(metric) for metric in run.data._metric_objs],
            "params": pairs(run.data.params),
            "tags": pairs(run.data.tags),
        },
        "inputs": {
            "dataset_inputs": [dataset_input_json(each) for each in inputs.dataset_inputs],
            "model_inputs": [{"model_id": each.model_id} for each in inputs.model_inputs or []],
        },
        "outputs": {
            "model_outputs": [
                {"model_id": each.model_id, "step": each.step}
                for each in (outputs.model_outputs if outputs else None) or []
            ]
        },
    }


def dataset_input_json(dataset_input: DatasetInput) -> Json:
    return {
        "dataset": _dataset_json(dataset_input.dataset),
        "tags": [{"key": tag.key, "value": tag.value} for tag in dataset_input.tags],
    }


def _dataset_json(dataset: Dataset) -> Json:
    return _present(
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema,
        profile=dataset.profile,
    )


def logged_model_json(model: LoggedModel) -> Json:
    return {
        "info": _present(
            model_id=model.model_id,
            experiment_id=experiment_id_out(model.experiment_id),
            name=model.name,
            creation_timestamp_ms=model.creation_timestamp,
            last_updated_timestamp_ms=model.last_updated_timestamp,
            artifact_uri=model.artifact_location,
            status=pb2.LoggedModelStatus.Name(model.status.to_proto()),
            model_type=model.model_type,
            source_run_id=model.source_run_id,
            tags=pairs(model.tags),
        ),
        "data": {
            "params": pairs(model.params),
            "metrics": [
                metric_json(metric)
                | _present(
                    model_id=metric.model_id,
                    run_id=metric.run_id,
                    dataset_name=metric.dataset_name,
                    dataset_digest=metric.dataset_digest,
                )
                for metric in model.metrics or []
            ],
        },
    }


def registered_model_json(model: RegisteredModel) -> Json:
    return _present(
        name=model.name,
        creation_timestamp=model.creation_timestamp,
        last_updated_timestamp=model.last_updated_timestamp,
        description=model.description,
        latest_versions=[model_version_json(each) for each in model.latest_versions or []],
        aliases=[
            {"alias": alias, "version": str(version)} for alias, version in model.aliases.items()
        ],
        # Its property leaves out the tag that makes a registered model a prompt.
        tags=pairs(model._tags),
    )


def model_version_json(version: ModelVersion) -> Json:
    return _present(
        name=version.name,
        version=str(version.version),
        creation_timestamp=version.creation_timestamp,
        last_updated_timestamp=version.last_updated_timestamp,
        user_id=version.user_id,
        current_stage=version.current_stage,
        description=version.description,
        source=version.source,
        run_id=version.run_id,
        run_link=version.run_link,
        status=version.status,
        status_message=version.status_message,
        tags=pairs(version.tags),
        aliases=list(version.aliases),
    )


def page_json(name: str, items: Iterable[Json], token: str | bytes | None) -> Json:
    """One page of a list; MLflow's stores make some of their page tokens as bytes."""
    if isinstance(token, bytes):
        token = token.decode("ascii")
    return _present(**{name: list(items), "next_page_token": token})


def _present(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
