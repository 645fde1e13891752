"""MLflow's own interfaces, used as scripts use them, with nothing but the tracking URI set."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_iris  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from mlflow_oci_store.tracking.store import OciDataPlatformStore

pytestmark = pytest.mark.usefixtures("script")


def test_a_script_with_a_nested_run(store: OciDataPlatformStore) -> None:
    experiment = mlflow.set_experiment("training")
    with mlflow.start_run(run_name="parent", description="the outer one") as parent:
        mlflow.log_params({"epochs": 3, "rate": 0.1})
        mlflow.log_metrics({"loss": 0.5, "accuracy": 0.9}, step=1)
        mlflow.log_metric("loss", float("nan"), step=2)
        mlflow.set_tags({"stage": "test", "n": 1})
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("loss", 0.1)
    run = mlflow.get_run(parent.info.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.experiment_id == experiment.experiment_id
    assert run.data.params == {"epochs": "3", "rate": "0.1"}
    assert run.data.metrics["accuracy"] == 0.9
    assert repr(run.data.metrics["loss"]) == "nan"
    assert (run.data.tags["stage"], run.data.tags["n"]) == ("test", "1")
    assert run.data.tags["mlflow.note.content"] == "the outer one"
    children = MlflowClient().search_runs(
        [experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    )
    assert [it.info.run_id for it in children] == [child.info.run_id]


def test_a_script_that_fails_leaves_a_failed_run() -> None:
    mlflow.set_experiment("training")
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        mlflow.log_metric("m", 1 / 0)
    assert mlflow.get_run(run.info.run_id).info.status == "FAILED"


def test_a_run_is_resumed() -> None:
    mlflow.set_experiment("training")
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1, step=1)
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("m", 2, step=2)
    assert len(MlflowClient().get_metric_history(run.info.run_id, "m")) == 2


def test_runs_become_a_data_frame() -> None:
    mlflow.set_experiment("training")
    for number in range(3):
        with mlflow.start_run():
            mlflow.log_metric("loss", number)
            mlflow.log_param("number", number)
    frame = mlflow.search_runs(
        experiment_names=["training"],
        filter_string="metrics.loss > 0",
        order_by=["metrics.loss DESC"],
    )
    assert list(frame["metrics.loss"]) == [2.0, 1.0]
    assert list(frame["params.number"]) == ["2", "1"]


def test_the_client_does_what_the_fluent_interface_does() -> None:
    client = MlflowClient()
    experiment_id = client.create_experiment("by client", tags={"team": "a"})
    run = client.create_run(experiment_id, run_name="r", tags={"a": "b"})
    client.log_metric(run.info.run_id, "m", 0.5, timestamp=1, step=2)
    client.log_param(run.info.run_id, "p", None)
    client.log_batch(run.info.run_id, [Metric("m", 1, 2, 3)], [Param("q", "1")], [RunTag("t", "u")])
    client.set_terminated(run.info.run_id, "KILLED", end_time=9)
    client.update_run(run.info.run_id, name="renamed")
    read = client.get_run(run.info.run_id)
    assert (read.info.status, read.info.end_time, read.info.run_name) == ("KILLED", 9, "renamed")
    assert read.data.params == {"p": "None", "q": "1"}
    assert read.data.metrics == {"m": 1.0}
    with pytest.raises(MlflowException, match="Changing param values") as caught:
        client.log_param(run.info.run_id, "q", "2")
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    client.delete_run(run.info.run_id)
    assert client.search_runs([experiment_id]) == []
    assert len(client.search_runs([experiment_id], run_view_type=ViewType.ALL)) == 1
    client.restore_run(run.info.run_id)
    client.set_experiment_tag(experiment_id, "k", "v")
    client.rename_experiment(experiment_id, "renamed")
    experiment = client.get_experiment_by_name("renamed")
    assert experiment is not None
    assert experiment.tags == {"team": "a", "k": "v"}


def test_artifacts_go_where_the_service_says(tmp_path: Path) -> None:
    mlflow.set_experiment("training")
    source = tmp_path / "é.txt"
    source.write_text("content")
    with mlflow.start_run() as run:
        mlflow.log_text("text", "folder/a.txt")
        mlflow.log_artifact(str(source))
        mlflow.log_dict({"a": 1}, "d.json")
        mlflow.log_table({"q": ["one"], "a": ["1"]}, "table.json")
        mlflow.log_table({"q": ["two"], "a": ["2"]}, "table.json")
    client = MlflowClient()
    listed = {it.path for it in client.list_artifacts(run.info.run_id)}
    assert listed == {"folder", "é.txt", "d.json", "table.json"}
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/folder/a.txt") == "text"
    assert Path(client.download_artifacts(run.info.run_id, "é.txt")).read_text() == "content"
    assert list(mlflow.load_table("table.json", [run.info.run_id])["q"]) == ["one", "two"]


def test_datasets_are_inputs_of_a_run() -> None:
    mlflow.set_experiment("training")
    frame, _ = load_iris(return_X_y=True, as_frame=True)
    dataset = mlflow.data.from_pandas(frame, name="iris")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training")
        mlflow.log_metric("m", 1, dataset=dataset)
    [found] = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("iris", dataset.digest)
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}


def test_scikit_learn_logs_by_itself() -> None:
    mlflow.set_experiment("training")
    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        with mlflow.start_run() as run:
            LogisticRegression(C=0.5, max_iter=500).fit(*load_iris(return_X_y=True))
    finally:
        mlflow.sklearn.autolog(disable=True)
    data = mlflow.get_run(run.info.run_id).data
    assert data.params["C"] == "0.5"
    assert data.metrics["training_accuracy_score"] > 0.9
    assert data.tags["estimator_name"] == "LogisticRegression"


def test_asynchronous_logging_arrives(store: OciDataPlatformStore) -> None:
    mlflow.set_experiment("training")
    with mlflow.start_run() as run:
        waits = [mlflow.log_metric("m", n, step=n, synchronous=False) for n in range(50)]
        waits.append(mlflow.log_param("p", "1", synchronous=False))
        waits.append(mlflow.set_tag("t", "1", synchronous=False))
        for wait in waits:
            assert wait is not None
            wait.wait()
        mlflow.flush_async_logging()
    assert len(store.get_metric_history(run.info.run_id, "m")) == 50
    data = store.get_run(run.info.run_id).data
    assert (data.params["p"], data.tags["t"]) == ("1", "1")


def test_what_asynchronous_logging_cannot_send_is_raised_by_its_future() -> None:
    mlflow.set_experiment("training")
    with mlflow.start_run():
        mlflow.log_param("p", "1")
        wait = mlflow.log_param("p", "2", synchronous=False)
        assert wait is not None
        with pytest.raises(MlflowException, match="Changing param values"):
            wait.wait()
