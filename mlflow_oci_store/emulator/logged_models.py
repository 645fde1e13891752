"""The operations on a workspace's logged models.

The documented API has the search alone. The others are MLflow's own routes, with MLflow's verbs and
JSON, and are served only if the emulator is told to (``schema.with_logged_models``).
"""

from __future__ import annotations

from collections.abc import Sequence

from mlflow.entities import (
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
)
from mlflow.protos import service_pb2 as pb2

from mlflow_oci_store.emulator.answers import invalid
from mlflow_oci_store.emulator.entities import (
    Json,
    experiment_number,
    experiment_numbers,
    logged_model_json,
    page_json,
)
from mlflow_oci_store.emulator.workspaces import TrackingStore


class LoggedModelOperations:
    """The operations on the logged models of one workspace."""

    def __init__(self, store: TrackingStore) -> None:
        self._store = store

    def list_logged_models(
        self,
        experiment_ids: Sequence[str] = (),
        max_results: int | None = None,
        page_token: str | None = None,
        filter: str | None = None,  # noqa: A002 - the service's name for it
        order_by: Sequence[Json] | None = None,
        datasets: Sequence[Json] | None = None,
    ) -> Json:
        page = self._store.search_logged_models(
            experiment_numbers(experiment_ids),
            filter_string=filter,
            datasets=datasets,
            max_results=max_results,
            order_by=order_by,
            page_token=page_token,
        )
        return page_json("models", map(logged_model_json, page), page.token)

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        model_type: str | None = None,
        source_run_id: str | None = None,
        params: Sequence[Json] = (),
        tags: Sequence[Json] = (),
    ) -> Json:
        model = self._store.create_logged_model(
            experiment_number(experiment_id),
            name or None,
            source_run_id,
            [_tag(tag) for tag in tags],
            [_param(param) for param in params],
            model_type,
        )
        return {"model": logged_model_json(model)}

    def get_logged_model(self, model: str, allow_deleted: bool = False) -> Json:
        # MLflow's older stores do not know the question.
        asked = {"allow_deleted": True} if allow_deleted else {}
        return {"model": logged_model_json(self._store.get_logged_model(model, **asked))}

    def finalize_logged_model(self, model: str, model_id: str, status: str) -> Json:
        statuses = dict(pb2.LoggedModelStatus.items())
        if status not in statuses:
            raise invalid(f"body.status {status!r} is not one of {', '.join(statuses)}")
        code = LoggedModelStatus.from_proto(statuses[status])
        return {"model": logged_model_json(self._store.finalize_logged_model(model_id, code))}

    def delete_logged_model(self, model: str) -> Json:
        self._store.delete_logged_model(model)
        return {}

    def set_logged_model_tags(
        self, model: str, model_id: str | None = None, tags: Sequence[Json] = ()
    ) -> Json:
        self._store.set_logged_model_tags(model, [_tag(tag) for tag in tags])
        return {}

    def delete_logged_model_tag(self, model: str, tag_key: str) -> Json:
        self._store.delete_logged_model_tag(model, tag_key)
        return {}

    def log_logged_model_params(
        self, model: str, model_id: str, params: Sequence[Json] = ()
    ) -> Json:
        self._store.log_logged_model_params(model_id, [_param(param) for param in params])
        return {}

    def log_run_outputs(self, run_id: str, models: Sequence[Json] = ()) -> Json:
        outputs = [LoggedModelOutput(each["model_id"], each.get("step", 0)) for each in models]
        self._store.log_outputs(run_id, outputs)
        return {}


def _tag(tag: Json) -> LoggedModelTag:
    return LoggedModelTag(tag["key"], tag.get("value", ""))


def _param(param: Json) -> LoggedModelParameter:
    return LoggedModelParameter(param["key"], param.get("value", ""))
