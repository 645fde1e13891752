"""Registered models and model versions out of the service's JSON.

As in ``client/wire.py``, entities are made straight from the parsed JSON, and what is missing or of
the wrong type raises KeyError, TypeError or ValueError, which the client turns into an error that
quotes the answer. Reserved tags are not shown as tags; what they hold is shown in its place.

Source: the schemas RegisteredModel and ModelVersion of the REST API (version 20260430).
"""

from __future__ import annotations

from typing import Any

from mlflow.entities import LoggedModelParameter
from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionDeploymentJobState,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelAlias,
    RegisteredModelTag,
)
from mlflow.entities.model_registry.model_version_status import ModelVersionStatus

from mlflow_oci_store.client import wire
from mlflow_oci_store.registry.aliases import aliases_of
from mlflow_oci_store.reserved_tags import PREFIX, is_reserved

Json = dict[str, Any]

# The service keeps where a version's files lie. A user may have named them in another way, as
# ``models:/<model_id>`` or ``runs:/<run_id>/<path>``: that is this tag's value.
SOURCE_TAG = f"{PREFIX}source"

_READY = ModelVersionStatus.to_string(ModelVersionStatus.READY)


def registered_model(content: Json) -> RegisteredModel:
    """Read the schema RegisteredModel."""
    return RegisteredModel(
        content["name"],
        wire.whole(content.get("creation_timestamp")),
        wire.whole(content.get("last_updated_timestamp")),
        content.get("description"),
        [model_version(version) for version in content.get("latest_versions") or ()],
        [RegisteredModelTag(key, value) for key, value in _shown_tags(content).items()],
        [RegisteredModelAlias(*alias) for alias in aliases_of(content).items()],
        content.get("deployment_job_id"),
        content.get("deployment_job_state"),
    )


def model_version(content: Json) -> ModelVersion:
    """Read the schema ModelVersion; its aliases are those that the service itself has."""
    metrics = content.get("model_metrics")
    params = content.get("model_params")
    return ModelVersion(
        content["name"],
        str(content["version"]),
        wire.whole(content.get("creation_timestamp")),
        wire.whole(content.get("last_updated_timestamp")),
        content.get("description"),
        content.get("user_id"),
        content.get("current_stage"),
        _tags(content).get(SOURCE_TAG, content.get("source")),
        content.get("run_id"),
        content.get("status") or _READY,
        content.get("status_message"),
        [ModelVersionTag(key, value) for key, value in _shown_tags(content).items()],
        content.get("run_link"),
        list(content.get("aliases") or ()),
        content.get("model_id"),
        params and [LoggedModelParameter(item["name"], item["value"]) for item in params],
        metrics and [wire.metric(item) for item in metrics],
        _deployment_job_state(content.get("deployment_job_state")),
    )


def _tags(content: Json) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in content.get("tags") or ()}


def _shown_tags(content: Json) -> dict[str, str]:
    return {key: value for key, value in _tags(content).items() if not is_reserved(key)}


def _deployment_job_state(content: Json | None) -> ModelVersionDeploymentJobState | None:
    if content is None:
        return None
    names = ("job_id", "run_id", "job_state", "run_state", "current_task_name")
    return ModelVersionDeploymentJobState(*(content.get(name) for name in names))
