"""The demo, run as a newcomer runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_demo_trains_registers_predicts_and_reads_back_with_the_sdk(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "OCI_CLI"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / "demo.py")],
        env={**environment, "DEMO_DATA": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    (sgd,) = [row for row in rows if row[:1] == ["sgd"]]
    (baseline,) = [row for row in rows if row[:1] == ["baseline"]]
    # run, status, params, metrics, tags, points, parent
    assert sgd[1:4] == ["FINISHED", "3", "2"]
    assert sgd[5:] == ["241", "-"]
    assert baseline[1] == "FINISHED"
    assert int(baseline[2]) > 10, "autologging logs the estimator's parameters"
    assert baseline[6] == "sgd"
    assert ["241", "log_experiment_run_metric"] in rows
    assert "240 log_metric calls took" in done.stdout
    (found,) = re.findall(r"Registered model (\S+) as breast-cancer version 1", done.stdout)
    (used, right) = re.findall(
        r"models:/breast-cancer@champion is model (\S+): right about (\d+) of 569", done.stdout
    )[0]
    assert used == found
    assert int(right) > 540
    (version,) = [row for row in rows if row[:2] == ["breast-cancer", "1"]]
    assert version[2] == "READY"
    assert version[3].startswith("oci://")
    assert (tmp_path / "data").is_dir()


def test_an_outage_and_a_kill_take_nothing_from_a_training(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "OCI_CLI"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / "outage.py")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 of them twice" in done.stdout
    assert " logged ones 0 are missing." in done.stdout
    assert "0 items left to send, 0 items refused." in done.stdout


@pytest.mark.parametrize("script", ["train.py", "predict.py", "long_training.py"])
def test_the_scripts_know_nothing_of_where_they_log(script: str) -> None:
    _, _, code = (EXAMPLES / script).read_text(encoding="utf-8").partition('"""\n\nimport')
    assert code
    for word in ("oci", "aidp", "tracking_uri"):
        assert word not in code
