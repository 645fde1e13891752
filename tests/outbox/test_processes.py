"""Processes, forks and threads share a service, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator, Fail, Fault
from mlflow_oci_store.tracking.outbox import outbox as module
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, items, steps
from .process import CONTEXT, ServiceProcess, kill, start

EACH = 300


def metric(step: int, key: str = "m") -> Metric:
    return Metric(key, float(step), step, step)


def log(uri: str, run_id: str, key: str, count: int = EACH) -> None:
    """Log and end, without a word to the outbox."""
    os.environ["MLFLOW_OCI_DP_OUTBOX_EXIT_SECONDS"] = "60"
    store = OciDataPlatformStore(uri)
    for step in range(count):
        store.log_metric_async(run_id, metric(step, key))


def log_and_wait(uri: str, run_id: str, line: Connection) -> None:
    store = OciDataPlatformStore(uri)
    for step in range(EACH):
        store.log_metric_async(run_id, metric(step))
    line.send("accepted")
    threading.Event().wait()


def recover(uri: str, line: Connection) -> None:
    store = OciDataPlatformStore(uri)
    line.send("ready")
    line.recv()
    store._client.outbox.settle()
    line.send("done")
    # An outbox that another one has taken over is empty for this one.
    line.recv()


def test_eight_processes_log_to_one_run(
    aidp_emulator: AidpEmulator, run_id: str, applied: list[Applied], outbox_dir: Path
) -> None:
    processes = [
        start(log, aidp_emulator.tracking_uri, run_id, f"m{number}") for number in range(8)
    ]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    for number in range(8):
        assert steps(applied, run_id, f"m{number}") == list(range(EACH))
    assert list(outbox_dir.glob("*/*")) == []


def test_two_recoverers_at_once_send_each_item_once(
    aidp_emulator: AidpEmulator, run_id: str, applied: list[Applied], outbox_dir: Path
) -> None:
    uri = aidp_emulator.tracking_uri
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    for _ in range(6):
        here, there = CONTEXT.Pipe()
        victim = start(log_and_wait, uri, run_id, there)
        assert here.recv() == "accepted"
        kill(victim)
    aidp_emulator.faults.clear()
    pipes = [CONTEXT.Pipe() for _ in range(2)]
    recoverers = [start(recover, uri, there) for _, there in pipes]
    for message in ("ready", "done"):
        for here, _ in pipes:
            assert here.recv() == message
            here.send("go on")
    for recoverer in recoverers:
        recoverer.join(60)
    counts = Counter(steps(applied, run_id))
    assert counts == dict.fromkeys(range(EACH), 6)
    assert list(outbox_dir.glob("*/*/*.journal")) == []


def new_run(store: OciDataPlatformStore) -> str:
    return str(store.create_run(store.create_experiment("forks"), "ada", 0, [], None).info.run_id)


def in_child(work: Callable[[], None]) -> int:
    """os.fork; the child ends without a farewell, as such children do.

    It may use SQLite only if no other thread of this process did when it was forked. The outbox
    sees to its own; the service, which uses it, too, is therefore a process of its own here.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_forked_from_a_busy_process_has_an_outbox_of_its_own(
    service: ServiceProcess,
) -> None:
    store = OciDataPlatformStore(service.tracking_uri)
    run_id = new_run(store)
    for number in range(20):
        for step in range(60):
            ours = store.log_metric_async(run_id, metric(60 * number + step))

        def work(number: int = number) -> None:
            theirs = [
                store.log_metric_async(run_id, metric(step, f"child {number}"))
                for step in range(50)
            ]
            store.flush_async_logging()
            for operation in theirs:
                operation.wait()

        assert in_child(work) == 0
        assert steps(service.applied(), run_id, f"child {number}") == list(range(50))
    ours.wait()
    assert steps(service.applied(), run_id) == list(range(1200))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_cannot_wait_for_what_its_parent_has_logged(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    ours = store.log_metric_async(run_id, metric(0))

    def work() -> None:
        with pytest.raises(MlflowException, match="in that process only"):
            ours.wait()

    assert in_child(work) == 0
    aidp_emulator.faults.clear()
    ours.wait()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_empty_their_outboxes_when_they_end(
    service: ServiceProcess, outbox_dir: Path, method: str
) -> None:
    uri = service.tracking_uri
    store = OciDataPlatformStore(uri)
    run_id = new_run(store)
    store.log_metric_async(run_id, metric(0))
    context = multiprocessing.get_context(method)
    child = context.Process(target=log, args=(uri, run_id, "child"))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    assert steps(service.applied(), run_id, "child") == list(range(EACH))
    with context.Pool(1) as pool:
        pool.apply(log, (uri, run_id, "pool", 10))
        # A pool that is left is terminated, and what it had accepted is the next process's.
    successor = OciDataPlatformStore(uri)
    successor._client.outbox.adopt()
    store.flush_async_logging()
    assert steps(service.applied(), run_id, "pool") == list(range(10))
    assert steps(service.applied(), run_id) == [0]
    assert len(list(outbox_dir.glob("*/*"))) == 1


def test_a_hundred_runs_in_many_threads_do_not_keep_a_hundred_files_open(
    store: OciDataPlatformStore,
    experiment_id: str,
    applied: list[Applied],
    outbox_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_IDLE_LANES", 8)
    runs = [store.create_run(experiment_id, "ada", n, [], None).info.run_id for n in range(100)]
    with ThreadPoolExecutor(16) as pool:
        for part in (range(10), range(10, 20)):

            def log_part(run_id: str, part: range = part) -> None:
                for step in part:
                    store.log_metric_async(run_id, metric(step))

            list(pool.map(log_part, runs))
            store.flush_async_logging()
    for run_id in runs:
        assert steps(applied, run_id) == list(range(20))
    assert len(list(outbox_dir.glob("*/*/*.journal"))) < 50


def test_threads_that_log_to_one_run_lose_nothing(
    store: OciDataPlatformStore, run_id: str, applied: list[Applied]
) -> None:
    def log_some(number: int) -> None:
        for step in range(500):
            store.log_metric_async(run_id, metric(step, f"m{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(log_some, range(8)))
    store.flush_async_logging()
    for number in range(8):
        assert steps(applied, run_id, f"m{number}") == list(range(500))
    assert len(list(items(applied, run_id, "metrics"))) == 4000
