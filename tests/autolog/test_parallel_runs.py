"""Runs that are trained at the same time in one program, in threads and in processes: each ends up
with all of its own and nothing of the others'."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from .predictions import about
from .programs import run_script
from .record import models_of, runs_of

pytestmark = [pytest.mark.autolog, pytest.mark.timeout(900)]

ALPHAS = {"ridge-0.1": "0.1", "ridge-1.0": "1.0", "ridge-10.0": "10.0"}


@pytest.mark.parametrize("way", ["threads", "joblib", "fork", "spawn"])
def test_runs_side_by_side_keep_apart(
    way: str, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scripts' module imports what training needs, which is not there without the frameworks.
    from .scripts.parallel_runs import sample

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    expected = run_script("parallel_runs", tracking_uri, tmp_path, way)

    client = MlflowClient(tracking_uri)
    runs = {run.info.run_name: run for run in runs_of(client)}
    models = {model.source_run_id: model for model in models_of(client)}
    assert expected.keys() == runs.keys() == ALPHAS.keys()
    assert models.keys() == {run.info.run_id for run in runs.values()}

    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["alpha"] == ALPHAS[name]
        history = client.get_metric_history(run.info.run_id, "alpha_by_step")
        assert [it.value for it in history] == [float(ALPHAS[name]) * step for step in range(5)]
        model = models[run.info.run_id]
        assert model.params["alpha"] == ALPHAS[name]
        assert [it.model_id for it in run.outputs.model_outputs] == [model.model_id]
        loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
        assert loaded.predict(sample()).tolist() == about(expected[name]), name
