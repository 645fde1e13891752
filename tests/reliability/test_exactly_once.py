"""A bad network changes how long a call takes, and nothing else."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.entities import RunStatus, ViewType

from mlflow_oci_store.emulator import AidpEmulator, CloseAfter, CloseBefore, Fail, Fault
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import applied

CALLS = 2000


@pytest.fixture
def bad_network(aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str) -> None:
    """From here on, one request in five is applied and not answered; one in ten fails."""
    for fault in (
        Fault(CloseAfter(), probability=0.1),
        Fault(CloseAfter(reset=True), probability=0.1),
        Fault(Fail(500, "InternalServerError"), probability=0.04),
        Fault(Fail(429, "TooManyRequests", retry_after=0), probability=0.03),
        Fault(CloseBefore(reset=True), probability=0.03),
    ):
        aidp_emulator.faults.add(fault)


@pytest.mark.usefixtures("bad_network")
def test_2000_metrics_arrive_exactly_once_each(
    aidp_emulator: AidpEmulator,
    run_id: str,
    tries: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", aidp_emulator.tracking_uri)
    with mlflow.start_run(run_id=run_id):
        tries.clear()
        for step in range(CALLS):
            mlflow.log_metric("loss", 1 / (step + 1), step=step, timestamp=step + 1)
        sent = list(tries)

    tokens = applied(aidp_emulator, "log_experiment_run_metric")
    assert len(tokens) == len(set(tokens)) == CALLS
    assert list(dict.fromkeys(sent)) == tokens
    assert len(sent) > CALLS * 1.2, "there were hardly any faults"
    aidp_emulator.faults.clear()
    history = mlflow.MlflowClient().get_metric_history(run_id, "loss")
    assert [(it.step, it.value) for it in history] == [(n, 1 / (n + 1)) for n in range(CALLS)]


@pytest.mark.usefixtures("bad_network")
def test_creations_and_updates_take_effect_exactly_once_each(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, experiment_id: str
) -> None:
    names = [f"experiment {number}" for number in range(40)]
    made = [store.create_experiment(name) for name in names]
    runs = [
        store.create_run(experiment_id, "ada", number, [], name)
        for number, name in enumerate(names)
    ]
    for run in runs:
        info = store.update_run_info(run.info.run_id, RunStatus.FINISHED, 99, None)
        assert (info.status, info.end_time) == ("FINISHED", 99)

    aidp_emulator.faults.clear()
    found = {it.experiment_id: it.name for it in store.search_experiments()}
    del found[experiment_id]
    assert found == dict(zip(made, names, strict=True))
    listed = store.search_runs([experiment_id], "attributes.end_time = 99", ViewType.ALL)
    assert {it.info.run_id: it.info.run_name for it in listed} == {
        run.info.run_id: name for run, name in zip(runs, names, strict=True)
    }
    for operation, before in (
        ("create_experiment", 1),
        ("create_experiment_run", 1),
        ("update_experiment_run", 0),
    ):
        assert len(applied(aidp_emulator, operation)) == before + len(names)
