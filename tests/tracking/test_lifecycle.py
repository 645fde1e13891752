"""Where a store can be taken: other threads, processes, forks, pickles."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow.entities import Metric

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import Request

UNPICKLER = """
import pickle, sys
store = pickle.load(sys.stdin.buffer)
print(store.get_experiment_by_name("e").experiment_id)
"""


def test_making_a_store_sends_nothing(uri: str, requests: list[Request]) -> None:
    OciDataPlatformStore(uri)
    assert requests == []


def test_an_unpickled_store_works_where_the_environment_names_nothing(
    store: OciDataPlatformStore, experiment_id: str
) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "OCI_", "AIDP_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", UNPICKLER],
        input=pickle.dumps(store),
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().strip() == experiment_id


def test_a_pickle_holds_no_key(store: OciDataPlatformStore, emulator: AidpEmulator) -> None:
    store.search_experiments()
    pickled = pickle.dumps(store)
    assert b"PRIVATE" not in pickled
    assert emulator.config_file.encode() in pickled


def test_both_sides_of_a_fork_log_to_the_same_run(store: OciDataPlatformStore, run_id: str) -> None:
    store.log_metric(run_id, Metric("before", 1.0, 1, 1))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for step in range(20):
                store.log_metric(run_id, Metric("child", float(step), step, step))
            status = 0
        finally:
            os._exit(status)
    for step in range(20):
        store.log_metric(run_id, Metric("parent", float(step), step, step))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for key in ("child", "parent"):
        assert [it.step for it in store.get_metric_history(run_id, key)] == list(range(20))


def test_eight_threads_share_a_store(
    emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    before = len(emulator.audit())

    def log(thread: int) -> None:
        for step in range(25):
            store.log_metric(run_id, Metric(f"m{thread}", float(step), step, step))

    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(log, thread) for thread in range(8)]:
            future.result()
    records = emulator.audit()[before:]
    assert len({record.retry_token for record in records}) == len(records) == 200
    for thread in range(8):
        history = store.get_metric_history(run_id, f"m{thread}")
        assert [metric.value for metric in history] == [float(step) for step in range(25)]


@pytest.mark.parametrize("key", ["Team A/ß", "試験", "a%2Fb", "?&#+", "ключ 1"])
def test_a_workspace_key_may_be_any_text(emulator: AidpEmulator, key: str) -> None:
    platform_id, _ = emulator.create_workspace(workspace_key=key)
    store = OciDataPlatformStore(emulator.uri_of(platform_id, key))
    made = store.create_experiment("e")
    assert [it.experiment_id for it in store.search_experiments()] == [made]
    assert emulator.audit()[-1].workspace_key == key


def test_the_user_principal_is_sent_with_every_request(uri: str, requests: list[Request]) -> None:
    store = OciDataPlatformStore(f"{uri}&user_principal=ada%40example.com")
    store.create_experiment("e")
    store.search_experiments()
    assert [request.headers["dh-user-principal"] for request in requests] == ["ada@example.com"] * 2


def test_no_user_principal_is_sent_unless_asked_for(
    store: OciDataPlatformStore, requests: list[Request]
) -> None:
    store.search_experiments()
    assert "dh-user-principal" not in requests[0].headers
