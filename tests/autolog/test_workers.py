"""Asynchronous logging in the workers of frameworks, which are killed when their work is done: what
they logged is in their outboxes then, and arrives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .programs import needs_java, run_script

pytestmark = [pytest.mark.autolog, pytest.mark.timeout(300)]


@pytest.mark.parametrize("mode", ["documented"])
@pytest.mark.parametrize("way", ["joblib", pytest.param("spark", marks=needs_java)])
def test_what_workers_log_arrives_once(
    way: str, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ran = run_script("worker_metrics", tracking_uri, tmp_path, way)

    program = Path(sys.executable).with_name("mlflow-oci-store")
    flushed = subprocess.run(
        [program, "outbox", "flush"], capture_output=True, text=True, check=False
    )

    assert flushed.returncode == 0, flushed.stderr
    client = MlflowClient(tracking_uri)
    for worker in range(ran["workers"]):
        history = client.get_metric_history(ran["run_id"], f"worker-{worker}")
        assert [(it.step, it.value) for it in history] == [
            (step, step / 7) for step in range(ran["each"])
        ]
