"""Logged models, wherever they are kept.

A new model goes to the service's own routes if it has them (``native_models``), else into tags
(``kept_models``). From then on its id says where it is, so models of both kinds live side by side
and no call has to guess.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from cachetools import TTLCache
from mlflow.entities import (
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT
from mlflow.utils.search_utils import (
    SearchLoggedModelsPaginationToken,
    SearchLoggedModelsUtils,
)
from mlflow.utils.validation import _validate_logged_model_name

from mlflow_oci_store.client import wire
from mlflow_oci_store.tracking.kept_models import KeptModels
from mlflow_oci_store.tracking.model_history import log_on_run
from mlflow_oci_store.tracking.model_id import Home, HomeKind, KeptModelId
from mlflow_oci_store.tracking.native_models import NativeModels, RoutesMissing
from mlflow_oci_store.tracking.ordered_client import OrderedClient
from mlflow_oci_store.tracking.run_models import input_records, output_records

Json = dict[str, Any]

# Pages after the first come from what the first one found, if they are asked for soon.
_SEARCHES = 8
_SEARCH_SECONDS = 60.0


class LoggedModels:
    """The logged models of a workspace.

    Args:
        client: The way to the service.
        tracking_uri: The store's URI, by which MLflow finds the files of its models.
    """

    def __init__(self, client: OrderedClient, tracking_uri: str) -> None:
        self._client = client
        self._tracking_uri = tracking_uri
        self._kept = KeptModels(client)
        self._native = NativeModels(client)
        self._searches: TTLCache[str, list[LoggedModel]] = TTLCache(_SEARCHES, _SEARCH_SECONDS)
        self._searches_lock = threading.Lock()

    def create(
        self,
        experiment_id: str,
        name: str | None,
        source_run_id: str | None,
        tags: Sequence[LoggedModelTag],
        params: Sequence[LoggedModelParameter],
        model_type: str | None,
    ) -> LoggedModel:
        """Create a model; see ``AbstractStore.create_logged_model``."""
        _validate_logged_model_name(name)
        try:
            return self._native.create(experiment_id, name, source_run_id, tags, params, model_type)
        except RoutesMissing:
            return self._kept.create(experiment_id, name, source_run_id, tags, params, model_type)

    def get(self, model_id: str, allow_deleted: bool) -> LoggedModel:
        """Get a model."""
        keeper, key = self._keeper(model_id)
        return keeper.get(key, allow_deleted)

    def finalize(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Set a model's status; a READY one is also noted on its run for older readers."""
        keeper, key = self._keeper(model_id)
        model = keeper.finalize(key, status)
        kept_in_run = isinstance(key, KeptModelId) and key.home.kind is HomeKind.RUN
        if kept_in_run and status == LoggedModelStatus.READY:
            log_on_run(self._client, model, self._tracking_uri)
        return model

    def set_tags(self, model_id: str, tags: Sequence[LoggedModelTag]) -> None:
        """Set tags of a model."""
        keeper, key = self._keeper(model_id)
        keeper.set_tags(key, tags)

    def delete_tag(self, model_id: str, tag_key: str) -> None:
        """Delete a tag of a model."""
        keeper, key = self._keeper(model_id)
        keeper.delete_tag(key, tag_key)

    def add_version(self, model_id: str, name: str, version: str) -> None:
        """Note that a model version was made of a model."""
        keeper, key = self._keeper(model_id)
        keeper.add_version(key, name, version)

    def log_params(self, model_id: str, params: Sequence[LoggedModelParameter]) -> None:
        """Add params to a model."""
        keeper, key = self._keeper(model_id)
        keeper.log_params(key, params)

    def delete(self, model_id: str) -> None:
        """Mark a model as deleted."""
        keeper, key = self._keeper(model_id)
        keeper.delete(key)

    def _keeper(self, model_id: str) -> tuple[KeptModels | NativeModels, Any]:
        """Who keeps a model, and what it is called there."""
        kept = KeptModelId.parse(model_id)
        return (self._native, model_id) if kept is None else (self._kept, kept)

    # --- search ----------------------------------------------------------------------------------

    def search(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None,
        datasets: Sequence[Json],
        max_results: int | None,
        order_by: Sequence[Json] | None,
        page_token: str | None,
    ) -> PagedList[LoggedModel]:
        """Search models; see ``AbstractStore.search_logged_models``.

        The service searches what it keeps itself. As soon as there are models in tags, or datasets,
        which the service's search does not know, all models are fetched and MLflow's own search in
        memory is used.
        """
        if any(not dataset.get("dataset_name") for dataset in datasets):
            raise MlflowException(
                "`dataset_name` in the `datasets` clause must be specified.",
                INVALID_PARAMETER_VALUE,
            )
        experiment_ids = [str(experiment_id) for experiment_id in experiment_ids]
        with self._searches_lock:
            found = self._searches.get(page_token or "")
        if found is None:
            models = self._kept.search(experiment_ids)
            if not models and not datasets:
                return self._service_page(
                    experiment_ids, filter_string, max_results, order_by, page_token
                )
            models += self._of_the_service(experiment_ids)
            # MLflow 3.1 cannot filter by datasets, and does not take the argument.
            on = [datasets] if datasets else []
            matching = SearchLoggedModelsUtils.filter_logged_models(models, filter_string, *on)
            found = SearchLoggedModelsUtils.sort(matching, order_by)
        token = SearchLoggedModelsPaginationToken(experiment_ids, filter_string, order_by)
        if page_token:
            token = SearchLoggedModelsPaginationToken.decode(page_token)
            token.validate(experiment_ids, filter_string, order_by)
        end = token.offset + (max_results or SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT)
        page = found[token.offset : end]
        if end >= len(found):
            return PagedList(page, None)
        token.offset = end
        next_token = token.encode()
        with self._searches_lock:
            self._searches[next_token] = found
        return PagedList(page, next_token)

    def _service_page(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = None,
        max_results: int | None = None,
        order_by: Sequence[Json] | None = None,
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        fields = {
            "experiment_ids": list(experiment_ids),
            "filter": filter_string or None,
            "max_results": max_results,
            "order_by": order_by or None,
            "page_token": page_token,
        }
        return self._client.call(
            "list_logged_models", fields, lambda it: wire.page(it, "models", wire.logged_model)
        )

    def _of_the_service(
        self, experiment_ids: Sequence[str], filter_string: str | None = None
    ) -> list[LoggedModel]:
        page = self._service_page(experiment_ids, filter_string)
        models = list(page)
        while page.token:
            page = self._service_page(experiment_ids, filter_string, page_token=page.token)
            models += page
        return models

    # --- runs and their models -------------------------------------------------------------------

    def of_run(self, experiment_id: str, run_id: str) -> list[LoggedModel]:
        """Get the models that a run made, the oldest first."""
        filter_string = f"source_run_id = '{run_id}'"
        models = [
            *self._kept.of_run(run_id),
            *self._of_the_service([experiment_id], filter_string),
        ]
        return sorted(models, key=lambda model: model.creation_timestamp)

    def log_inputs(
        self, run_id: str, models: Sequence[LoggedModelInput]
    ) -> Sequence[LoggedModelInput]:
        """Say that a run reads models.

        Returns:
            Those models that the service itself keeps, and is still to be told of.
        """
        native = [model for model in models if not KeptModelId.parse(model.model_id)]
        try:
            for model in native[:1]:
                self._native.require_routes(model.model_id)
        except RoutesMissing:
            native = []
        kept = [model for model in models if model not in native]
        self._kept.write({Home(HomeKind.RUN, run_id): input_records(kept)})
        return native

    def log_outputs(self, run_id: str, models: Sequence[LoggedModelOutput]) -> None:
        """Say that a run made models."""
        native = [model for model in models if not KeptModelId.parse(model.model_id)]
        try:
            if native:
                self._native.log_outputs(run_id, native)
        except RoutesMissing:
            native = []
        kept = [model for model in models if model not in native]
        self._kept.write({Home(HomeKind.RUN, run_id): output_records(kept)})

    def split_metrics(
        self, run_id: str, metrics: Sequence[Metric]
    ) -> tuple[list[Metric], list[RunTag], dict[Home, list[RunTag]]]:
        """Take a batch of metrics apart by who keeps which model they are of.

        Returns:
            The metrics, with the models of those that the service itself keeps; tags of the run;
            tags of other homes.

        Raises:
            MlflowException: RESOURCE_DOES_NOT_EXIST, when there is no such model.
        """
        logged = []
        for metric in metrics:
            if metric.model_id is None or KeptModelId.parse(metric.model_id):
                logged.append(Metric(metric.key, metric.value, metric.timestamp, metric.step))
            else:
                self._native.require_routes(metric.model_id)
                logged.append(metric)
        records = self._kept.metric_records(run_id, metrics)
        return logged, records.pop(Home(HomeKind.RUN, run_id), []), records

    def write(self, records: dict[Home, list[RunTag]]) -> None:
        """Set the tags of other homes that ``split_metrics`` returned."""
        self._kept.write(records)
