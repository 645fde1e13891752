"""Logged models on a service that has MLflow's own routes for them.

The documented API has none of these routes; a later one may. Whether an endpoint has them is found
by calling one: 404 NotFound and 405 mean that it has not. The answer is remembered for ten minutes,
for all stores of this process. 404 NotAuthorizedOrNotFound comes from a route that is there, and
means what it always means.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cachetools import TTLCache
from mlflow.entities import (
    LoggedModel,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    ENDPOINT_NOT_FOUND,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.errors import RetryTokenInvalidated

T = TypeVar("T")
Json = dict[str, Any]
_Place = tuple[str | None, str | None, str, str, str]

_logger = logging.getLogger(__name__)

_REMEMBERED_SECONDS = 600.0
# As MLflow's own client has it.
_PARAMS_IN_A_REQUEST = 100

_has_routes: TTLCache[_Place, bool] = TTLCache(1024, _REMEMBERED_SECONDS)
_lock = threading.Lock()


class RoutesMissing(MlflowException):
    """The service has no routes for logged models, so it has no such model either."""

    def __init__(self) -> None:
        super().__init__(
            "No such logged model: this service has no endpoints for logged models, and the id is "
            "not that of a model which mlflow-oci-store keeps in tags.",
            RESOURCE_DOES_NOT_EXIST,
        )


class NativeModels:
    """The logged models that the service itself keeps.

    Every method raises ``RoutesMissing`` where the service has no routes for them.

    Args:
        client: The way to the service.
    """

    def __init__(self, client: DataPlatformClient) -> None:
        self._client = client
        settings = client.settings
        self._place = (
            settings.endpoint,
            settings.region,
            settings.platform_id,
            settings.workspace_key,
            settings.api_version,
        )

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
        fields = {
            "experiment_id": experiment_id,
            "name": name,
            "source_run_id": source_run_id,
            "tags": wire.tags_json(tags),
            "params": wire.tags_json(params[:_PARAMS_IN_A_REQUEST]),
            "model_type": model_type,
        }
        model = self._call("create_logged_model", fields, _model)
        if len(params) <= _PARAMS_IN_A_REQUEST:
            return model
        self.log_params(model.model_id, params[_PARAMS_IN_A_REQUEST:])
        return self.get(model.model_id)

    def get(self, model_id: str, allow_deleted: bool = False) -> LoggedModel:
        """Get a model, a deleted one only if it is asked for."""
        fields = {"modelId": model_id, "allow_deleted": allow_deleted or None}
        return self._call("get_logged_model", fields, _model)

    def finalize(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Set a model's status, and return the model."""
        fields = {
            "modelId": model_id,
            "model_id": model_id,
            "status": wire.model_status_json(status),
        }
        try:
            return self._call("finalize_logged_model", fields, _model)
        except RetryTokenInvalidated:
            return self.get(model_id)

    def set_tags(self, model_id: str, tags: Sequence[LoggedModelTag]) -> None:
        """Set tags of a model."""
        fields = {"modelId": model_id, "model_id": model_id, "tags": wire.tags_json(tags) or []}
        self._call("set_logged_model_tags", fields, wire.nothing)

    def delete_tag(self, model_id: str, key: str) -> None:
        """Delete a tag of a model."""
        fields = {"modelId": model_id, "tagKey": key}
        self._call("delete_logged_model_tag", fields, wire.nothing)

    def add_version(self, model_id: str, name: str, version: str) -> None:
        """Note that a model version was made of a model, in the tag that MLflow has for it."""
        versions = json.loads(self.get(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
        made = {"name": name, "version": version}
        if made not in versions:
            value = json.dumps([*versions, made])
            self.set_tags(model_id, [LoggedModelTag(MLFLOW_MODEL_VERSIONS, value)])

    def log_params(self, model_id: str, params: Sequence[LoggedModelParameter]) -> None:
        """Add params to a model."""
        for at in range(0, len(params), _PARAMS_IN_A_REQUEST):
            portion = wire.tags_json(params[at : at + _PARAMS_IN_A_REQUEST])
            fields = {"modelId": model_id, "model_id": model_id, "params": portion}
            self._call("log_logged_model_params", fields, wire.nothing)

    def delete(self, model_id: str) -> None:
        """Mark a model as deleted."""
        self._call("delete_logged_model", {"modelId": model_id}, wire.nothing)

    def log_outputs(self, run_id: str, models: Sequence[LoggedModelOutput]) -> None:
        """Say that a run made models."""
        outputs = [{"model_id": model.model_id, "step": model.step} for model in models]
        self._call("log_run_outputs", {"run_id": run_id, "models": outputs}, wire.nothing)

    def require_routes(self, model_id: str) -> None:
        """Make sure that the service has routes for logged models, by asking for one if need be.

        Raises:
            RoutesMissing: It has none.
        """
        if not self._known():
            try:
                self.get(model_id)
            except MlflowException as error:
                if not self._known():
                    raise
                _logger.debug("The service has routes for logged models: %s", error)

    def _call(self, route: str, fields: Json, parse: Callable[[Json], T]) -> T:
        if self._known() is False:
            raise RoutesMissing
        try:
            answer = self._client.call(route, fields, parse)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(ENDPOINT_NOT_FOUND):
                self._note(False)
                raise RoutesMissing from error
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                self._note(True)
            raise
        self._note(True)
        return answer

    def _known(self) -> bool | None:
        """Whether the service has the routes; None when it is not known."""
        with _lock:
            known: bool | None = _has_routes.get(self._place)
        return known

    def _note(self, has_routes: bool) -> None:
        with _lock:
            if _has_routes.get(self._place) is not has_routes:
                _has_routes[self._place] = has_routes


def _model(answer: Json) -> LoggedModel:
    return wire.logged_model(answer["model"])
