"""Whatever the store writes, Oracle's SDK reads back equal, and the other way round."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import oci.exceptions
import pytest
from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.models import Model

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.errors import OciDataPlatformException
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from . import sdk as oracle
from .conftest import Service
from .session import UNICODE

NUMBERS = [0.1, 0.0, 3.0, 1e308, 5e-324, -2.5, math.nan]
DATASET = Dataset("d", "1", "local", "{}", UNICODE, None)


def by_sdk(service: Service, operation: str, **fields: Any) -> Any:
    """Call the SDK with an operation's fields, and give what it makes of the answer."""
    arguments = oracle.arguments_of(service.sdk, operation, fields)
    return getattr(service.sdk, operation)(*service.place, **arguments).data


def pairs(items: Any) -> dict[str, str]:
    return {item.key: item.value for item in items or []}


def points(metrics: Any) -> list[tuple[str, str, int, int]]:
    """Metrics as they compare: ``repr`` tells NaN and the sign of zero."""
    return [(it.key, repr(it.value), it.timestamp, it.step) for it in metrics or []]


def assert_same_run(read_by_sdk: Any, read_by_store: Run) -> None:
    info, ours = read_by_sdk.info, read_by_store.info
    for name in ("run_id", "experiment_id", "run_name", "user_id", "status", "lifecycle_stage"):
        assert getattr(info, name) == getattr(ours, name), name
    for name in ("start_time", "end_time", "artifact_uri"):
        assert getattr(info, name) == getattr(ours, name), name
    data = read_by_store.data
    assert pairs(read_by_sdk.data.tags) == data.tags
    assert pairs(read_by_sdk.data.params) == data.params
    assert sorted(points(read_by_sdk.data.metrics)) == sorted(points(data._metric_objs))
    inputs = [
        (oci.util.to_dict(it.dataset), {tag.key: tag.value for tag in it.tags})
        for it in read_by_sdk.inputs.dataset_inputs
    ]
    assert inputs == [
        (dict(it.dataset), pairs(it.tags)) for it in read_by_store.inputs.dataset_inputs
    ]


def test_the_sdk_reads_an_experiment_of_the_store(service: Service) -> None:
    made = service.store.create_experiment(
        UNICODE, "s3://bucket/é", [ExperimentTag("team", UNICODE)]
    )
    service.store.set_experiment_tag(made, ExperimentTag("k", ""))
    service.store.set_experiment_tag(made, ExperimentTag("gone", "1"))
    service.store.delete_experiment_tag(made, "gone")
    service.store.rename_experiment(made, UNICODE + "2")
    service.store.delete_experiment(made)
    ours = service.store.get_experiment(made)
    by_id = by_sdk(service, "get_experiment_by_id", experiment_id=made).experiment
    by_name = by_sdk(service, "get_experiment_by_name", experiment_name=UNICODE + "2").experiment
    [found] = by_sdk(service, "list_experiments", view_type="DELETED_ONLY").experiments
    assert by_id == by_name == found
    assert pairs(found.tags) == {"team": UNICODE, "k": ""} == ours.tags
    for name in ("experiment_id", "name", "artifact_location", "lifecycle_stage"):
        assert getattr(found, name) == getattr(ours, name)
    assert found.lifecycle_stage == "deleted"
    assert (found.creation_time, found.last_update_time) == (
        ours.creation_time,
        ours.last_update_time,
    )
    service.store.restore_experiment(made)
    assert by_sdk(service, "list_experiments").experiments[0].lifecycle_stage == "active"


def test_the_store_reads_an_experiment_of_the_sdk(service: Service) -> None:
    made = by_sdk(
        service,
        "create_experiment",
        name=UNICODE,
        artifact_location="s3://bucket/é",
        tags=[{"key": "team", "value": UNICODE}],
    ).experiment_id
    by_sdk(service, "set_experiment_tag", experiment_id=made, key="k", value="")
    by_sdk(service, "set_experiment_tag", experiment_id=made, key="gone", value="1")
    by_sdk(service, "delete_experiment_tag", experiment_id=made, key="gone")
    by_sdk(service, "update_experiment", experiment_id=made, new_name="renamed")
    ours = service.store.get_experiment_by_name("renamed")
    assert ours is not None
    assert (ours.experiment_id, ours.name, ours.artifact_location, ours.lifecycle_stage) == (
        made,
        "renamed",
        "s3://bucket/é",
        "active",
    )
    assert ours.tags == {"team": UNICODE, "k": ""}
    by_sdk(service, "delete_experiment", experiment_id=made)
    assert [it.name for it in service.store.search_experiments(ViewType.DELETED_ONLY)] == [
        "renamed"
    ]
    by_sdk(service, "restore_experiment", experiment_id=made)
    assert [it.name for it in service.store.search_experiments()] == ["renamed"]


def test_the_sdk_reads_a_run_of_the_store(service: Service) -> None:
    store = service.store
    experiment = store.create_experiment("e")
    run_id = store.create_run(experiment, "ada", 5, [RunTag("a", UNICODE)], UNICODE).info.run_id
    for step, value in enumerate(NUMBERS):
        store.log_metric(run_id, Metric("single", value, 1_700_000_000_000 + step, -step))
    store.log_metric(run_id, Metric("ключ", 1.5, 2**63 - 1, -(2**63)))
    store.log_param(run_id, Param("p", UNICODE))
    store.set_tag(run_id, RunTag("t", ""))
    store.set_tag(run_id, RunTag("gone", "1"))
    store.delete_tag(run_id, "gone")
    store.log_batch(
        run_id,
        [Metric("batch", value, step, 2**63 - 1) for step, value in enumerate(NUMBERS)],
        [Param("q", "")],
        [RunTag("u", UNICODE)],
    )
    store.log_inputs(run_id, [DatasetInput(DATASET, [InputTag("mlflow.data.context", UNICODE)])])
    store.record_logged_model(run_id, Model("m", run_id, "2024-01-01 00:00:00"))
    store.update_run_info(run_id, RunStatus.KILLED, 2**63 - 1, "renamed " + UNICODE)
    read = by_sdk(service, "get_experiment_run_by_id", run_id=run_id).run
    assert_same_run(read, store.get_run(run_id))
    assert read.info.status == "KILLED"
    assert pairs(read.data.params) == {"p": UNICODE, "q": ""}
    for key, length in (("single", 7), ("batch", 7), ("ключ", 1)):
        history = by_sdk(
            service, "get_experiment_run_metric_history", run_id=run_id, metric_key=key
        ).metrics
        assert len(history) == length
        assert points(history) == points(store.get_metric_history(run_id, key))
    batch = {repr(metric.value) for metric in store.get_metric_history(run_id, "batch")}
    assert batch == {repr(number) for number in NUMBERS}
    store.delete_run(run_id)
    [found] = by_sdk(
        service, "list_experiment_runs", experiment_ids=[experiment], run_view_type="DELETED_ONLY"
    ).runs
    assert_same_run(found, store.get_run(run_id))
    store.restore_run(run_id)
    [found] = by_sdk(
        service, "list_experiment_runs", experiment_ids=[experiment], filter="params.q = ''"
    ).runs
    assert found.info.lifecycle_stage == "active"


def test_the_store_reads_a_run_of_the_sdk(service: Service) -> None:
    experiment = by_sdk(service, "create_experiment", name="e").experiment_id
    run = by_sdk(
        service,
        "create_experiment_run",
        experiment_id=experiment,
        run_name=UNICODE,
        start_time=5,
        tags=[{"key": "a", "value": UNICODE}],
    ).run
    run_id = run.info.run_id
    for step, value in enumerate(NUMBERS):
        by_sdk(
            service,
            "log_experiment_run_metric",
            run_id=run_id,
            key="single",
            value=value,
            timestamp=step,
            step=-step,
        )
    by_sdk(
        service,
        "log_experiment_run_batch",
        run_id=run_id,
        metrics=[
            {"key": "batch", "value": value, "timestamp": 2**63 - 1, "step": -(2**63) + step}
            for step, value in enumerate(NUMBERS)
        ],
        params=[{"key": "q", "value": UNICODE}],
        tags=[{"key": "u", "value": UNICODE}],
    )
    by_sdk(service, "log_experiment_run_param", run_id=run_id, key="p", value="")
    by_sdk(service, "set_experiment_run_tag", run_id=run_id, key="t", value="1")
    by_sdk(service, "delete_experiment_run_tag", run_id=run_id, key="t")
    by_sdk(
        service,
        "log_experiment_run_inputs",
        run_id=run_id,
        dataset_inputs=[
            {
                "dataset": {"name": "d", "digest": "1", "source_type": "local", "source": "{}"},
                "tags": [{"key": "mlflow.data.context", "value": UNICODE}],
            }
        ],
    )
    model = Model("m", run_id, "2024-01-01 00:00:00").to_json()
    by_sdk(service, "log_experiment_run_model", run_id=run_id, model_json=model)
    changed = by_sdk(
        service, "update_experiment_run", run_id=run_id, status="FINISHED", end_time=2**63 - 1
    ).run_info
    ours = service.store.get_run(run_id)
    assert (changed.status, changed.end_time) == (ours.info.status, ours.info.end_time)
    assert_same_run(by_sdk(service, "get_experiment_run_by_id", run_id=run_id).run, ours)
    assert ours.data.params == {"p": "", "q": UNICODE}
    assert ours.data.tags["u"] == UNICODE
    assert "t" not in ours.data.tags
    single = service.store.get_metric_history(run_id, "single")
    assert points(single) == [
        ("single", repr(value), step, -step) for step, value in enumerate(NUMBERS)
    ]
    assert {it.step for it in service.store.get_metric_history(run_id, "batch")} == {
        -(2**63) + step for step in range(len(NUMBERS))
    }
    by_sdk(service, "delete_experiment_run", run_id=run_id)
    [found] = service.store.search_runs([experiment], None, ViewType.DELETED_ONLY)
    assert found.info.run_id == run_id
    by_sdk(service, "restore_experiment_run", run_id=run_id)
    assert service.store.get_run(run_id).info.lifecycle_stage == "active"


def test_infinities_mean_the_same_to_both(service: Service) -> None:
    """The emulator keeps the largest float in place of an infinity, as MLflow's SQL stores do."""
    experiment = service.store.create_experiment("e")
    for number, value in enumerate([math.inf, -math.inf]):
        run_id = service.store.create_run(experiment, "ada", 0, [], None).info.run_id
        service.store.log_metric(run_id, Metric("store", value, 1, 1))
        service.store.log_batch(run_id, [Metric("batch", value, 1, 1)], [], [])
        by_sdk(
            service,
            "log_experiment_run_metric",
            run_id=run_id,
            key="sdk",
            value=value,
            timestamp=1,
        )
        data = service.store.get_run(run_id).data
        largest = (1.7976931348623157e308, -1.7976931348623157e308)[number]
        assert data.metrics == {"store": largest, "batch": largest, "sdk": largest}


def test_pages_of_the_store_and_the_sdk_continue_each_other(service: Service) -> None:
    experiment = service.store.create_experiment("e")
    made = [
        service.store.create_run(experiment, "ada", start, [], None).info.run_id
        for start in range(5)
    ]
    first = service.store.search_runs(
        [experiment], None, ViewType.ALL, max_results=2, order_by=["start_time"]
    )
    then = by_sdk(
        service,
        "list_experiment_runs",
        experiment_ids=[experiment],
        run_view_type="ALL",
        max_results=2,
        order_by=["start_time"],
        page_token=first.token,
    )
    last = service.store.search_runs(
        [experiment],
        None,
        ViewType.ALL,
        max_results=2,
        order_by=["start_time"],
        page_token=then.next_page_token,
    )
    assert last.token is None
    assert [run.info.run_id for run in [*first, *then.runs, *last]] == made


def test_both_are_refused_alike(service: Service) -> None:
    with pytest.raises(oci.exceptions.ServiceError) as theirs:
        by_sdk(service, "get_experiment_run_by_id", run_id="missing")
    with pytest.raises(OciDataPlatformException) as ours:
        service.store.get_run("missing")
    assert (theirs.value.status, theirs.value.code) == (ours.value.status, ours.value.oci_code)
    assert theirs.value.message.rstrip(".") in ours.value.message


def test_oracles_command_line_reads_what_the_store_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AidpEmulator(tmp_path, tls=True) as emulator:
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(emulator.ca_file))
        store = OciDataPlatformStore(emulator.tracking_uri)
        store.create_experiment(UNICODE, tags=[ExperimentTag("team", UNICODE)])
        command = [
            *(str(Path(sys.executable).with_name("aidp")), "--auth", "api_key"),
            *("--config-file", emulator.config_file, "--profile", emulator.profile),
            *("--endpoint", emulator.endpoint, "--instance-id", emulator.platform_id),
            *("mlops", "list-experiments", emulator.workspace_key, "--body", "{}"),
        ]
        trusting = {**os.environ, "REQUESTS_CA_BUNDLE": str(emulator.ca_file)}
        read = subprocess.run(command, env=trusting, capture_output=True, text=True, check=False)
        assert read.returncode == 0, read.stderr
        answer = json.loads(read.stdout.removeprefix("Response:"))
        [experiment] = answer["data"]["experiments"]
        assert experiment["name"] == UNICODE
        assert experiment["tags"] == [{"key": "team", "value": UNICODE}]
