"""How a process ends: of its own accord, by Ctrl-C, or because it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Metric

from mlflow_oci_store.emulator import AidpEmulator, Delay, Fail, Fault
from mlflow_oci_store.tracking.outbox.journal import journals_in
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, steps
from .process import environment

SCRIPT = """
import signal, sys, threading
from mlflow.entities import Metric
from mlflow_oci_store.tracking.store import OciDataPlatformStore
uri, run_id, what = sys.argv[1:]
# Whoever runs the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
store = OciDataPlatformStore(uri)
def log(step):
    return store.log_metric_async(run_id, Metric("m", float(step), step, step))
def say(word):
    print(word, flush=True)
if what == "end":
    for step in range(3000):
        log(step)
    say("logged")
elif what == "accept":
    step = 0
    try:
        say("logging")
        while True:
            log(step)
            step += 1
    except KeyboardInterrupt:
        say(f"interrupted {step}")
    log(10**6)
elif what == "wait":
    operations = log(0)
    try:
        say("waiting")
        operations.wait()
    except KeyboardInterrupt:
        say("interrupted")
    log(1)
elif what == "handler":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    step = 0
    say("logging")
    while True:
        log(step)
        step += 1
elif what == "default":
    for step in range(500):
        log(step)
    say("logged")
    threading.Event().wait()
"""

Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def script(aidp_emulator: AidpEmulator, run_id: str) -> Script:
    def start(what: str, exit_seconds: str = "60") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, aidp_emulator.tracking_uri, run_id, what],
            env=environment(MLFLOW_OCI_DP_OUTBOX_EXIT_SECONDS=exit_seconds),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_an_interpreter_that_ends_sends_what_it_has(
    aidp_emulator: AidpEmulator,
    script: Script,
    run_id: str,
    applied: list[Applied],
    outbox_dir: Path,
) -> None:
    aidp_emulator.faults.add(Fault(Delay(0.2), "log_experiment_run_batch"))
    _, errors = script("end").communicate(timeout=120)
    assert errors == ""
    assert steps(applied, run_id) == list(range(3000))
    assert list(outbox_dir.glob("*/*")) == []


def test_an_interpreter_that_may_not_wait_says_what_it_leaves(
    aidp_emulator: AidpEmulator,
    script: Script,
    store: OciDataPlatformStore,
    run_id: str,
    applied: list[Applied],
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    process = script("end", "0.2")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "is safe in the outbox" in errors
    assert "`mlflow-oci-store outbox flush`" in errors
    assert "503 ServiceUnavailable" in errors
    aidp_emulator.faults.clear()
    store.log_metric_async(run_id, Metric("m", 1.0, 1, 3000)).wait()
    assert steps(applied, run_id) == list(range(3001))


def test_ctrl_c_while_logging_loses_nothing(
    script: Script, run_id: str, applied: list[Applied]
) -> None:
    process = script("accept")
    assert said(process) == "logging"
    process.send_signal(signal.SIGINT)
    word, count = said(process).split()
    assert word == "interrupted"
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    found = steps(applied, run_id)
    # Of the call that was interrupted nobody can know.
    assert found in ([*range(int(count)), 10**6], [*range(int(count) + 1), 10**6])


def test_ctrl_c_while_waiting_loses_nothing(
    aidp_emulator: AidpEmulator,
    script: Script,
    run_id: str,
    applied: list[Applied],
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable"), "log_experiment_run_batch"))
    process = script("wait")
    assert said(process) == "waiting"
    process.send_signal(signal.SIGINT)
    assert said(process) == "interrupted"
    aidp_emulator.faults.clear()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert steps(applied, run_id) == [0, 1]


def test_sigterm_that_ends_the_program_properly_sends_what_it_has(
    script: Script, run_id: str, applied: list[Applied]
) -> None:
    process = script("handler")
    assert said(process) == "logging"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (3, "")
    found = steps(applied, run_id)
    assert found == list(range(len(found)))


def test_sigterm_that_ends_it_at_once_leaves_it_to_the_next_process(
    aidp_emulator: AidpEmulator,
    script: Script,
    store: OciDataPlatformStore,
    run_id: str,
    applied: list[Applied],
    outbox_dir: Path,
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    process = script("default")
    assert said(process) == "logged"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM
    [folder] = outbox_dir.glob("*/*")
    [journal] = journals_in(folder)
    assert len(list(journal.lines(0))) == 500
    aidp_emulator.faults.clear()
    # A synchronous call will do.
    store.log_metric(run_id, Metric("m", 1.0, 1, 500))
    assert steps(applied, run_id) == list(range(501))
