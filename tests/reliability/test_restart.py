"""The service goes away in the middle of a training, and comes back."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow.entities import Metric

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import applied

CALLS = 150


def test_logging_rides_out_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0.5")
    first = AidpEmulator(tmp_path)
    store = OciDataPlatformStore(first.tracking_uri)
    experiment = store.create_experiment("e")
    run_id = store.create_run(experiment, "ada", 0, [], None).info.run_id
    under_way = threading.Event()

    def train() -> None:
        for step in range(CALLS):
            store.log_metric(run_id, Metric("loss", float(step), step, step))
            if step == CALLS // 3:
                under_way.set()

    training = threading.Thread(target=train)
    training.start()
    assert under_way.wait(60)
    first.close()
    with AidpEmulator(tmp_path, port=urlsplit(first.endpoint).port or 0) as second:
        training.join(120)
        assert not training.is_alive()
        tokens = applied(second, "log_experiment_run_metric")
        assert len(tokens) == len(set(tokens)) == CALLS
        history = store.get_metric_history(run_id, "loss")
        assert [metric.step for metric in history] == list(range(CALLS))
