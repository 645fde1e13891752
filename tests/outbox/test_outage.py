"""The service goes away in the middle of a training, and comes back with the same data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator, CloseAfter, Fail, Fault
from mlflow_oci_store.errors import OciDataPlatformException
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, steps, values

pytestmark = pytest.mark.usefixtures("brisk")
Restart = Callable[[], AidpEmulator]


class Outage:
    """An emulator that is stopped and started again on the same data and port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.emulator = AidpEmulator(folder)

    def begin(self) -> None:
        self.emulator.close()

    def end(self) -> None:
        port = urlsplit(self.emulator.endpoint).port or 0
        self.emulator = AidpEmulator(self._folder, port=port)


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    outage = Outage(tmp_path / "emulator")
    yield outage
    outage.emulator.close()


@pytest.fixture
def store(outage: Outage) -> OciDataPlatformStore:
    return OciDataPlatformStore(outage.emulator.tracking_uri)


@pytest.fixture
def queueing(outage: Outage) -> OciDataPlatformStore:
    return OciDataPlatformStore(f"{outage.emulator.tracking_uri}&on_outage=queue")


def metric(step: int) -> Metric:
    return Metric("m", float(step), step, step)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        it.getMessage()
        for it in caplog.records
        if it.levelno >= logging.WARNING and it.name.startswith("mlflow_oci_store")
    ]


@pytest.mark.parametrize("on_outage", ["raise", "queue"])
def test_what_is_logged_asynchronously_rides_out_an_outage(
    outage: Outage,
    applied: list[Applied],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    on_outage: str,
) -> None:
    monkeypatch.setenv("MLFLOW_OCI_DP_ON_OUTAGE", on_outage)
    store = OciDataPlatformStore(outage.emulator.tracking_uri)
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    for step in range(600):
        if step == 300:
            outage.begin()
        store.log_metric_async(run_id, metric(step))
    store.set_tag_async(run_id, RunTag("latest", "1"))
    store.set_tag_async(run_id, RunTag("latest", "2"))
    store.log_param_async(run_id, Param("p", "v"))
    caplog.clear()
    info = store.update_run_info(run_id, RunStatus.FINISHED, 99, None)
    assert (info.status, info.end_time) == ("FINISHED", 99)
    [said] = [it for it in warnings(caplog) if "update_experiment_run" in it]
    assert "`mlflow-oci-store outbox status`" in said
    outage.end()
    store.flush_async_logging()
    assert steps(applied, run_id) == list(range(600))
    assert values(applied, run_id, "tags") == [("latest", "1"), ("latest", "2")]
    assert values(applied, run_id, "params") == [("p", "v")]
    assert applied[-1].operation == "update_experiment_run"
    run = store.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 99)
    assert run.data.params == {"p": "v"}


def test_an_outage_is_told_of_once_however_much_is_logged(
    outage: Outage, store: OciDataPlatformStore, caplog: pytest.LogCaptureFixture
) -> None:
    experiment_id = store.create_experiment("e")
    runs = [store.create_run(experiment_id, "ada", n, [], None).info.run_id for n in range(12)]
    outage.begin()
    for step in range(20):
        for run_id in runs:
            store.log_metric_async(run_id, metric(step))
    with pytest.raises(MlflowException, match="safe in the outbox"):
        store._client.outbox.settle(patience=0.2)
    assert [it.partition(",")[0] for it in warnings(caplog)] == ["The service is out of reach"]
    outage.end()
    store.flush_async_logging()
    for run_id in runs:
        assert [it.step for it in store.get_metric_history(run_id, "m")] == list(range(20))


def test_a_synchronous_call_raises_in_an_outage_if_nobody_asks_otherwise(
    outage: Outage, store: OciDataPlatformStore, applied: list[Applied], outbox_dir: Path
) -> None:
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    outage.begin()
    with pytest.raises(OciDataPlatformException, match="no answer"):
        store.log_metric(run_id, metric(1))
    with pytest.raises(OciDataPlatformException, match="no answer"):
        store.update_run_info(run_id, RunStatus.FINISHED, 99, None)
    assert not outbox_dir.exists()
    outage.end()
    assert steps(applied, run_id) == []


def test_with_queue_synchronous_calls_ride_out_an_outage_in_their_order(
    outage: Outage, queueing: OciDataPlatformStore, applied: list[Applied]
) -> None:
    store = queueing
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    store.log_metric(run_id, metric(0))
    outage.begin()
    store.log_metric(run_id, metric(1))
    store.log_metric_async(run_id, metric(2))
    store.log_batch(run_id, [metric(step) for step in range(3, 1503)], [Param("p", "v")], [])
    store.set_tag(run_id, RunTag("t", "1"))
    store.delete_tag(run_id, "t")
    store.set_tag(run_id, RunTag("t", "2"))
    store.update_run_info(run_id, RunStatus.FAILED, 99, "another name")
    outage.end()
    store.log_metric(run_id, metric(1503))
    store.flush_async_logging()
    assert steps(applied, run_id) == list(range(1504))
    run = store.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FAILED", "another name")
    assert run.data.tags["t"] == "2"
    assert run.data.params == {"p": "v"}


def test_a_synchronous_call_that_was_applied_before_the_outage_is_applied_once(
    outage: Outage, queueing: OciDataPlatformStore, applied: list[Applied]
) -> None:
    store = queueing
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    outage.emulator.faults.add(Fault(CloseAfter(), "log_experiment_run_metric"))
    for step in range(3):
        store.log_metric(run_id, metric(step))
    assert steps(applied, run_id)[:1] == [0]
    outage.begin()
    outage.end()
    store.flush_async_logging()
    assert steps(applied, run_id) == [0, 1, 2]


def test_what_a_killed_process_had_queued_is_applied_once_though_it_had_arrived(
    outage: Outage, queueing: OciDataPlatformStore, applied: list[Applied]
) -> None:
    """The service refuses to repeat its answer, which is how it says that it had applied it."""
    store = queueing
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    outage.emulator.faults.add(Fault(CloseAfter(), "log_experiment_run_metric", times=2))
    outage.emulator.faults.add(
        Fault(Fail(409, "InvalidatedRetryToken"), "log_experiment_run_metric", nth=3)
    )
    store.log_metric(run_id, metric(0))
    store.flush_async_logging()
    assert steps(applied, run_id) == [0]
    assert store._client.outbox._spool is not None
    assert store._client.outbox._spool.ledger.count_dead_letters() == 0


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "InvalidParameter"), (403, "NotAllowed"), (404, "NotAuthorizedOrNotFound")],
)
def test_errors_that_no_retry_can_mend_are_not_queued(
    outage: Outage,
    queueing: OciDataPlatformStore,
    outbox_dir: Path,
    status: int,
    code: str,
) -> None:
    run_id = queueing.create_run(queueing.create_experiment("e"), "a", 0, [], None).info.run_id
    outage.emulator.faults.add(Fault(Fail(status, code, "Because")))
    with pytest.raises(OciDataPlatformException, match="Because"):
        queueing.log_metric(run_id, metric(0))
    assert not outbox_dir.exists()


def test_mlflows_end_run_returns_in_an_outage_and_the_run_ends_after_it(
    outage: Outage, applied: list[Applied], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", outage.emulator.tracking_uri)
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1, step=0, synchronous=False)
        outage.begin()
        mlflow.log_metric("m", 1, step=1, synchronous=False)
    outage.end()
    mlflow.flush_async_logging()
    run_id = run.info.run_id
    assert steps(applied, run_id) == [0, 1]
    assert mlflow.get_run(run_id).info.status == "FINISHED"
