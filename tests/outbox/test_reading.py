"""A program reads what it has written, also asynchronously."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import mlflow
import pytest
from mlflow.entities import LifecycleStage, Metric, Param, RunStatus, RunTag, ViewType
from mlflow.tracking import fluent

from mlflow_oci_store.emulator import AidpEmulator, Delay, Fault
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, steps

LOGGING = "log_experiment_run_batch"


def metric(step: int) -> Metric:
    return Metric("m", float(step), step, step)


@pytest.fixture
def slow(aidp_emulator: AidpEmulator) -> None:
    """Whatever does not wait for what was logged overtakes it."""
    aidp_emulator.faults.add(Fault(Delay(0.1), LOGGING))


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "read",
    [
        lambda store, run, _: store.get_run(run).data.metrics["m"],
        lambda store, _, experiment: store.search_runs([experiment], "metrics.m > 0", ViewType.ALL)[
            0
        ].data.metrics["m"],
        lambda store, run, _: store.get_metric_history(run, "m")[-1].value,
        lambda store, run, _: store.get_metric_history_bulk([run], "m", None)[-1].value,
    ],
    ids=["get_run", "search_runs", "get_metric_history", "get_metric_history_bulk"],
)
def test_a_read_of_a_run_comes_after_what_was_logged_to_it(
    store: OciDataPlatformStore,
    run_id: str,
    experiment_id: str,
    read: Callable[[OciDataPlatformStore, str, str], float],
) -> None:
    for step in range(1, 4):
        store.log_metric_async(run_id, metric(step))
        assert read(store, run_id, experiment_id) == step


@pytest.mark.usefixtures("slow")
def test_synchronous_changes_come_after_asynchronous_ones(
    store: OciDataPlatformStore, run_id: str, applied: list[Applied]
) -> None:
    store.set_tag_async(run_id, RunTag("t", "1"))
    store.set_tag(run_id, RunTag("t", "2"))
    store.log_metric_async(run_id, metric(0))
    store.log_metric(run_id, metric(1))
    store.log_param_async(run_id, Param("p", "v"))
    info = store.update_run_info(run_id, RunStatus.FINISHED, 99, None)
    assert info.status == "FINISHED"
    store.log_metric_async(run_id, metric(2))
    store.delete_run(run_id)
    assert steps(applied, run_id) == [0, 1, 2]
    operations = [it.operation for it in applied]
    assert operations[-1] == "delete_experiment_run"
    assert operations.index("update_experiment_run") == len(operations) - 3
    run = store.get_run(run_id)
    assert run.info.lifecycle_stage == LifecycleStage.DELETED
    assert run.data.tags["t"] == "2"


@pytest.mark.usefixtures("slow")
def test_an_experiment_is_deleted_after_what_was_logged_to_its_runs(
    store: OciDataPlatformStore, run_id: str, experiment_id: str, applied: list[Applied]
) -> None:
    store.log_metric_async(run_id, metric(0))
    store.delete_experiment(experiment_id)
    assert [it.operation for it in applied][-2:] == [LOGGING, "delete_experiment"]


def test_a_pickled_store_shares_its_process_outbox(
    store: OciDataPlatformStore, run_id: str, applied: list[Applied]
) -> None:
    copy = pickle.loads(pickle.dumps(store))
    for step in range(100):
        (store, copy)[step % 2].log_metric_async(run_id, metric(step))
    assert copy._client.outbox is store._client.outbox
    copy.flush_async_logging()
    assert steps(applied, run_id) == list(range(100))


@pytest.fixture
def script(aidp_emulator: AidpEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow as a script finds it that is started with ``MLFLOW_TRACKING_URI`` set."""
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", aidp_emulator.tracking_uri)


def log_everything(**options: Any) -> list[Any]:
    return [
        mlflow.log_metric("one", 1, **options),
        mlflow.log_metrics({"two": 2, "three": 3}, step=7, **options),
        mlflow.log_param("a", 1, **options),
        mlflow.log_params({f"p{number}": number for number in range(250)}, **options),
        mlflow.set_tag("t", 1, **options),
        mlflow.set_tags({"u": 2, "v": 3}, **options),
    ]


def check_everything(run_id: str) -> None:
    data = mlflow.get_run(run_id).data
    assert data.metrics == {"one": 1, "two": 2, "three": 3}
    assert data.params == {"a": "1", **{f"p{number}": str(number) for number in range(250)}}
    assert {key: data.tags[key] for key in "tuv"} == {"t": "1", "u": "2", "v": "3"}


@pytest.mark.usefixtures("slow", "script")
def test_mlflows_functions_log_asynchronously(applied: list[Applied]) -> None:
    with mlflow.start_run() as run:
        for operations in log_everything(synchronous=False):
            operations.wait()
    check_everything(run.info.run_id)
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"
    assert {it.operation for it in applied if "metrics" in it.body} == {LOGGING}


@pytest.mark.usefixtures("slow", "script")
def test_flush_async_logging_returns_when_everything_is_there(applied: list[Applied]) -> None:
    with mlflow.start_run() as run:
        log_everything(synchronous=False)
        mlflow.flush_async_logging()
        sent = len(applied)
        check_everything(run.info.run_id)
        assert len(applied) == sent


@pytest.mark.usefixtures("slow", "script")
@pytest.mark.parametrize("how", ["variable", "function"])
def test_asynchronous_logging_is_switched_on_for_all_calls(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", str(how == "variable"))
    if how == "function":
        mlflow.config.enable_async_logging()
    with mlflow.start_run() as run:
        assert all(operations is not None for operations in log_everything())
    check_everything(run.info.run_id)


@pytest.mark.usefixtures("slow", "script")
def test_end_run_returns_when_the_runs_data_and_status_are_there(applied: list[Applied]) -> None:
    run = mlflow.start_run()
    for step in range(50):
        mlflow.log_metric("m", step, step=step, synchronous=False)
    mlflow.end_run("FAILED")
    assert steps(applied, run.info.run_id) == list(range(50))
    assert applied[-1].operation == "update_experiment_run"
    assert applied[-1].body["status"] == "FAILED"


@pytest.mark.usefixtures("slow", "script")
def test_metrics_of_a_model_are_logged_asynchronously() -> None:
    with mlflow.start_run() as run:
        model = mlflow.initialize_logged_model("the model")
        mlflow.log_metric("m", 1.5, model_id=model.model_id, synchronous=False)
        assert mlflow.get_logged_model(model.model_id).metrics[0].value == 1.5
    with mlflow.start_run():
        # Kept by the run that made the model, not by this one.
        mlflow.log_metric("of another run", 2.5, model_id=model.model_id, synchronous=False)
        mlflow.flush_async_logging()
    found = mlflow.get_logged_model(model.model_id).metrics
    assert sorted((it.key, it.value) for it in found) == [("m", 1.5), ("of another run", 2.5)]
    assert mlflow.get_run(run.info.run_id).data.metrics == {"m": 1.5}
