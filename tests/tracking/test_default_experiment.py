"""A script that names no experiment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.plugin import DefaultExperimentProvider
from mlflow_oci_store.tracking import default_experiment
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import Request

SCRIPT = "import mlflow\nwith mlflow.start_run(): mlflow.log_metric('m', 1)"


def test_runs_go_to_an_experiment_that_is_made_for_them(
    script: str, store: OciDataPlatformStore
) -> None:
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    [experiment] = store.search_experiments()
    assert experiment.name == "Default"
    assert run.info.experiment_id == experiment.experiment_id


def test_it_is_looked_up_once(script: str, requests: list[Request]) -> None:
    for _ in range(3):
        with mlflow.start_run():
            pass
    routes = [request.route for request in requests]
    assert routes.count("experiments/get-by-name") == 1
    assert routes.count("experiments/create") == 1
    assert routes.count("runs/create") == 3


def test_it_is_looked_up_again_when_it_is_old(
    script: str, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    cache = default_experiment._ids
    aging = type(cache)(cache.maxsize, cache.ttl, timer=lambda: now[0])
    monkeypatch.setattr(default_experiment, "_ids", aging)
    for moment in (0.0, 599.0, 601.0, 602.0):
        now[0] = moment
        default_experiment.default_experiment_id()
    assert [request.route for request in requests] == [
        "experiments/get-by-name",
        "experiments/create",
        "experiments/get-by-name",
    ]


def test_another_process_finds_the_same_one(script: str, store: OciDataPlatformStore) -> None:
    for _ in range(2):
        subprocess.run([sys.executable, "-c", SCRIPT], check=True)
    [experiment] = store.search_experiments()
    assert len(store.search_runs([experiment.experiment_id], None, 1)) == 2


def test_each_workspace_has_its_own(
    script: str, emulator: AidpEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = emulator.uri_of(*emulator.create_workspace())
    for uri in (script, other):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with mlflow.start_run():
            pass
        [experiment] = OciDataPlatformStore(uri).search_experiments()
        assert len(OciDataPlatformStore(uri).search_runs([experiment.experiment_id], None, 1)) == 1


def test_an_experiment_that_is_set_comes_first(script: str, store: OciDataPlatformStore) -> None:
    mlflow.set_experiment("mine")
    with mlflow.start_run():
        pass
    assert [it.name for it in store.search_experiments()] == ["mine"]


def test_other_schemes_have_theirs(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert not DefaultExperimentProvider().in_context()
    with mlflow.start_run() as run:
        pass
    assert run.info.experiment_id == "0"
