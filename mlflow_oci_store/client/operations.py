"""The table of the service's operations: what each is called, where it lives, what it does.

Names and paths are those of the REST API (version 20260430) as Oracle's Python SDK has them; the
tests hold every row against the SDK. All paths lie under

    /<version>/aiDataPlatforms/<ocid>/workspaces/<key>/mlops/api/2.0/mlflow/   (WORKSPACE)
    /<version>/aiDataPlatforms/<ocid>/mlops/api/2.0/mlflow/                    (PLATFORM)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple


class Scope(Enum):
    """Which part of the platform an operation's path names."""

    PLATFORM = "platform"
    WORKSPACE = "workspace"


class Effect(Enum):
    """What a call does, and so what is known when its answer is lost."""

    READ = "read"  # changes nothing: no retry token
    WRITE = "write"  # changes something and answers nothing of it: once applied, all is known
    CREATE = "create"  # changes something and answers with it: a lost answer must be looked up


class Operation(NamedTuple):
    """One row of the table.

    Args:
        name: The SDK's name of the operation, which error messages use too.
        method: ``GET`` or ``POST``; the documented API has no other.
        scope: Whose path it lives under.
        path: The part after ``.../mlflow/``; ``{name}`` stands for a path parameter.
        effect: What a call does.
        retry_token: Whether the API takes an ``opc-retry-token`` here.
    """

    name: str
    method: str
    scope: Scope
    path: str
    effect: Effect
    retry_token: bool


_PLATFORM, _WORKSPACE = Scope.PLATFORM, Scope.WORKSPACE
_READ, _WRITE, _CREATE = Effect.READ, Effect.WRITE, Effect.CREATE

_ROWS = (
    # experiments
    ("create_experiment", "POST", _WORKSPACE, "experiments/create", _CREATE),
    ("get_experiment_by_id", "GET", _WORKSPACE, "experiments/get", _READ),
    ("get_experiment_by_name", "GET", _WORKSPACE, "experiments/get-by-name", _READ),
    ("list_experiments", "POST", _WORKSPACE, "experiments/search", _READ),
    ("update_experiment", "POST", _WORKSPACE, "experiments/update", _WRITE),
    ("delete_experiment", "POST", _WORKSPACE, "experiments/delete", _WRITE),
    ("restore_experiment", "POST", _WORKSPACE, "experiments/restore", _WRITE),
    ("set_experiment_tag", "POST", _WORKSPACE, "experiments/set-experiment-tag", _WRITE),
    ("delete_experiment_tag", "POST", _WORKSPACE, "experiments/delete-experiment-tag", _WRITE),
    (
        "update_experiment_tags",
        "POST",
        _WORKSPACE,
        "internal/experiments/update-experiment-tags",
        _WRITE,
    ),
    # runs
    ("create_experiment_run", "POST", _WORKSPACE, "runs/create", _CREATE),
    ("get_experiment_run_by_id", "GET", _WORKSPACE, "runs/get", _READ),
    ("list_experiment_runs", "POST", _WORKSPACE, "runs/search", _READ),
    ("update_experiment_run", "POST", _WORKSPACE, "runs/update", _CREATE),
    ("delete_experiment_run", "POST", _WORKSPACE, "runs/delete", _WRITE),
    ("restore_experiment_run", "POST", _WORKSPACE, "runs/restore", _WRITE),
    ("log_experiment_run_batch", "POST", _WORKSPACE, "runs/log-batch", _WRITE),
    ("log_experiment_run_metric", "POST", _WORKSPACE, "runs/log-metric", _WRITE),
    ("log_experiment_run_param", "POST", _WORKSPACE, "runs/log-parameter", _WRITE),
    ("log_experiment_run_inputs", "POST", _WORKSPACE, "runs/log-inputs", _WRITE),
    ("log_experiment_run_model", "POST", _WORKSPACE, "runs/log-model", _WRITE),
    ("set_experiment_run_tag", "POST", _WORKSPACE, "runs/set-tag", _WRITE),
    ("delete_experiment_run_tag", "POST", _WORKSPACE, "runs/delete-tag", _WRITE),
    ("update_experiment_run_tags", "POST", _WORKSPACE, "internal/runs/update-tags", _WRITE),
    ("get_experiment_run_metric_history", "GET", _WORKSPACE, "metrics/get-history", _READ),
    ("list_artifacts", "GET", _WORKSPACE, "artifacts/list", _READ),
    ("list_logged_models", "POST", _WORKSPACE, "logged-models/search", _READ),
    # the model registry
    ("create_registered_model", "POST", _PLATFORM, "registered-models/create", _CREATE),
    ("get_registered_model", "GET", _PLATFORM, "registered-models/get", _READ),
    ("list_registered_models", "GET", _PLATFORM, "registered-models/search", _READ),
    ("rename_registered_model", "POST", _PLATFORM, "registered-models/rename", _CREATE),
    ("update_registered_model", "POST", _PLATFORM, "registered-models/update", _CREATE),
    ("delete_registered_model", "POST", _PLATFORM, "registered-models/delete", _WRITE),
    ("set_registered_model_tag", "POST", _PLATFORM, "registered-models/set-tag", _WRITE),
    ("delete_registered_model_tag", "POST", _PLATFORM, "registered-models/delete-tag", _WRITE),
    (
        "update_registered_model_tags",
        "POST",
        _PLATFORM,
        "internal/registered-models/update-tags",
        _WRITE,
    ),
    (
        "list_registered_model_permissions",
        "GET",
        _PLATFORM,
        "registered-models/{registeredModelKey}/permissions",
        _READ,
    ),
    (
        "manage_registered_model_permission",
        "POST",
        _PLATFORM,
        "registered-models/{registeredModelKey}/actions/managePermission",
        _WRITE,
    ),
    ("create_model_version", "POST", _PLATFORM, "model-versions/create", _CREATE),
    ("create_workspace_model_version", "POST", _WORKSPACE, "model-versions/create", _CREATE),
    ("get_model_version", "GET", _PLATFORM, "model-versions/get", _READ),
    ("list_model_versions", "GET", _PLATFORM, "model-versions/search", _READ),
    ("update_model_version", "POST", _PLATFORM, "model-versions/update", _CREATE),
    (
        "transition_model_version_stage",
        "POST",
        _PLATFORM,
        "model-versions/transition-stage",
        _CREATE,
    ),
    ("delete_model_version", "POST", _PLATFORM, "model-versions/delete", _WRITE),
    ("set_model_version_tag", "POST", _PLATFORM, "model-versions/set-tag", _WRITE),
    ("delete_model_version_tag", "POST", _PLATFORM, "model-versions/delete-tag", _WRITE),
    (
        "update_model_version_tags",
        "POST",
        _PLATFORM,
        "internal/model-versions/update-tags",
        _WRITE,
    ),
)

# Granting and revoking are idempotent by nature; the API takes no token for them.
_WITHOUT_RETRY_TOKEN = frozenset({"manage_registered_model_permission"})

# MLflow's own routes for logged models, which the documented API lacks and a later one may have.
_LOGGED_MODEL_ROWS = (
    ("create_logged_model", "POST", _WORKSPACE, "logged-models", _CREATE),
    ("get_logged_model", "GET", _WORKSPACE, "logged-models/{modelId}", _READ),
    ("finalize_logged_model", "PATCH", _WORKSPACE, "logged-models/{modelId}", _CREATE),
    ("delete_logged_model", "DELETE", _WORKSPACE, "logged-models/{modelId}", _WRITE),
    ("set_logged_model_tags", "PATCH", _WORKSPACE, "logged-models/{modelId}/tags", _WRITE),
    (
        "delete_logged_model_tag",
        "DELETE",
        _WORKSPACE,
        "logged-models/{modelId}/tags/{tagKey}",
        _WRITE,
    ),
    ("log_logged_model_params", "POST", _WORKSPACE, "logged-models/{modelId}/params", _WRITE),
    ("log_run_outputs", "POST", _WORKSPACE, "runs/outputs", _WRITE),
)


def _table(rows: Iterable[tuple[str, str, Scope, str, Effect]]) -> MappingProxyType[str, Operation]:
    return MappingProxyType(
        {
            name: Operation(
                name,
                method,
                scope,
                path,
                effect,
                effect is not _READ and name not in _WITHOUT_RETRY_TOKEN,
            )
            for name, method, scope, path, effect in rows
        }
    )


OPERATIONS = _table(_ROWS)
LOGGED_MODEL_ROUTES = _table(_LOGGED_MODEL_ROWS)
