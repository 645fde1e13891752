"""Processes that set the same new experiment at the same moment all get it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlflow_oci_store.emulator import AidpEmulator, Delay, Fault
from mlflow_oci_store.tracking.store import OciDataPlatformStore

ROUNDS = 3
PROCESS = """
import sys, mlflow
for name in map(str.strip, sys.stdin):
    experiment = mlflow.set_experiment(name)
    with mlflow.start_run(run_name=sys.argv[1]):
        mlflow.log_metric("m", 1)
    print(experiment.experiment_id, flush=True)
"""


def test_two_processes_end_up_in_one_experiment(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", aidp_emulator.tracking_uri)
    # Wide enough for both to have looked the name up in vain before either creates it.
    aidp_emulator.faults.add(Fault(Delay(0.1), "create_experiment"))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    try:
        for number in range(ROUNDS):
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"experiment {number}\n")
                process.stdin.flush()
            answers = [process.stdout.readline().strip() for process in processes if process.stdout]
            experiment = store.get_experiment_by_name(f"experiment {number}")
            assert experiment is not None
            assert answers == [experiment.experiment_id] * 2
            runs = store.search_runs([experiment.experiment_id], None, 1)
            assert {run.info.run_name for run in runs} == {"one", "two"}
    finally:
        for process in processes:
            process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]


def test_the_loser_of_the_race_gets_the_winners_experiment(aidp_emulator: AidpEmulator) -> None:
    one, two = (OciDataPlatformStore(aidp_emulator.tracking_uri) for _ in range(2))
    assert one.get_experiment_by_name("new") is None
    assert two.get_experiment_by_name("new") is None
    made = one.create_experiment("new")
    assert two.create_experiment("new") == made
