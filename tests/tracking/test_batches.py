"""How many requests a call takes, and what is in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking import store as store_module
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import Request


def sizes(requests: list[Request]) -> list[tuple[int, int, int]]:
    bodies: list[dict[str, Any]] = [json.loads(request.body) for request in requests]
    return [
        (len(it.get("params", [])), len(it.get("metrics", [])), len(it.get("tags", [])))
        for it in bodies
    ]


def test_an_empty_batch_sends_nothing(
    store: OciDataPlatformStore, run_id: str, requests: list[Request]
) -> None:
    store.log_batch(run_id, [], [], [])
    store.log_batch(run_id, metrics=(), params=(), tags=())
    assert requests == []


def test_a_batch_within_the_limits_is_one_request(
    store: OciDataPlatformStore, run_id: str, requests: list[Request]
) -> None:
    store.log_batch(
        run_id,
        [Metric("m", 1.0, n, n) for n in range(800)],
        [Param(f"p{n}", "v") for n in range(100)],
        [RunTag(f"t{n}", "v") for n in range(100)],
    )
    assert sizes(requests) == [(100, 800, 100)]


def test_a_batch_beyond_the_limits_is_cut_into_requests_within_them(
    emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str, requests: list[Request]
) -> None:
    before = len(emulator.audit())
    store.log_batch(
        run_id,
        [Metric("m", float(n), n, n) for n in range(2500)],
        [Param(f"p{n}", "v") for n in range(150)],
        [RunTag(f"t{n}", "v") for n in range(150)],
    )
    records = emulator.audit()[before:]
    assert [record.operation for record in records] == ["log_experiment_run_batch"] * len(requests)
    assert len({record.retry_token for record in records}) == len(requests)
    for counts in sizes(requests):
        params, metrics, tags = counts
        assert params <= 100
        assert tags <= 100
        assert metrics <= 1000
        assert sum(counts) <= 1000
    assert [sum(column) for column in zip(*sizes(requests), strict=True)] == [150, 2500, 150]
    data = store.get_run(run_id).data
    assert (len(data.params), data.metrics["m"]) == (150, 2499.0)
    assert len([key for key in data.tags if key.startswith("t")]) == 150
    assert len(store.get_metric_history(run_id, "m")) == 2500


def test_a_batch_of_long_values_is_cut_by_its_size(
    store: OciDataPlatformStore, run_id: str, requests: list[Request]
) -> None:
    """Letters beyond ASCII count as what they are in UTF-8."""
    tags = [RunTag(f"t{n}", "試" * 8000) for n in range(100)]
    store.log_batch(run_id, [], [], tags)
    assert len(requests) == 3
    assert all(len(request.body) <= 1_000_000 for request in requests)
    assert store.get_run(run_id).data.tags["t99"] == "試" * 8000


@pytest.mark.parametrize("last", [Metric("m", None, 1, 1), Metric("//", 1.0, 1, 1)])
def test_a_batch_with_an_invalid_item_sends_nothing(
    store: OciDataPlatformStore, run_id: str, requests: list[Request], last: Metric
) -> None:
    metrics = [*(Metric("m", 1.0, n, n) for n in range(1000)), last]
    with pytest.raises(MlflowException, match=r"metrics\[1000\]") as caught:
        store.log_batch(run_id, metrics, [], [])
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert requests == []


def test_a_metric_history_is_read_page_by_page(
    store: OciDataPlatformStore,
    run_id: str,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.log_batch(run_id, [Metric("m", float(n), n, n) for n in range(25)], [], [])
    monkeypatch.setattr(store_module, "_HISTORY_PAGE", 10)
    requests.clear()
    history = store.get_metric_history(run_id, "m")
    assert [metric.step for metric in history] == list(range(25))
    assert history.token is None
    assert len(requests) == 3


def test_one_page_of_a_metric_history_is_one_request(
    store: OciDataPlatformStore, run_id: str, requests: list[Request]
) -> None:
    store.log_batch(run_id, [Metric("m", float(n), n, n) for n in range(25)], [], [])
    requests.clear()
    first = store.get_metric_history(run_id, "m", max_results=20)
    rest = store.get_metric_history(run_id, "m", max_results=20, page_token=first.token)
    assert [metric.step for metric in [*first, *rest]] == list(range(25))
    assert (len(first), rest.token, len(requests)) == (20, None, 2)
