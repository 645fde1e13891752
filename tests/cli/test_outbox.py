"""The command ``mlflow-oci-store outbox``: every subcommand against what a dead process left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_oci_store.cli.outbox import NOTHING_LEFT, REFUSED, WAITING
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.emulator.faults import Fail, Fault
from mlflow_oci_store.tracking.store import OciDataPlatformStore

LOG_AND_DIE = """
import os, sys
from mlflow.entities import Metric, Param, RunTag
from mlflow_oci_store.tracking.store import OciDataPlatformStore
store = OciDataPlatformStore(sys.argv[1])
for run_id in sys.argv[2:]:
    metrics = [Metric("loss", 0.5 * step, 1, step) for step in range(3)]
    store.log_batch_async(run_id, metrics, [Param("rate", "0.1")], [RunTag("team", "blue")])
os._exit(1)
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def outbox_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_OCI_DP_OUTBOX_DIR", str(tmp_path / "outbox"))
    return tmp_path / "outbox"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("mlflow-oci-store")
        return subprocess.run(
            [program, "outbox", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def store(aidp_emulator: AidpEmulator) -> OciDataPlatformStore:
    return OciDataPlatformStore(aidp_emulator.tracking_uri)


@pytest.fixture
def run_id(store: OciDataPlatformStore) -> str:
    experiment_id = store.create_experiment("outbox")
    return str(store.create_run(experiment_id, "ada", 0, [], "the run").info.run_id)


@pytest.fixture
def left(aidp_emulator: AidpEmulator, run_id: str) -> str:
    """A run of which a process has logged five items and died before it sent any."""
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    subprocess.run(
        [sys.executable, "-c", LOG_AND_DIE, aidp_emulator.tracking_uri, run_id],
        check=False,
        timeout=120,
    )
    aidp_emulator.faults.clear()
    return run_id


def test_nothing_is_said_of_an_empty_outbox(command: Command) -> None:
    done = command("status")
    assert (done.returncode, done.stdout) == (NOTHING_LEFT, "Nothing is left to send.\n")
    assert command("status", "--json").stdout == "[]\n"
    assert command("flush").returncode == NOTHING_LEFT


def test_status_counts_what_waits_and_says_who_left_it(
    command: Command, left: str, aidp_emulator: AidpEmulator
) -> None:
    done = command("status")
    assert done.returncode == WAITING
    assert f"{aidp_emulator.platform_id}/{aidp_emulator.workspace_key}: process" in done.stdout
    assert "dead" in done.stdout
    assert "5 items of 1 run(s)" in done.stdout
    (box,) = json.loads(command("status", "--json").stdout)
    assert box["waiting"] == {left: 5}
    assert not box["is_alive"]
    assert box["refused"] == 0


def test_list_and_export_show_every_item(command: Command, left: str, tmp_path: Path) -> None:
    listed = command("list")
    assert listed.returncode == WAITING
    assert len(listed.stdout.splitlines()) == 5
    file = tmp_path / "export.jsonl"
    assert command("export", "--output", str(file)).returncode == 0
    items = [json.loads(text) for text in file.read_text().splitlines()]
    assert [json.loads(text) for text in command("list", "--json").stdout.splitlines()] == items
    assert {it["run_id"] for it in items} == {left}
    assert {it["state"] for it in items} == {"waiting"}
    assert [it["kind"] for it in items] == ["param", "metric", "metric", "metric", "tag"]
    assert items[1]["content"] == {"key": "loss", "value": 0.0, "timestamp": 1, "step": 0}


def test_flush_sends_what_a_dead_process_left(
    command: Command, left: str, store: OciDataPlatformStore, outbox_dir: Path
) -> None:
    done = command("flush")
    assert (done.returncode, done.stdout) == (
        NOTHING_LEFT,
        "0 items left to send, 0 items refused.\n",
    )
    run = store.get_run(left)
    assert run.data.params == {"rate": "0.1"}
    assert run.data.tags["team"] == "blue"
    assert len(store.get_metric_history(left, "loss")) == 3
    assert not [path for path in outbox_dir.rglob("*") if path.is_file()]


def test_flush_sends_what_lies_in_the_folder_that_it_is_given(
    command: Command, left: str, store: OciDataPlatformStore, outbox_dir: Path
) -> None:
    # As a container's volume, which has another path outside of it.
    outbox_dir.rename(outbox_dir.with_name("volume"))
    assert command("status").returncode == NOTHING_LEFT
    assert command("status", "--dir", "volume").returncode == WAITING

    assert command("flush", "--dir", "volume").returncode == NOTHING_LEFT

    assert len(store.get_metric_history(left, "loss")) == 3
    assert not outbox_dir.exists()


def test_a_folder_that_cannot_be_is_refused_in_one_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_OCI_DP_OUTBOX_DIR", "box")
    done = command("status")
    assert done.returncode == 1
    assert "write an absolute path" in done.stderr
    assert "Traceback" not in done.stderr


def test_flush_says_what_it_could_not_send(
    command: Command, left: str, aidp_emulator: AidpEmulator
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    done = command("flush", "--timeout", "0.5", "--json")
    assert done.returncode == WAITING
    assert json.loads(done.stdout) == {"waiting": 5, "refused": 0}
    assert "out of reach" in done.stderr


def test_what_was_refused_is_kept_until_it_is_sent_again(
    command: Command, left: str, store: OciDataPlatformStore
) -> None:
    store.delete_run(left)
    assert command("flush").returncode == REFUSED
    listed = command("list", "--refused")
    assert listed.returncode == REFUSED
    assert listed.stdout.count("refused (log_experiment_run_batch: 400") == 5
    store.restore_run(left)

    done = command("retry")

    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        NOTHING_LEFT,
        "0 items left to send, 0 items refused.",
    )
    assert store.get_run(left).data.params == {"rate": "0.1"}
    assert len(store.get_metric_history(left, "loss")) == 3


def test_purge_drops_what_was_refused_and_asks_first(
    command: Command, left: str, store: OciDataPlatformStore, outbox_dir: Path
) -> None:
    store.delete_run(left)
    command("flush")
    declined = command("purge")
    assert declined.returncode == 1
    assert "5 items that were refused?" in declined.stderr
    assert command("purge", "--yes").returncode == NOTHING_LEFT
    assert not [path for path in outbox_dir.rglob("*") if path.is_file()]


def test_purge_drops_what_waits_only_if_told(command: Command, left: str) -> None:
    assert command("purge", "--yes").returncode == WAITING
    assert command("purge", "--yes", "--all").returncode == NOTHING_LEFT


def test_what_a_living_process_has_is_left_to_it(
    command: Command, aidp_emulator: AidpEmulator, run_id: str
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable"), times=5))
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            LOG_AND_DIE.replace("os._exit(1)", "print(flush=True); sys.stdin.read()"),
            aidp_emulator.tracking_uri,
            run_id,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (box,) = json.loads(command("status", "--json").stdout)
        assert box["is_alive"]
        assert box["pid"] == str(process.pid)
        command("purge", "--yes", "--all")
    assert process.returncode == 0
    assert (
        len(OciDataPlatformStore(aidp_emulator.tracking_uri).get_metric_history(run_id, "loss"))
        == 3
    )
