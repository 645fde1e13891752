"""Logged models on a service without endpoints for them: each is kept in tags of its home.

A model's home is its source run, or its experiment when it has no active source run there. The
home is part of the model's id (``model_id``). Under ``mlflow-oci-store.model.<number>`` lie

    (nothing)         name, type, experiment, run, location, time of creation   once
    .status           the status, and when it was set                           last one counts
    .deleted          when the model was deleted                                once
    .tag.<hash>       key and value of one of the model's tags                  last one counts
    .version.<hash>   a model version that was made of it                       once
    .params.<hash>    some of its params                                        once
    .metrics.<hash>   some of its metrics                                       once

Each is one record (``record``), and nothing is ever read, changed and written back: writers in any
number of threads and processes lose nothing of each other's.

A model's files lie below the run's artifact root, in a folder with the model's name, where
``runs:/<run_id>/<name>``, MLflow 2 and the service itself look for them. A second model of the name
must not get the same folder. Who was first is decided by the service: it never changes a param, so
the creation that sets the folder's param has the folder, and others get one of their own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cachetools import TTLCache
from mlflow.entities import (
    LoggedModel,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from mlflow.utils.time import get_current_time_millis
from mlflow.utils.uri import append_to_uri_path

from mlflow_oci_store.client import wire
from mlflow_oci_store.reserved_tags import PREFIX
from mlflow_oci_store.tracking.batch import log_batch_bodies
from mlflow_oci_store.tracking.model_id import Home, HomeKind, KeptModelId
from mlflow_oci_store.tracking.ordered_client import OrderedClient
from mlflow_oci_store.tracking.record import digest, record_content, record_tags

Json = dict[str, Any]

_MODEL = f"{PREFIX}model."
_FOLDER = f"{PREFIX}folder."
# Set on every run that is a home: it is what a search looks for.
_IS_HOME = RunTag(f"{PREFIX}models", "1")
_FIND_HOMES = f"tags.`{_IS_HOME.key}` = '{_IS_HOME.value}'"
_RUNS_ON_A_PAGE = 1000
# As many tags as a batch may have; no limit is known for this request.
_TAGS_IN_A_REQUEST = 100
# How many runs and models are remembered, and how long.
_REMEMBERED, _REMEMBERED_SECONDS = 4096, 3600.0


class KeptModels:
    """The logged models that are kept in tags.

    Args:
        client: The way to the service.
    """

    def __init__(self, client: OrderedClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        # Experiment and artifact root of runs, neither of which ever changes.
        self._places: TTLCache[str, tuple[str, str]] = TTLCache(_REMEMBERED, _REMEMBERED_SECONDS)
        # Models that exist: their home need not be asked before something is written for them.
        self._known: TTLCache[KeptModelId, bool] = TTLCache(_REMEMBERED, _REMEMBERED_SECONDS)

    def create(
        self,
        experiment_id: str,
        name: str | None,
        source_run_id: str | None,
        tags: Sequence[LoggedModelTag],
        params: Sequence[LoggedModelParameter],
        model_type: str | None,
    ) -> LoggedModel:
        """Create a model; its status is PENDING."""
        home, root = self._home(experiment_id, source_run_id)
        model_id = KeptModelId.new(home)
        now = get_current_time_millis()
        if not name:
            from mlflow.utils.name_utils import _generate_random_name

            name = _generate_random_name()
        model = LoggedModel(
            experiment_id=experiment_id,
            model_id=str(model_id),
            name=name,
            artifact_location=append_to_uri_path(root, name),
            creation_timestamp=now,
            last_updated_timestamp=now,
            model_type=model_type,
            source_run_id=source_run_id,
            status=LoggedModelStatus.PENDING,
            tags=list(tags),
            params=list(params),
            metrics=[],
        )
        details = [
            *_tag_records(model_id, model.tags),
            *_params_record(model_id, model.params),
            _IS_HOME,
        ]
        if home.kind is HomeKind.EXPERIMENT:
            model.artifact_location = append_to_uri_path(root, "models", str(model_id), "artifacts")
            self._create(home, [*details, *_base_record(model_id, model)])
        else:
            folder = Param(f"{_FOLDER}{digest(name)}", model_id.number)
            try:
                self._create(home, [*details, *_base_record(model_id, model)], [folder])
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE):
                    raise
                model.artifact_location = append_to_uri_path(root, f"{name}-{model_id.number}")
                self._create(home, [*details, *_base_record(model_id, model)])
        self._remember(model_id)
        return model

    def get(self, model_id: KeptModelId, allow_deleted: bool = False) -> LoggedModel:
        """Get a model.

        Raises:
            MlflowException: RESOURCE_DOES_NOT_EXIST, also for a deleted model unless it is asked
                for.
        """
        try:
            found = self._read(model_id.home).get(model_id)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            raise _not_found(model_id) from error
        if found is None:
            raise _not_found(model_id)
        self._remember(model_id)
        model, is_deleted = found
        if is_deleted and not allow_deleted:
            raise _not_found(model_id)
        return model

    def finalize(self, model_id: KeptModelId, status: LoggedModelStatus) -> LoggedModel:
        """Set a model's status, and return the model."""
        model = self.get(model_id, allow_deleted=True)
        now = get_current_time_millis()
        self._write(
            model_id.home, record_tags(_key(model_id, "status"), {"status": str(status), "at": now})
        )
        model.status = status
        model.last_updated_timestamp = now
        return model

    def set_tags(self, model_id: KeptModelId, tags: Sequence[LoggedModelTag]) -> None:
        """Set tags of a model."""
        self._require(model_id)
        self._write(model_id.home, _tag_records(model_id, {tag.key: tag.value for tag in tags}))

    def delete_tag(self, model_id: KeptModelId, key: str) -> None:
        """Delete a tag of a model."""
        self._require(model_id)
        home = model_id.home
        record = _tag_key(model_id, key)
        try:
            if home.kind is HomeKind.RUN:
                fields = {"run_id": home.id, "key": record}
                self._client.log(home.id, "delete_experiment_run_tag", fields)
            else:
                fields = {"experiment_id": home.id, "key": record}
                self._client.call("delete_experiment_tag", fields, wire.nothing)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            raise MlflowException(
                f"No tag with key {key!r} found for model with ID '{model_id}'.",
                RESOURCE_DOES_NOT_EXIST,
            ) from error

    def add_version(self, model_id: KeptModelId, name: str, version: str) -> None:
        """Note that a model version was made of a model."""
        self._require(model_id)
        content = {"name": name, "version": version}
        self._write(
            model_id.home, record_tags(_key(model_id, f"version.{digest(content)}"), content)
        )

    def log_params(self, model_id: KeptModelId, params: Sequence[LoggedModelParameter]) -> None:
        """Add params to a model.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, when the model has one of them with another
                value.
        """
        present = self.get(model_id, allow_deleted=True).params
        for param in params:
            if present.get(param.key, param.value) != param.value:
                raise MlflowException(
                    f"Param {param.key!r} of model '{model_id}' is {present[param.key]!r} already, "
                    "and a param never changes.",
                    INVALID_PARAMETER_VALUE,
                )
        self._write(
            model_id.home, _params_record(model_id, {param.key: param.value for param in params})
        )

    def delete(self, model_id: KeptModelId) -> None:
        """Mark a model as deleted."""
        self._require(model_id)
        self._write(
            model_id.home,
            record_tags(_key(model_id, "deleted"), {"at": get_current_time_millis()}),
        )

    def search(self, experiment_ids: Sequence[str]) -> list[LoggedModel]:
        """Get all models of experiments, in no particular order, without the deleted ones."""
        found: dict[KeptModelId, tuple[LoggedModel, bool]] = {}
        for experiment_id in experiment_ids:
            try:
                found |= self._read(Home(HomeKind.EXPERIMENT, experiment_id))
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    raise
        token: str | None = None
        while experiment_ids:
            fields = {
                "experiment_ids": list(experiment_ids),
                "filter": _FIND_HOMES,
                "run_view_type": wire.view_type_json(ViewType.ALL),
                "max_results": _RUNS_ON_A_PAGE,
                "page_token": token,
            }
            page = self._client.call(
                "list_experiment_runs", fields, lambda it: wire.page(it, "runs", _models_of_run)
            )
            for models in page:
                found |= models
            token = page.token
            if not token:
                break
        return [model for model, is_deleted in found.values() if not is_deleted]

    def of_run(self, run_id: str) -> list[LoggedModel]:
        """Get the models that are kept in a run, without the deleted ones."""
        found = self._read(Home(HomeKind.RUN, run_id))
        return [model for model, is_deleted in found.values() if not is_deleted]

    def metric_records(self, run_id: str, metrics: Iterable[Metric]) -> dict[Home, list[RunTag]]:
        """Write a run's metrics down for the models that they are of.

        Args:
            run_id: The run that logs them.
            metrics: Those with the id of a kept model are written; the others are passed over.

        Returns:
            Tags to be set, by the home that they belong to.
        """
        rows: dict[KeptModelId, list[list[Any]]] = {}
        for metric in metrics:
            model_id = KeptModelId.parse(metric.model_id) if metric.model_id else None
            if model_id is not None:
                rows.setdefault(model_id, []).append(
                    [
                        metric.key,
                        float(metric.value),
                        int(metric.timestamp),
                        int(metric.step),
                        run_id,
                        metric.dataset_name,
                        metric.dataset_digest,
                    ]
                )
        records: dict[Home, list[RunTag]] = {}
        for model_id, content in rows.items():
            self._require(model_id)
            key = _key(model_id, f"metrics.{digest(content)}")
            records.setdefault(model_id.home, []).extend(record_tags(key, content))
        return records

    def write(self, records: Mapping[Home, Sequence[RunTag]]) -> None:
        """Set the tags that ``metric_records`` returned."""
        for home, tags in records.items():
            self._write(home, tags)

    # --- homes -----------------------------------------------------------------------------------

    def _home(self, experiment_id: str, source_run_id: str | None) -> tuple[Home, str]:
        """Where a new model is kept, and the root of its files.

        MLflow takes any run as the source of a model. One that is deleted, unknown or of another
        experiment cannot hold its record.
        """
        if source_run_id:
            place = self._place(source_run_id)
            if place is not None and place[0] == experiment_id:
                return Home(HomeKind.RUN, source_run_id), place[1]
        experiment = self._client.call(
            "get_experiment_by_id",
            {"experiment_id": experiment_id},
            lambda answer: wire.experiment(answer["experiment"]),
        )
        return Home(HomeKind.EXPERIMENT, experiment_id), experiment.artifact_location

    def _place(self, run_id: str) -> tuple[str, str] | None:
        with self._lock:
            known: tuple[str, str] | None = self._places.get(run_id)
        if known is not None:
            return known
        try:
            run: Run = self._client.call(
                "get_experiment_run_by_id", {"run_id": run_id}, lambda it: wire.run(it["run"])
            )
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return None
        if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            return None
        place = (run.info.experiment_id, run.info.artifact_uri)
        with self._lock:
            self._places[run_id] = place
        return place

    def _read(self, home: Home) -> dict[KeptModelId, tuple[LoggedModel, bool]]:
        if home.kind is HomeKind.RUN:
            return self._client.call(
                "get_experiment_run_by_id",
                {"run_id": home.id},
                lambda answer: _models_of_run(answer["run"]),
            )
        return self._client.call(
            "get_experiment_by_id",
            {"experiment_id": home.id},
            lambda answer: _models(home, answer["experiment"].get("tags") or ()),
        )

    def _write(self, home: Home, tags: Sequence[RunTag]) -> None:
        for operation, payload in requests(home, tags):
            if home.kind is HomeKind.RUN:
                self._client.log(home.id, operation, payload)
            else:
                self._client.call(operation, payload, wire.nothing)

    def _create(self, home: Home, tags: Sequence[RunTag], params: Sequence[Param] = ()) -> None:
        # What is created must be there when its id is handed out.
        for operation, payload in requests(home, tags, params):
            self._client.call(operation, payload, wire.nothing)

    def _require(self, model_id: KeptModelId) -> None:
        with self._lock:
            known = model_id in self._known
        if not known:
            self.get(model_id, allow_deleted=True)

    def _remember(self, model_id: KeptModelId) -> None:
        with self._lock:
            self._known[model_id] = True


def requests(
    home: Home, tags: Sequence[RunTag], params: Sequence[Param] = ()
) -> Iterator[tuple[str, Json | bytes]]:
    """Make requests that write records.

    Args:
        home: Where they are kept.
        tags: The records.
        params: Params of a home that is a run.

    Returns:
        Operation and payload of each.
    """
    if home.kind is HomeKind.RUN:
        for body in log_batch_bodies(home.id, (), params, tags):
            yield "log_experiment_run_batch", body
        return
    for at in range(0, len(tags), _TAGS_IN_A_REQUEST):
        fields = {
            "experiment_id": home.id,
            "set_tags": wire.tags_json(tags[at : at + _TAGS_IN_A_REQUEST]),
        }
        yield "update_experiment_tags", fields


# --- records -------------------------------------------------------------------------------------


def _key(model_id: KeptModelId, kind: str) -> str:
    return f"{_MODEL}{model_id.number}.{kind}"


def _tag_key(model_id: KeptModelId, key: str) -> str:
    # A model's tags have keys of any length and letters; a run's have not.
    return _key(model_id, f"tag.{digest(key)}")


def _base_record(model_id: KeptModelId, model: LoggedModel) -> list[RunTag]:
    content = {
        "name": model.name,
        "type": model.model_type,
        "experiment": model.experiment_id,
        "run": model.source_run_id,
        "location": model.artifact_location,
        "at": model.creation_timestamp,
    }
    return record_tags(f"{_MODEL}{model_id.number}", content)


def _tag_records(model_id: KeptModelId, tags: Mapping[str, str]) -> list[RunTag]:
    return [
        tag
        for key, value in tags.items()
        for tag in record_tags(_tag_key(model_id, key), {"key": key, "value": value})
    ]


def _params_record(model_id: KeptModelId, params: Mapping[str, str]) -> list[RunTag]:
    return record_tags(_key(model_id, f"params.{digest(params)}"), params) if params else []


def _models_of_run(content: Json) -> dict[KeptModelId, tuple[LoggedModel, bool]]:
    """Read the models in the tags of an ExperimentRun."""
    info = content["info"]
    home = Home(HomeKind.RUN, info.get("run_id") or info["run_uuid"])
    return _models(home, (content.get("data") or {}).get("tags") or ())


def _models(home: Home, tags: Iterable[Json]) -> dict[KeptModelId, tuple[LoggedModel, bool]]:
    """Read the models in a home's tags, and whether each is deleted."""
    ours = {tag["key"]: tag.get("value", "") for tag in tags if tag["key"].startswith(PREFIX)}
    kinds: dict[str, list[str]] = {}
    for key in ours:
        if key.startswith(_MODEL):
            number, _, kind = key.removeprefix(_MODEL).partition(".")
            kinds.setdefault(number, []).append(kind)
    return {
        model_id: _model(model_id, ours, kinds[model_id.number])
        for model_id in (KeptModelId(home, number) for number in kinds)
        # Without its first record the model is not there: its creation was cut off.
        if "" in kinds[model_id.number]
    }


def _model(
    model_id: KeptModelId, ours: Mapping[str, str], kinds: Sequence[str]
) -> tuple[LoggedModel, bool]:
    base = record_content(ours, f"{_MODEL}{model_id.number}")
    records: dict[str, list[Any]] = {}
    for kind in sorted(kinds):
        if kind:
            content = record_content(ours, _key(model_id, kind))
            records.setdefault(kind.partition(".")[0], []).append(content)
    [status] = records.get("status", [{"status": LoggedModelStatus.PENDING, "at": base["at"]}])
    deleted = records.get("deleted", [])
    tags = {content["key"]: content["value"] for content in records.get("tag", ())}
    if versions := records.get("version"):
        tags[MLFLOW_MODEL_VERSIONS] = json.dumps(versions)
    params = {key: value for content in records.get("params", ()) for key, value in content.items()}
    rows = {json.dumps(row): row for content in records.get("metrics", ()) for row in content}
    metrics = [
        Metric(key, value, at, step, str(model_id), dataset, dataset_digest, run)
        for key, value, at, step, run, dataset, dataset_digest in rows.values()
    ]
    # MLflow's search takes the first of a metric's values; the newest is what is meant.
    metrics.sort(key=lambda it: (it.timestamp, it.step), reverse=True)
    model = LoggedModel(
        experiment_id=base["experiment"],
        model_id=str(model_id),
        name=base["name"],
        artifact_location=base["location"],
        creation_timestamp=base["at"],
        last_updated_timestamp=max(base["at"], status["at"], *(it["at"] for it in deleted)),
        model_type=base["type"],
        source_run_id=base["run"],
        status=LoggedModelStatus(status["status"]),
        tags=tags,
        params=params,
        metrics=metrics,
    )
    return model, bool(deleted)


def _not_found(model_id: KeptModelId) -> MlflowException:
    return MlflowException(f"Logged model with ID '{model_id}' not found.", RESOURCE_DOES_NOT_EXIST)
