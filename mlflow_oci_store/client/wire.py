"""MLflow entities to the service's JSON, and back.

What goes out is checked with MLflow's own validation first, so that bad input is refused with
MLflow's own message before anything is sent. Metrics, params and tags are encoded one by one as
JSON text: a batch is then cut to size without encoding anything twice.

What comes in is made into entities straight from the parsed JSON. A missing required field raises
KeyError, a field of the wrong type TypeError or ValueError; the client turns each into an error
that quotes the answer.

Sources: the schemas of the REST API (version 20260430), MLflow's ``mlflow.utils.validation``, and
the protobuf JSON mapping, which writes NaN and the infinities as strings.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING, Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.utils.validation import (
    MAX_ENTITY_KEY_LENGTH,
    _validate_metric,
    _validate_param,
    _validate_tag,
    append_to_json_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag

Json = dict[str, Any]
Pair = RunTag | ExperimentTag | LoggedModelTag | LoggedModelParameter

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_VIEW_TYPES = {
    ViewType.ACTIVE_ONLY: "ACTIVE_ONLY",
    ViewType.DELETED_ONLY: "DELETED_ONLY",
    ViewType.ALL: "ALL",
}
_MODEL_STATUSES = {
    LoggedModelStatus.UNSPECIFIED: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    LoggedModelStatus.PENDING: "LOGGED_MODEL_PENDING",
    LoggedModelStatus.READY: "LOGGED_MODEL_READY",
    LoggedModelStatus.FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}
_MODEL_STATUS_BY_NAME = {name: status for status, name in _MODEL_STATUSES.items()}

# Names that MLflow's rules for metrics allow on every system and that JSON writes as they are, such
# as ``val/top-5 accuracy``. Nearly all names are, and checking by the rules is ten times the work.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]*(?:/[A-Za-z0-9_-][A-Za-z0-9_. -]*)*")

_encode_text = json.JSONEncoder(ensure_ascii=False).encode


@functools.lru_cache(maxsize=1024)
def _plain_name_text(key: str) -> str | None:
    """The JSON of a metric's name that is plain; None for others, which have to be looked at."""
    if len(key) <= MAX_ENTITY_KEY_LENGTH and _PLAIN_NAME.fullmatch(key):
        return f'"{key}"'
    return None


def text(value: str, path: str = "value") -> str:
    """Encode a string as JSON text, letters beyond ASCII as they are.

    Args:
        value: The string.
        path: What it is or where it stands in a batch, for error messages.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE for a lone surrogate, which UTF-8 cannot hold.
    """
    encoded = _encode_text(value)
    if not encoded.isascii():
        try:
            encoded.encode("utf-8")
        except UnicodeEncodeError as error:
            raise MlflowException(
                f"Invalid value {value[:80]!r} for parameter '{path}' supplied: it holds half of a "
                "character (a lone UTF-16 surrogate), which UTF-8 cannot write.",
                INVALID_PARAMETER_VALUE,
            ) from error
    return encoded


# --- to the service ------------------------------------------------------------------------------


def metric_text(metric: Metric, path: str = "") -> str:
    """Encode a metric as the JSON object ExperimentRunMetric.

    Args:
        metric: Key up to 250 characters, value any number, timestamp in milliseconds since the
            epoch and step as 64-bit integers.
        path: Where it stands in a batch, for error messages, e.g. ``metrics[3]``.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, with MLflow's own words.
    """
    key, value, timestamp, step = metric.key, metric.value, metric.timestamp, metric.step
    if not (
        type(key) is str
        and type(value) is float
        and type(timestamp) is int
        and type(step) is int
        and 0 <= timestamp <= _INT64_MAX
        and _INT64_MIN <= step <= _INT64_MAX
    ):
        _validate_metric(key, value, timestamp, step, path)
        value = _float64(value, append_to_json_path(path, "value"))
        timestamp = _int64(timestamp, append_to_json_path(path, "timestamp"))
        step = _int64(step, append_to_json_path(path, "step"))
    name = _plain_name_text(key)
    if name is None:
        _validate_metric(key, value, timestamp, step, path)
        name = text(key)
    number = repr(value) if math.isfinite(value) else f'"{_special(value)}"'
    of_a_model = "" if metric.model_id is None else _of_a_model(metric)
    return f'{{"key":{name},"value":{number},"timestamp":{timestamp},"step":{step}{of_a_model}}}'


def _of_a_model(metric: Metric) -> str:
    """The fields that a service which keeps logged models has for their metrics."""
    fields = {
        "model_id": metric.model_id,
        "dataset_name": metric.dataset_name,
        "dataset_digest": metric.dataset_digest,
    }
    return "".join(f',"{name}":{text(value)}' for name, value in fields.items() if value)


def param_text(param: Param, path: str = "") -> str:
    """Encode a param as the JSON object ExperimentRunParam.

    Args:
        param: Key up to 250 characters, value up to 6000; MLflow truncates longer values unless
            ``MLFLOW_TRUNCATE_LONG_VALUES`` is false.
        path: Where it stands in a batch, for error messages.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, with MLflow's own words.
    """
    return _pair_text(_validate_param(param.key, param.value, path), path)


def tag_text(tag: RunTag, path: str = "") -> str:
    """Encode a run's tag as the JSON object ExperimentRunTag.

    Args:
        tag: Key up to 250 characters, value up to 8000, truncated as a param's.
        path: Where it stands in a batch, for error messages.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, with MLflow's own words.
    """
    return _pair_text(_validate_tag(tag.key, tag.value, path), path)


def _pair_text(pair: Param | RunTag, path: str) -> str:
    value = text(_string_value(pair), append_to_json_path(path, "value"))
    return f'{{"key":{text(pair.key)},"value":{value}}}'


def _string_value(pair: Param | RunTag | ExperimentTag) -> str:
    """The value, of which MLflow's clients have made a string; None must not arrive as 'None'."""
    if not isinstance(pair.value, str):
        raise MlflowException(
            f"Invalid value {pair.value!r} for {type(pair).__name__} {pair.key!r} supplied: it "
            "must be a string.",
            INVALID_PARAMETER_VALUE,
        )
    return pair.value


def _float64(value: Any, path: str) -> float:
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise MlflowException(
            f"Invalid value {value!r} for parameter '{path}' supplied: a metric's value must be a "
            "64-bit floating point number.",
            INVALID_PARAMETER_VALUE,
        ) from error


def _int64(value: Any, path: str) -> int:
    try:
        whole = int(value)
    except (OverflowError, TypeError, ValueError):
        whole = None  # an infinity, NaN, or no number
    if whole is None or whole != value or not _INT64_MIN <= whole <= _INT64_MAX:
        raise MlflowException(
            f"Invalid value {value!r} for parameter '{path}' supplied: it must be a 64-bit "
            "integer.",
            INVALID_PARAMETER_VALUE,
        )
    return whole


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def tags_json(
    tags: Sequence[RunTag | ExperimentTag | RegisteredModelTag | ModelVersionTag] | None,
) -> list[Json] | None:
    """Encode tags as key and value objects; None when there are none.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE for a value that is no string.
    """
    return [{"key": tag.key, "value": _string_value(tag)} for tag in tags] if tags else None


def dataset_input_json(dataset_input: DatasetInput) -> Json:
    """Encode a dataset with its tags as the schema DatasetInput."""
    dataset = dataset_input.dataset
    fields = {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
        "schema": dataset.schema,
        "profile": dataset.profile,
    }
    return {
        "dataset": {name: value for name, value in fields.items() if value is not None},
        "tags": [{"key": tag.key, "value": tag.value} for tag in dataset_input.tags or []],
    }


def model_status_json(status: LoggedModelStatus) -> str:
    """Encode a logged model's status as MLflow's routes have it."""
    return _MODEL_STATUSES[status]


def view_type_json(view_type: int) -> str:
    """Encode a ``ViewType`` as the service's string.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE for anything else.
    """
    try:
        return _VIEW_TYPES[view_type]
    except (KeyError, TypeError):
        raise MlflowException(
            f"Invalid view type {view_type!r}: use a value of mlflow.entities.ViewType.",
            INVALID_PARAMETER_VALUE,
        ) from None


# --- from the service ----------------------------------------------------------------------------


def nothing(answer: Json) -> None:
    """Read nothing: the operation answers nothing of interest."""


def page(answer: Json, name: str, read: Callable[[Json], Any]) -> PagedList[Any]:
    """Read one page of the list ``name``, each item with ``read``; its token is the next page's."""
    return PagedList([read(item) for item in answer.get(name) or ()], answer.get("next_page_token"))


def experiment(content: Json) -> Experiment:
    """Read the schema Experiment."""
    return Experiment(
        content["experiment_id"],
        content["name"],
        content.get("artifact_location"),
        content.get("lifecycle_stage"),
        [ExperimentTag(tag["key"], tag.get("value", "")) for tag in content.get("tags") or ()],
        whole(content.get("creation_time")),
        whole(content.get("last_update_time")),
    )


def run(content: Json) -> Run:
    """Read the schema ExperimentRun."""
    data = content.get("data") or {}
    inputs = content.get("inputs") or {}
    outputs = content.get("outputs") or {}
    return Run(
        run_info(content["info"]),
        RunData(
            metrics=[metric(item) for item in data.get("metrics") or ()],
            params=[Param(item["key"], item.get("value", "")) for item in data.get("params") or ()],
            tags=[RunTag(item["key"], item.get("value", "")) for item in data.get("tags") or ()],
        ),
        RunInputs(
            dataset_inputs=[_dataset_input(item) for item in inputs.get("dataset_inputs") or ()],
            model_inputs=[
                LoggedModelInput(item["model_id"]) for item in inputs.get("model_inputs") or ()
            ],
        ),
        RunOutputs(
            [
                LoggedModelOutput(item["model_id"], int(item.get("step") or 0))
                for item in outputs.get("model_outputs") or ()
            ]
        ),
    )


def run_info(content: Json) -> RunInfo:
    """Read the schema ExperimentRunInfo."""
    return RunInfo(
        run_id=content.get("run_id") or content["run_uuid"],
        experiment_id=content["experiment_id"],
        user_id=content.get("user_id") or "",
        status=content["status"],
        start_time=int(content.get("start_time") or 0),
        end_time=whole(content.get("end_time")),
        lifecycle_stage=content.get("lifecycle_stage"),
        artifact_uri=content.get("artifact_uri"),
        run_name=content.get("run_name"),
    )


def metric(content: Json) -> Metric:
    """Read the schema ExperimentRunMetric; the strings NaN and Infinity are numbers, too."""
    return Metric(
        content["key"],
        float(content["value"]),
        int(content["timestamp"]),
        int(content.get("step") or 0),
    )


def logged_model(content: Json) -> LoggedModel:
    """Read the schema LoggedModel, whose ``data`` is as in MLflow's REST API."""
    info, data = content["info"], content.get("data") or {}
    model_id = info["model_id"]
    return LoggedModel(
        experiment_id=info["experiment_id"],
        model_id=model_id,
        name=info["name"],
        artifact_location=info.get("artifact_uri"),
        creation_timestamp=int(info.get("creation_timestamp_ms") or 0),
        last_updated_timestamp=int(info.get("last_updated_timestamp_ms") or 0),
        model_type=info.get("model_type"),
        source_run_id=info.get("source_run_id"),
        status=_MODEL_STATUS_BY_NAME.get(info.get("status") or "", LoggedModelStatus.UNSPECIFIED),
        status_message=info.get("status_message"),
        tags={tag["key"]: tag.get("value", "") for tag in info.get("tags") or ()},
        params={item["key"]: item.get("value", "") for item in data.get("params") or ()},
        metrics=[
            Metric(
                item["key"],
                float(item["value"]),
                int(item["timestamp"]),
                int(item.get("step") or 0),
                item.get("model_id") or model_id,
                item.get("dataset_name"),
                item.get("dataset_digest"),
                item.get("run_id"),
            )
            for item in data.get("metrics") or ()
        ],
    )


def _dataset_input(content: Json) -> DatasetInput:
    dataset = content["dataset"]
    return DatasetInput(
        Dataset(
            name=dataset["name"],
            digest=dataset["digest"],
            source_type=dataset["source_type"],
            source=dataset["source"],
            schema=dataset.get("schema"),
            profile=dataset.get("profile"),
        ),
        [InputTag(tag["key"], tag["value"]) for tag in content.get("tags") or ()],
    )


def whole(value: Any) -> int | None:
    """Read a 64-bit integer that may be absent; protobuf's JSON mapping writes it as a string."""
    return None if value is None else int(value)
