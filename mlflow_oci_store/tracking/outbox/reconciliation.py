"""What the service lacks of a request that may have been applied, when its retry token is too old
to ask by.

A run's history shows which metrics, params and tags are there. Any other change is sent again as it
was. A status or an input that is set again changes nothing; a tag that is gone already is refused,
and a run's list of models may name one twice.
"""

from __future__ import annotations

import json
from typing import Any

from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.tracking.outbox.verdict import Verdict, verdict_on

Json = dict[str, Any]

_BATCH = "log_experiment_run_batch"
_LIST_OF = {
    "log_experiment_run_metric": "metrics",
    "log_experiment_run_param": "params",
    "set_experiment_run_tag": "tags",
}
_HISTORY_PAGE = 25_000


def missing(client: DataPlatformClient, operation: str, body: bytes) -> tuple[str, bytes] | None:
    """Find what is to be sent again.

    Args:
        client: Asks the service.
        operation: What was to be done.
        body: How.

    Returns:
        Operation and body of what is missing; None if nothing is.

    Raises:
        MlflowException: The service does not answer.
    """
    content = json.loads(body)
    if operation == _BATCH:
        lists = {name: content.get(name, []) for name in ("params", "metrics", "tags")}
    elif operation in _LIST_OF:
        lists = {_LIST_OF[operation]: [content]}
    else:
        return operation, body
    run_id = content["run_id"]
    try:
        rest = _missing(client, run_id, lists)
    except MlflowException as error:
        if verdict_on(error) is not Verdict.REFUSED:
            raise
        # The service will say the same of the request itself.
        return operation, body
    if not any(rest.values()):
        return None
    text = json.dumps({"run_id": run_id, **rest}, ensure_ascii=False)
    return _BATCH, text.encode()


def _missing(
    client: DataPlatformClient, run_id: str, lists: dict[str, list[Json]]
) -> dict[str, list[Json]]:
    data = client.call(
        "get_experiment_run_by_id",
        {"run_id": run_id},
        lambda answer: answer["run"].get("data") or {},
    )
    metrics = lists.get("metrics", [])
    values = {key: _history(client, run_id, key) for key in {item["key"] for item in metrics}}
    rest = {"metrics": [it for it in metrics if _value(it) not in values[it["key"]]]}
    for name in ("params", "tags"):
        there = {(it["key"], it.get("value", "")) for it in data.get(name) or ()}
        rest[name] = [it for it in lists.get(name, []) if (it["key"], it["value"]) not in there]
    # In a body that was one metric's, the run's id stood among its fields.
    return {
        name: [{key: value for key, value in item.items() if key != "run_id"} for item in items]
        for name, items in rest.items()
        if items
    }


def _history(client: DataPlatformClient, run_id: str, key: str) -> set[tuple[int, int, str]]:
    found: set[tuple[int, int, str]] = set()
    fields: Json = {"run_id": run_id, "metric_key": key, "max_results": _HISTORY_PAGE}
    while True:
        page = client.call("get_experiment_run_metric_history", fields, dict)
        found.update(_value(metric) for metric in page.get("metrics") or ())
        if not page.get("next_page_token"):
            return found
        fields["page_token"] = page["next_page_token"]


def _value(metric: Json) -> tuple[int, int, str]:
    # A value may be one of the strings NaN, Infinity and -Infinity, and NaN is not equal to itself.
    return (
        int(metric.get("timestamp", 0)),
        int(metric.get("step", 0)),
        repr(float(metric.get("value", 0.0))),
    )
