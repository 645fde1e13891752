"""The first try took effect, its answer is lost, and the service does not repeat it.

The service may forget an answer early (409 InvalidatedRetryToken). What was logged is then known
to be there; what was created has to be found.
"""

from __future__ import annotations

import pytest
from mlflow.entities import Metric, RunStatus

from mlflow_oci_store.emulator import AidpEmulator, CloseAfter, Fail, Fault
from mlflow_oci_store.errors import RetryTokenInvalidated
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import applied


@pytest.fixture
def lose_answer(aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str) -> None:
    """The next change is applied, unanswered, and refused as a repetition."""
    for operation in (
        "log_experiment_run_metric",
        "create_experiment",
        "create_experiment_run",
        "update_experiment_run",
    ):
        aidp_emulator.faults.add(Fault(CloseAfter(), operation, times=1))
        aidp_emulator.faults.add(
            Fault(Fail(409, "InvalidatedRetryToken"), operation, nth=2, times=1)
        )


@pytest.mark.usefixtures("lose_answer")
def test_a_logged_metric_counts_as_logged(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    store.log_metric(run_id, Metric("m", 1.0, 1, 1))
    assert store.get_run(run_id).data.metrics == {"m": 1.0}
    assert len(applied(aidp_emulator, "log_experiment_run_metric")) == 1


@pytest.mark.usefixtures("lose_answer")
def test_a_created_experiment_is_found_by_its_name(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore
) -> None:
    made = store.create_experiment("new")
    assert store.get_experiment(made).name == "new"
    assert len(applied(aidp_emulator, "create_experiment")) == 2


@pytest.mark.usefixtures("lose_answer")
def test_a_created_run_is_found_by_its_start(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, experiment_id: str
) -> None:
    run = store.create_run(experiment_id, "ada", 1_700_000_000_123, [], None)
    assert run.info.start_time == 1_700_000_000_123
    assert store.get_run(run.info.run_id).data.tags["mlflow.user"] == "ada"
    assert len(applied(aidp_emulator, "create_experiment_run")) == 2


@pytest.mark.usefixtures("lose_answer")
def test_a_created_run_that_cannot_be_told_apart_is_an_error_that_says_how_to_find_it(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, experiment_id: str
) -> None:
    # The run of the fixture started at 0 as well.
    with pytest.raises(RetryTokenInvalidated, match=r"`attributes\.start_time = 0`") as caught:
        store.create_run(experiment_id, "ada", 0, [], None)
    assert experiment_id in str(caught.value)
    assert caught.value.operation == "create_experiment_run"
    assert len(applied(aidp_emulator, "create_experiment_run")) == 2


@pytest.mark.usefixtures("lose_answer")
def test_an_updated_run_is_read(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    info = store.update_run_info(run_id, RunStatus.FAILED, 7, "renamed")
    assert (info.status, info.end_time, info.run_name) == ("FAILED", 7, "renamed")
    assert len(applied(aidp_emulator, "update_experiment_run")) == 1
