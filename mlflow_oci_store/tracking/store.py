"""MLflow's tracking store on AI Data Platform.

Every method has the same three steps: check what MLflow's own SQL store checks, name an operation
of the service with its fields, and read the answer into MLflow's entities. How a call is signed,
repeated and judged is the client's business; which fields the JSON has is ``client/wire.py``'s.

The reference for what a method returns and raises is MLflow's ``SqlAlchemyStore``.
docs/semantics.md lists where this store differs, and why.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cachetools import TTLCache
from mlflow.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.mlflow_tags import MLFLOW_USER
from mlflow.utils.validation import (
    _validate_dataset_inputs,
    _validate_experiment_name,
    _validate_experiment_tag,
    _validate_param_keys_unique,
    _validate_run_id,
    _validate_tag,
)

from mlflow_oci_store.artifacts.location import check_location
from mlflow_oci_store.client import wire
from mlflow_oci_store.errors import RetryTokenInvalidated
from mlflow_oci_store.reserved_tags import refuse_reserved
from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.batch import encoded, log_batch_bodies
from mlflow_oci_store.tracking.kept_models import requests
from mlflow_oci_store.tracking.logged_models import LoggedModels
from mlflow_oci_store.tracking.model_id import Home
from mlflow_oci_store.tracking.ordered_client import OrderedClient
from mlflow_oci_store.tracking.outbox.journal import KIND_OF_LIST, METRIC, REQUEST, line
from mlflow_oci_store.tracking.outbox.request import Request
from mlflow_oci_store.tracking.run_models import (
    with_models,
    without_reserved,
    without_reserved_tags,
)
from mlflow_oci_store.tracking.traces import DroppedTraces
from mlflow_oci_store.unsupported import Unsupported

if TYPE_CHECKING:
    from mlflow.models import Model

Json = dict[str, Any]

# The most that one page of a metric's history holds in MLflow's REST API.
_HISTORY_PAGE = 25_000
# How long after looking a name up in vain its creation counts as "get it, else create it".
_GET_OR_CREATE_SECONDS = 10.0
# What MlflowClient says when it does not know who the user is.
_UNKNOWN_USER = "unknown"


class OciDataPlatformStore(DroppedTraces, Unsupported, AbstractStore):
    """Experiments and runs in one workspace of an Oracle AI Data Platform.

    MLflow makes one for every tracking URI ``oci-dp://<ai-data-platform-ocid>/<workspace-key>``.
    Nothing is read or sent before the first call. A store may be shared between threads, used on
    both sides of a fork, and pickled; the unpickled store has the settings of the original, not of
    the environment it is unpickled in.

    Args:
        store_uri: The tracking URI; docs/configuration.md has its options.
        artifact_uri: Not used: where artifacts lie is the service's choice. MLflow passes it.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when the URI or a setting cannot be used.
    """

    def __init__(self, store_uri: str | None = None, artifact_uri: str | None = None) -> None:
        store_uri = store_uri or "oci-dp://"
        self._connect(store_uri, Settings.from_uri(store_uri))

    def _connect(self, store_uri: str, settings: Settings) -> None:
        AbstractStore.__init__(self)
        self._uri = store_uri
        self._client = OrderedClient(settings)
        self._models = LoggedModels(self._client, store_uri)
        self._hides_reserved = settings.reserved_tags == "hidden"
        self._absent_experiments: TTLCache[str, bool] = TTLCache(1024, _GET_OR_CREATE_SECONDS)
        self._absent_experiments_lock = threading.Lock()

    def __getstate__(self) -> tuple[str, Settings]:
        return self._uri, self._client.settings

    def __setstate__(self, state: tuple[str, Settings]) -> None:
        self._connect(*state)

    # --- experiments -----------------------------------------------------------------------------

    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = SEARCH_MAX_RESULTS_DEFAULT,
        filter_string: str | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        """Search experiments; the arguments are those of ``AbstractStore.search_experiments``."""
        fields = {
            "view_type": wire.view_type_json(view_type),
            "max_results": max_results,
            "filter": filter_string,
            "order_by": order_by,
            "page_token": page_token or None,
        }
        return self._client.call(
            "list_experiments",
            fields,
            lambda answer: wire.page(answer, "experiments", self._experiment),
        )

    def create_experiment(
        self,
        name: str,
        artifact_location: str | None = None,
        tags: Sequence[ExperimentTag] | None = None,
    ) -> str:
        """Create an experiment and return its id.

        Raises:
            MlflowException: RESOURCE_ALREADY_EXISTS when the name is taken, unless it was free
                when this store looked it up a moment ago. That is ``mlflow.set_experiment`` in a
                race with another process for the same new name, where both must end up in the one
                experiment. INVALID_PARAMETER_VALUE for an ``artifact_location`` that nothing
                installed here can reach.
        """
        _validate_experiment_name(name)
        for tag in tags or ():
            _validate_experiment_tag(tag.key, tag.value)
            refuse_reserved(tag.key)
        if artifact_location:
            check_location(artifact_location)
        fields = {
            "name": name,
            "artifact_location": artifact_location or None,
            "tags": wire.tags_json(tags),
        }
        with self._absent_experiments_lock:
            was_absent = self._absent_experiments.pop(name, False)
        get_or_create = was_absent and not artifact_location and not tags
        try:
            return self._client.call(
                "create_experiment", fields, lambda it: str(it["experiment_id"])
            )
        except RetryTokenInvalidated:
            return str(self._existing_experiment(name).experiment_id)
        except MlflowException as error:
            if get_or_create and error.error_code == ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                return str(self._existing_experiment(name).experiment_id)
            raise

    def _existing_experiment(self, name: str) -> Experiment:
        return self._client.call(
            "get_experiment_by_name",
            {"experiment_name": name},
            lambda answer: self._experiment(answer["experiment"]),
        )

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Get an experiment by its id, deleted ones too."""
        return self._client.call(
            "get_experiment_by_id",
            {"experiment_id": _required("experiment_id", experiment_id)},
            lambda answer: self._experiment(answer["experiment"]),
        )

    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        """Get an experiment by its name, deleted ones too; None when there is none."""
        try:
            return self._existing_experiment(_required("experiment_name", experiment_name))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            with self._absent_experiments_lock:
                self._absent_experiments[experiment_name] = True
            return None

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment and its runs as deleted."""
        self._change("delete_experiment", experiment_id=_required("experiment_id", experiment_id))

    def restore_experiment(self, experiment_id: str) -> None:
        """Bring a deleted experiment and its runs back."""
        self._change("restore_experiment", experiment_id=_required("experiment_id", experiment_id))

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an active experiment another name."""
        _validate_experiment_name(new_name)
        self._change(
            "update_experiment",
            experiment_id=_required("experiment_id", experiment_id),
            new_name=new_name,
        )

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        """Set a tag of an active experiment."""
        _validate_experiment_tag(tag.key, tag.value)
        refuse_reserved(tag.key)
        self._change(
            "set_experiment_tag",
            experiment_id=_required("experiment_id", experiment_id),
            key=tag.key,
            value=tag.value,
        )

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Delete a tag of an active experiment."""
        refuse_reserved(key)
        self._change(
            "delete_experiment_tag",
            experiment_id=_required("experiment_id", experiment_id),
            key=_required("key", key),
        )

    # --- runs ------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        user_id: str | None,
        start_time: int,
        tags: Sequence[RunTag] | None,
        run_name: str | None,
    ) -> Run:
        """Start a run and return it.

        The service has no field for the user, so ``user_id`` travels as MLflow's own tag
        ``mlflow.user`` unless the tags have it already.
        """
        tags = [_validate_tag(tag.key, tag.value) for tag in tags or ()]
        for tag in tags:
            refuse_reserved(tag.key)
        if user_id and user_id != _UNKNOWN_USER and all(tag.key != MLFLOW_USER for tag in tags):
            tags.append(RunTag(MLFLOW_USER, user_id))
        fields = {
            "experiment_id": _required("experiment_id", experiment_id),
            "start_time": start_time,
            "tags": wire.tags_json(tags),
            "run_name": run_name or None,
        }
        try:
            return self._client.call(
                "create_experiment_run", fields, lambda it: self._run(it["run"])
            )
        except RetryTokenInvalidated as error:
            return self._created_run(fields, error)

    def _created_run(self, fields: Json, error: RetryTokenInvalidated) -> Run:
        """Find the run that a creation made whose answer is lost, by all that is known of it."""
        started = f"attributes.start_time = {fields['start_time']}"
        runs, _ = self._search_runs(
            [fields["experiment_id"]], started, ViewType.ACTIVE_ONLY, 2, None, None
        )
        if len(runs) == 1:
            return runs[0]
        error.add(
            f"It is one of the runs of experiment {fields['experiment_id']} for which `{started}` "
            "holds: search for it, and delete it if you start another."
        )
        raise error

    def get_run(self, run_id: str) -> Run:
        """Get a run with its latest metrics, params, tags, inputs and outputs."""
        return self._client.call(
            "get_experiment_run_by_id",
            {"run_id": _required("run_id", run_id)},
            lambda answer: self._run(answer["run"]),
        )

    def update_run_info(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """Set a run's status (a ``RunStatus``), end (ms since the epoch) and name; None keeps.

        A run that ends during an outage ends in the outbox, if there is something of it already or
        with ``on_outage=queue``. What is returned then has no experiment, user and start time.
        """
        status = None if run_status is None else _status_json(run_status)
        fields = {
            "run_id": _required("run_id", run_id),
            "status": status,
            "end_time": end_time,
            "run_name": run_name or None,
        }

        def as_asked() -> RunInfo:
            return RunInfo(
                run_id=run_id,
                experiment_id="",
                user_id="",
                status=status or RunStatus.to_string(RunStatus.RUNNING),
                start_time=0,
                end_time=end_time,
                lifecycle_stage=LifecycleStage.ACTIVE,
                run_name=run_name,
            )

        try:
            return self._client.log(
                run_id,
                "update_experiment_run",
                fields,
                lambda answer: wire.run_info(answer["run_info"]),
                queued=as_asked,
                ends_run=run_status is not None and RunStatus.is_terminated(run_status),
            )
        except RetryTokenInvalidated:
            return self.get_run(run_id).info

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self._change("delete_experiment_run", run_id=_required("run_id", run_id))

    def restore_run(self, run_id: str) -> None:
        """Bring a deleted run back."""
        self._change("restore_experiment_run", run_id=_required("run_id", run_id))

    def _search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None,
        run_view_type: int,
        max_results: int,
        order_by: list[str] | None,
        page_token: str | None,
    ) -> tuple[list[Run], str | None]:
        fields = {
            "experiment_ids": [str(experiment_id) for experiment_id in experiment_ids],
            "filter": filter_string,
            "run_view_type": wire.view_type_json(run_view_type),
            "max_results": max_results,
            "order_by": order_by,
            "page_token": page_token or None,
        }
        page = self._client.call(
            "list_experiment_runs", fields, lambda answer: wire.page(answer, "runs", self._run)
        )
        return list(page), page.token

    # --- what a run logs -------------------------------------------------------------------------

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Log one metric."""
        if metric.model_id is not None:
            self.log_batch(run_id, [metric], [], [])
            return
        run = wire.text(_required("run_id", run_id))
        # The body is a metric's fields with the run id in front of them.
        body = f'{{"run_id":{run},{wire.metric_text(metric)[1:]}'
        self._client.log(run_id, "log_experiment_run_metric", body.encode())

    def log_param(self, run_id: str, param: Param) -> None:
        """Log one param; a param that is there already with another value is refused."""
        refuse_reserved(param.key)
        run = wire.text(_required("run_id", run_id))
        body = f'{{"run_id":{run},{wire.param_text(param)[1:]}'
        self._client.log(run_id, "log_experiment_run_param", body.encode())

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Set one tag."""
        refuse_reserved(tag.key)
        run = wire.text(_required("run_id", run_id))
        body = f'{{"run_id":{run},{wire.tag_text(tag)[1:]}'
        self._client.log(run_id, "set_experiment_run_tag", body.encode())

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete one tag."""
        refuse_reserved(key)
        fields = {"run_id": _required("run_id", run_id), "key": _required("key", key)}
        self._client.log(run_id, "delete_experiment_run_tag", fields)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Log metrics, params and tags of any number, in requests within the service's limits.

        Everything is checked before the first request; an empty batch sends none. When a later
        request of several fails, the error is raised and what the earlier ones logged stays.
        """
        metrics, tags, elsewhere = self._checked_batch(run_id, metrics, params, tags)
        for body in log_batch_bodies(run_id, metrics, params, tags):
            self._client.log(run_id, "log_experiment_run_batch", body)
        self._models.write(elsewhere)

    def _checked_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> tuple[Sequence[Metric], Sequence[RunTag], dict[Home, list[RunTag]]]:
        """Check a batch, and take metrics of models apart: metrics, tags, and tags of others."""
        _validate_run_id(run_id)
        _validate_param_keys_unique(params)
        for item in (*params, *tags):
            refuse_reserved(item.key)
        if not any(metric.model_id is not None for metric in metrics):
            return metrics, tags, {}
        metrics, records, elsewhere = self._models.split_metrics(run_id, metrics)
        return metrics, [*tags, *records], elsewhere

    def log_inputs(
        self,
        run_id: str,
        datasets: list[DatasetInput] | None = None,
        models: list[LoggedModelInput] | None = None,
    ) -> None:
        """Log the datasets and models that a run reads."""
        _validate_run_id(run_id)
        if datasets is not None:
            if not isinstance(datasets, list):
                raise TypeError(f"Argument 'datasets' should be a list, got '{type(datasets)}'")
            _validate_dataset_inputs(datasets)
        native = self._models.log_inputs(run_id, models or ())
        if datasets or native or not models:
            fields = {
                "run_id": run_id,
                "dataset_inputs": [wire.dataset_input_json(dataset) for dataset in datasets or ()],
                "models": [{"model_id": model.model_id} for model in native] or None,
            }
            self._client.log(run_id, "log_experiment_run_inputs", fields)

    def log_outputs(self, run_id: str, models: list[LoggedModelOutput]) -> None:
        """Log the models that a run makes, each with the step at which it was made."""
        self._models.log_outputs(_required("run_id", run_id), models)

    def record_logged_model(self, run_id: str, mlflow_model: Model) -> None:
        """Note on the run that a model was logged, as MLflow 2 clients do."""
        if not callable(getattr(mlflow_model, "get_tags_dict", None)):
            raise TypeError(
                f"Argument 'mlflow_model' should be mlflow.models.Model, got '{type(mlflow_model)}'"
            )
        model = json.dumps(mlflow_model.get_tags_dict())
        fields = {"run_id": _required("run_id", run_id), "model_json": model}
        self._client.log(run_id, "log_experiment_run_model", fields)

    # --- asynchronously --------------------------------------------------------------------------

    def log_metric_async(self, run_id: str, metric: Metric) -> RunOperations:
        """Accept one metric and return at once; docs/asynchronous.md has the guarantees.

        Returns:
            Operations whose ``wait()`` returns when the service has the metric, and raises what
            went wrong.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE for what MLflow does not allow;
                RESOURCE_EXHAUSTED or INTERNAL_ERROR when the outbox cannot be written.
        """
        if metric.model_id is not None:
            return self.log_batch_async(run_id, [metric], [], [])
        content = wire.metric_text(metric).encode()
        ticket = self._client.outbox.accept(run_id, line(METRIC, content), 1)
        return RunOperations([ticket])

    def log_param_async(self, run_id: str, param: Param) -> RunOperations:
        """Accept one param and return at once, see ``log_metric_async``."""
        return self.log_batch_async(run_id, [], [param], [])

    def set_tag_async(self, run_id: str, tag: RunTag) -> RunOperations:
        """Accept one tag and return at once, see ``log_metric_async``."""
        return self.log_batch_async(run_id, [], [], [tag])

    def log_batch_async(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> RunOperations:
        """Accept a batch of any size and return at once, see ``log_metric_async``.

        It is accepted as a whole or not at all. Its items may be sent in several requests, together
        with others of the run.
        """
        metrics, tags, elsewhere = self._checked_batch(run_id, metrics, params, tags)
        lines = [line(KIND_OF_LIST[name], it) for name, it in encoded(metrics, params, tags)]
        lines += [
            line(REQUEST, Request(operation, self._client.body(operation, payload)).line())
            for home, records in elsewhere.items()
            for operation, payload in requests(home, records)
        ]
        if not lines:
            return RunOperations([])
        return RunOperations([self._client.outbox.accept(run_id, b"".join(lines), len(lines))])

    def flush_async_logging(self) -> None:
        """Wait until the service has all that this process has logged asynchronously.

        Raises:
            MlflowException: TEMPORARILY_UNAVAILABLE, when it has been out of reach for as long as
                the setting ``deadline`` says. Nothing is lost then.
        """
        self._client.settle()

    def end_async_logging(self) -> None:
        """Have everything sent that was accepted, without waiting for it.

        MLflow calls this and ``shut_down_async_logging`` at the end of each run, to be sure that
        everything has been handed over. It has: what is accepted is safe, the outbox stays in use,
        and one run's end need not wait for what others have logged. ``update_run_info`` waits for
        the run's own.
        """
        outbox = self._client.outbox_in_use()
        if outbox is not None:
            outbox.hurry()

    def shut_down_async_logging(self) -> None:
        """The same as ``end_async_logging``."""
        self.end_async_logging()

    # --- logged models ---------------------------------------------------------------------------

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: list[LoggedModelTag] | None = None,
        params: list[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Create a model whose files are to be put at its ``artifact_location``."""
        return self._models.create(
            _required("experiment_id", experiment_id),
            name,
            source_run_id or None,
            tags or (),
            params or (),
            model_type or None,
        )

    def get_logged_model(self, model_id: str, allow_deleted: bool = False) -> LoggedModel:
        """Get a model by its id, a deleted one only if it is asked for."""
        # Its metrics may have been logged to any run.
        self._client.settle()
        return self._models.get(_required("model_id", model_id), allow_deleted)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Set a model's status, and return the model."""
        return self._models.finalize(_required("model_id", model_id), status)

    def set_logged_model_tags(self, model_id: str, tags: list[LoggedModelTag]) -> None:
        """Set tags of a model."""
        self._models.set_tags(_required("model_id", model_id), tags)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Delete a tag of a model."""
        self._models.delete_tag(_required("model_id", model_id), _required("key", key))

    def set_model_versions_tags(self, name: str, version: str, model_id: str) -> None:
        """Note on a model that a model version was made of it."""
        self._models.add_version(_required("model_id", model_id), name, version)

    def log_logged_model_params(self, model_id: str, params: list[LoggedModelParameter]) -> None:
        """Add params to a model."""
        self._models.log_params(_required("model_id", model_id), params)

    def delete_logged_model(self, model_id: str) -> None:
        """Mark a model as deleted; its files stay."""
        self._models.delete(_required("model_id", model_id))

    def search_logged_models(
        self,
        experiment_ids: list[str],
        filter_string: str | None = None,
        datasets: list[Json] | None = None,
        max_results: int | None = None,
        order_by: list[Json] | None = None,
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        """Search models; the arguments are those of ``AbstractStore.search_logged_models``."""
        return self._models.search(
            experiment_ids, filter_string, datasets or (), max_results, order_by, page_token
        )

    def models_of_run(self, run: RunInfo, name: str) -> list[LoggedModel]:
        """Get the models of a name that a run made, the oldest first; for ``runs:/`` URIs."""
        models = self._models.of_run(run.experiment_id, run.run_id)
        return [model for model in models if model.name == name]

    # --- metric histories ------------------------------------------------------------------------

    def get_metric_history(
        self,
        run_id: str,
        metric_key: str,
        max_results: int | None = None,
        page_token: str | None = None,
    ) -> PagedList[Metric]:
        """Get the values of a metric, ordered by timestamp, step and value.

        Args:
            run_id: The run.
            metric_key: The metric's name.
            max_results: The size of one page, which is then all that is returned, with the token
                of the next; None for the whole history, however many pages that takes.
            page_token: Where to go on, from an earlier page.
        """
        fields = {
            "run_id": _required("run_id", run_id),
            "metric_key": _required("metric_key", metric_key),
            "max_results": _HISTORY_PAGE if max_results is None else max_results,
            "page_token": page_token or None,
        }
        page = self._history_page(fields)
        if max_results is not None:
            return page
        metrics, token = list(page), page.token
        while token:
            page = self._history_page({**fields, "page_token": token})
            metrics += page
            token = page.token
        return PagedList(metrics, None)

    def _history_page(self, fields: Json) -> PagedList[Metric]:
        return self._client.call(
            "get_experiment_run_metric_history",
            fields,
            lambda answer: wire.page(answer, "metrics", wire.metric),
        )

    def get_metric_history_bulk(
        self, run_ids: Sequence[str], metric_key: str, max_results: int | None
    ) -> list[MetricWithRunId]:
        """Get the values of a metric in several runs; MLflow's UI draws charts from it.

        Args:
            run_ids: The runs; those that do not exist are passed over.
            metric_key: The metric's name.
            max_results: How many values to return at the most, over all runs; None for all.

        Returns:
            Values ordered by run id, timestamp, step and value.
        """
        found: list[MetricWithRunId] = []
        for run_id in sorted(set(run_ids)):
            if max_results is not None and len(found) >= max_results:
                break
            try:
                history = self.get_metric_history(run_id, metric_key)
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    raise
                continue
            found += [MetricWithRunId(run_id=run_id, metric=metric) for metric in history]
        return found[:max_results]

    def get_metric_history_bulk_interval(
        self,
        run_ids: list[str],
        metric_key: str,
        max_results: int,
        start_step: int | None,
        end_step: int | None,
    ) -> list[MetricWithRunId]:
        """Get a sample of a metric's values in several runs, evenly spread over their histories.

        The sample is that of MLflow's SQL store: a history that is too long is cut into
        ``max_results`` parts of almost equal length, and each part is represented by its first
        value, the last part by its last.

        Args:
            run_ids: The runs.
            metric_key: The metric's name.
            max_results: How many values to return for a run at the most; at least 1.
            start_step: The first step to look at; None, together with ``end_step``, for all.
            end_step: The last step to look at.

        Returns:
            Values in the order of ``run_ids``, within a run by step, timestamp and value.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, when only one of the two steps is given.
        """
        if (start_step is None) != (end_step is None):
            raise MlflowException(
                "Both start_step and end_step must be specified together, or neither may be.",
                INVALID_PARAMETER_VALUE,
            )
        first = -math.inf if start_step is None else start_step
        last = math.inf if end_step is None else end_step
        found: list[MetricWithRunId] = []
        for run_id in run_ids:
            values = self.get_metric_history(run_id, metric_key)
            history = sorted((it for it in values if first <= it.step <= last), key=_by_step)
            found += [
                MetricWithRunId(run_id=run_id, metric=history[index])
                for index in _spread(len(history), max(1, max_results))
            ]
        return found

    def get_metric_history_bulk_interval_from_steps(
        self, run_id: str, metric_key: str, steps: Sequence[int], max_results: int
    ) -> list[MetricWithRunId]:
        """Get the values of a metric at certain steps, by step, timestamp and value.

        Args:
            run_id: The run.
            metric_key: The metric's name.
            steps: The steps.
            max_results: How many values to return at the most.
        """
        wanted = frozenset(steps)
        values = self.get_metric_history(run_id, metric_key)
        history = sorted((it for it in values if it.step in wanted), key=_by_step)
        return [MetricWithRunId(run_id=run_id, metric=it) for it in history[:max_results]]

    # --- the steps that methods share ------------------------------------------------------------

    def _experiment(self, content: Json) -> Experiment:
        if self._hides_reserved:
            tags = without_reserved_tags(content.get("tags") or ())
            content = {**content, "tags": tags}
        return wire.experiment(content)

    def _run(self, content: Json) -> Run:
        content = with_models(content)
        return wire.run(without_reserved(content) if self._hides_reserved else content)

    def _change(self, operation: str, **fields: Any) -> None:
        self._client.call(operation, fields, wire.nothing)


def _by_step(metric: Metric) -> tuple[int, int]:
    # Values of one step and time keep the order of the history, which is by value.
    return metric.step, metric.timestamp


def _spread(count: int, most: int) -> list[int]:
    """Indices of a sample: the first of each of ``most`` parts, but the last of the last one."""
    if count <= most:
        return list(range(count))
    length, longer = divmod(count, most)
    return [part * length + min(part, longer) for part in range(most - 1)] + [count - 1]


def _required(name: str, value: Any) -> str:
    if value is None or value == "":
        raise MlflowException(
            f"Missing value for required parameter '{name}'.", INVALID_PARAMETER_VALUE
        )
    return str(value)


def _status_json(status: int) -> str:
    try:
        return str(RunStatus.to_string(status))
    except Exception as error:
        raise MlflowException(
            f"Invalid run status {status!r}: use a value of mlflow.entities.RunStatus.",
            INVALID_PARAMETER_VALUE,
        ) from error
