"""The operations of a workspace: experiments, runs, metrics, params, tags, inputs, artifacts.

Each method has the name of an operation and takes that operation's fields. It translates between
the service and MLflow's store, which decides everything else: what is valid, what is found, in
which order results come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    LifecycleStage,
    LoggedModelInput,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.models import Model
from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT
from mlflow.utils.mlflow_tags import MLFLOW_USER
from mlflow.utils.time import get_current_time_millis
from mlflow.utils.uri import validate_path_is_safe

from mlflow_oci_store.emulator.answers import invalid, not_found
from mlflow_oci_store.emulator.entities import (
    Json,
    experiment_id_in,
    experiment_id_out,
    experiment_json,
    experiment_number,
    experiment_numbers,
    metric_json,
    page_json,
    run_info_json,
    run_json,
)
from mlflow_oci_store.emulator.logged_models import LoggedModelOperations
from mlflow_oci_store.emulator.principals import Principal
from mlflow_oci_store.emulator.registry import RegistryOperations, require_tags
from mlflow_oci_store.emulator.workspaces import Workspace

ARTIFACTS_PAGE = 1000

_VIEW_TYPES: dict[str, int] = {
    "ACTIVE_ONLY": ViewType.ACTIVE_ONLY,
    "DELETED_ONLY": ViewType.DELETED_ONLY,
    "ALL": ViewType.ALL,
}
_COMPARED_IDS = re.compile(
    r"\bexperiment_id\s*(?:!?=|(?:NOT\s+)?IN)\s*(?:\([^)]*\)|'[^']*'|\"[^\"]*\")", re.IGNORECASE
)
_QUOTED = re.compile(r"['\"]([^'\"]*)['\"]")
_MODEL_FIELDS = frozenset({"artifact_path", "flavors", "utc_time_created", "run_id"})


class TrackingOperations(LoggedModelOperations):
    """The operations of one workspace, for one caller."""

    def __init__(self, workspace: Workspace, principal: Principal) -> None:
        super().__init__(workspace.store)
        self._workspace = workspace
        self._principal = principal

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Sequence[Json] = ()
    ) -> Json:
        number = self._store.create_experiment(
            name, artifact_location, [_experiment_tag(tag) for tag in tags]
        )
        return {"experiment_id": experiment_id_out(number)}

    def get_experiment_by_id(self, experiment_id: str) -> Json:
        return {
            "experiment": experiment_json(
                self._store.get_experiment(experiment_number(experiment_id))
            )
        }

    def get_experiment_by_name(self, experiment_name: str) -> Json:
        experiment = self._store.get_experiment_by_name(experiment_name)
        if experiment is None:
            raise not_found(f"there is no experiment named {experiment_name!r}")
        return {"experiment": experiment_json(experiment)}

    def list_experiments(
        self,
        max_results: int = SEARCH_MAX_RESULTS_DEFAULT,
        page_token: str | None = None,
        filter: str | None = None,  # noqa: A002 - the service's name for it
        order_by: Sequence[str] | None = None,
        view_type: str = "ACTIVE_ONLY",
    ) -> Json:
        page = self._store.search_experiments(
            view_type=_view_type(view_type),
            max_results=max_results,
            filter_string=_by_number(filter),
            order_by=order_by,
            page_token=page_token,
        )
        return page_json("experiments", map(experiment_json, page), page.token)

    def update_experiment(self, experiment_id: str, new_name: str | None = None) -> Json:
        number = experiment_number(experiment_id)
        if new_name is None:
            self._store.get_experiment(number)
        else:
            self._store.rename_experiment(number, new_name)
        return {}

    def delete_experiment(self, experiment_id: str, is_permanent: bool = False) -> Json:
        number = experiment_number(experiment_id)
        if not is_permanent:
            self._store.delete_experiment(number)
            return {}
        if self._store.get_experiment(number).lifecycle_stage == LifecycleStage.ACTIVE:
            self._store.delete_experiment(number)
        self._store._hard_delete_experiment(number)
        return {}

    def restore_experiment(self, experiment_id: str) -> Json:
        self._store.restore_experiment(experiment_number(experiment_id))
        return {}

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> Json:
        self._store.set_experiment_tag(experiment_number(experiment_id), ExperimentTag(key, value))
        return {}

    def delete_experiment_tag(self, experiment_id: str, key: str) -> Json:
        self._store.delete_experiment_tag(experiment_number(experiment_id), key)
        return {}

    def update_experiment_tags(
        self, experiment_id: str, set_tags: Sequence[Json] = (), delete_tags: Sequence[Json] = ()
    ) -> Json:
        number = experiment_number(experiment_id)
        gone = [tag["key"] for tag in delete_tags]
        require_tags(gone, self._store.get_experiment(number).tags)
        for tag in set_tags:
            self._store.set_experiment_tag(number, _experiment_tag(tag))
        for key in gone:
            self._store.delete_experiment_tag(number, key)
        return {}

    def create_experiment_run(
        self,
        experiment_id: str | None = None,
        run_name: str | None = None,
        start_time: int | None = None,
        tags: Sequence[Json] = (),
    ) -> Json:
        run_tags = [_run_tag(tag) for tag in tags]
        # MLflow's own client sends the user twice, as field and as this tag. The service has no
        # such field, so the tag decides, and without it the signature.
        user = next((tag.value for tag in run_tags if tag.key == MLFLOW_USER), None)
        run = self._store.create_run(
            experiment_number(experiment_id),
            user or self._principal.name,
            get_current_time_millis() if start_time is None else start_time,
            run_tags,
            run_name,
        )
        return {"run": run_json(run)}

    def get_experiment_run_by_id(self, run_id: str) -> Json:
        return {"run": run_json(self._store.get_run(run_id))}

    def list_experiment_runs(
        self,
        experiment_ids: Sequence[str] = (),
        max_results: int = SEARCH_MAX_RESULTS_DEFAULT,
        page_token: str | None = None,
        filter: str | None = None,  # noqa: A002 - the service's name for it
        order_by: Sequence[str] | None = None,
        run_view_type: str = "ACTIVE_ONLY",
    ) -> Json:
        page = self._store.search_runs(
            experiment_ids=experiment_numbers(experiment_ids),
            filter_string=filter,
            run_view_type=_view_type(run_view_type),
            max_results=max_results,
            order_by=order_by,
            page_token=page_token,
        )
        return page_json("runs", map(run_json, page), page.token)

    def update_experiment_run(
        self,
        run_id: str,
        status: str | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> Json:
        if status is not None and status not in map(RunStatus.to_string, RunStatus.all_status()):
            raise invalid(f"body.status {status!r} is not a run status")
        code = RunStatus.from_string(status) if status is not None else None
        info = self._store.update_run_info(run_id, code, end_time, run_name)
        return {"run_info": run_info_json(info)}

    def delete_experiment_run(self, run_id: str, is_permanent: bool = False) -> Json:
        if is_permanent:
            self._store._hard_delete_run(run_id)
        else:
            self._store.delete_run(run_id)
        return {}

    def restore_experiment_run(self, run_id: str) -> Json:
        self._store.restore_run(run_id)
        return {}

    def log_experiment_run_batch(
        self,
        run_id: str,
        metrics: Sequence[Json] = (),
        params: Sequence[Json] = (),
        tags: Sequence[Json] = (),
    ) -> Json:
        self._store.log_batch(
            run_id,
            [_metric(**metric) for metric in metrics],
            [Param(param.get("key"), param.get("value", "")) for param in params],
            [_run_tag(tag) for tag in tags],
        )
        return {}

    def log_experiment_run_metric(self, run_id: str, **metric: Any) -> Json:
        self._store.log_metric(run_id, _metric(**metric))
        return {}

    def log_experiment_run_param(self, run_id: str, key: str, value: str) -> Json:
        self._store.log_param(run_id, Param(key, value))
        return {}

    def set_experiment_run_tag(self, run_id: str, key: str, value: str) -> Json:
        self._store.set_tag(run_id, RunTag(key, value))
        return {}

    def delete_experiment_run_tag(self, run_id: str, key: str) -> Json:
        self._store.delete_tag(run_id, key)
        return {}

    def update_experiment_run_tags(
        self, run_id: str, set_tags: Sequence[Json] = (), delete_tags: Sequence[Json] = ()
    ) -> Json:
        gone = [tag["key"] for tag in delete_tags]
        require_tags(gone, self._store.get_run(run_id).data.tags)
        self._store.log_batch(run_id, [], [], [_run_tag(tag) for tag in set_tags])
        for key in gone:
            self._store.delete_tag(run_id, key)
        return {}

    def log_experiment_run_inputs(
        self, run_id: str, dataset_inputs: Sequence[Json] = (), models: Sequence[Json] = ()
    ) -> Json:
        self._store.log_inputs(
            run_id,
            [
                DatasetInput(
                    Dataset(
                        name=each["dataset"]["name"],
                        digest=each["dataset"]["digest"],
                        source_type=each["dataset"]["source_type"],
                        source=each["dataset"]["source"],
                        schema=each["dataset"].get("schema"),
                        profile=each["dataset"].get("profile"),
                    ),
                    [InputTag(tag["key"], tag["value"]) for tag in each.get("tags", ())],
                )
                for each in dataset_inputs
            ],
            [LoggedModelInput(model["model_id"]) for model in models],
        )
        return {}

    def log_experiment_run_model(self, run_id: str, model_json: str) -> Json:
        try:
            model = json.loads(model_json)
        except ValueError:
            raise invalid("body.model_json is not JSON") from None
        if not isinstance(model, dict) or (missing := _MODEL_FIELDS - model.keys()):
            listed = ", ".join(sorted(missing if isinstance(model, dict) else _MODEL_FIELDS))
            raise invalid(f"body.model_json has no {listed}")
        self._store.record_logged_model(run_id, Model.from_dict(model))
        return {}

    def get_experiment_run_metric_history(
        self,
        run_id: str,
        metric_key: str,
        page_token: str | None = None,
        max_results: int | None = None,
    ) -> Json:
        if max_results is not None and max_results < 1:
            raise invalid("query.max_results must be at least 1")
        page = self._store.get_metric_history(run_id, metric_key, max_results, page_token)
        return page_json("metrics", map(metric_json, page), page.token)

    def list_artifacts(
        self,
        run_id: str,
        path: str | None = None,
        page_token: str | None = None,
    ) -> Json:
        root = self._store.get_run(run_id).info.artifact_uri
        folder = validate_path_is_safe(path) if path else ""
        in_bucket = root.removeprefix(f"{self._workspace.bucket.uri}/")
        if in_bucket == root:
            raise not_found(f"{root} is not in the bucket of this emulator")
        start = f"{in_bucket}/{folder}/" if folder else f"{in_bucket}/"
        page = self._workspace.bucket.listing(start, page_token or "", None, "/", ARTIFACTS_PAGE)
        below = len(in_bucket) + 1
        files = [
            *({"path": name[below:-1], "is_dir": True} for name in page.folders),
            *(
                {"path": each.name[below:], "is_dir": False, "file_size": each.size}
                for each in page.objects
            ),
        ]
        return {"root_uri": root, **page_json("files", files, page.next_start)}

    def create_workspace_model_version(self, **fields: Any) -> Json:
        with self._workspace.platform.writing:
            return RegistryOperations(self._workspace.platform).create_model_version(**fields)


def _by_number(filter_string: str | None) -> str | None:
    """Put MLflow's numbers in where a filter compares ``experiment_id`` with ids of the service.

    An id that the service never gave becomes a number that MLflow never gives.
    """
    return filter_string and _COMPARED_IDS.sub(
        lambda comparison: _QUOTED.sub(
            lambda quoted: f"'{experiment_id_in(quoted[1]) or -1}'", comparison[0]
        ),
        filter_string,
    )


def _view_type(name: str) -> int:
    if name not in _VIEW_TYPES:
        raise invalid(f"{name!r} is not a view type; write one of {', '.join(_VIEW_TYPES)}")
    return _VIEW_TYPES[name]


def _metric(
    key: str | None = None,
    value: float | None = None,
    timestamp: int | None = None,
    step: int = 0,
    **of_a_model: str,
) -> Metric:
    return Metric(key, value, timestamp, step, **of_a_model)


def _run_tag(tag: Json) -> RunTag:
    return RunTag(tag.get("key"), tag.get("value", ""))


def _experiment_tag(tag: Json) -> ExperimentTag:
    return ExperimentTag(tag["key"], tag.get("value", ""))
