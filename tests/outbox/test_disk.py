"""A disk that is full, or a folder that cannot be written: the caller is told, and chooses."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator, Fail, Fault
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, steps, values

MEGABYTE = 2**20
pytestmark = pytest.mark.usefixtures("brisk")


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """An outbox on a disk of two megabytes, and a function that makes it larger.

    Where nothing may be mounted, the operating system's answer is made up.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("MLFLOW_OCI_DP_OUTBOX_DIR", str(folder / "outbox"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "outbox-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        grow = ["mount", "-o", "remount,size=64m", str(folder)]
        yield lambda: subprocess.run(grow, check=True) and None
        # An outbox stays open until its process ends.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    room = 2 * MEGABYTE
    write = os.write

    def writing(descriptor: int, data: Any) -> int:
        nonlocal room
        if len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        room -= len(data)
        return write(descriptor, data)

    def grow_by_patch() -> None:
        nonlocal room
        room += 64 * MEGABYTE

    monkeypatch.setattr(os, "write", writing)
    yield grow_by_patch


def test_on_a_full_disk_the_call_fails_and_what_was_accepted_before_arrives(
    small_disk: Callable[[], None],
    aidp_emulator: AidpEmulator,
    applied: list[Applied],
) -> None:
    store = OciDataPlatformStore(aidp_emulator.tracking_uri)
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable")))
    accepted: list[int] = []

    def fill() -> None:
        for number in range(3000):
            store.set_tag_async(run_id, RunTag(f"t{number}", f"{number} {'x' * 3000}"))
            accepted.append(number)

    with pytest.raises(MlflowException, match="No space left on device") as caught:
        fill()
    error = caught.value
    assert error.error_code == "RESOURCE_EXHAUSTED"
    for advice in ("not logged", "MLFLOW_OCI_DP_OUTBOX_DIR", "synchronous=True", "is safe"):
        assert advice in str(error)
    assert 300 < len(accepted) < 900
    small_disk()
    store.set_tag_async(run_id, RunTag("t", "later"))
    store.log_metric_async(run_id, Metric("m", 1.0, 1, 1))
    aidp_emulator.faults.clear()
    store.flush_async_logging()
    found = [value.partition(" ")[0] for _, value in values(applied, run_id, "tags")]
    assert found == [*map(str, accepted), "later"]
    assert steps(applied, run_id) == [1]


def test_a_ledger_on_a_full_disk_holds_things_up_and_loses_nothing(
    store: OciDataPlatformStore,
    run_id: str,
    applied: list[Applied],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.log_metric_async(run_id, Metric("m", 1.0, 1, 0)).wait()
    spool = store._client.outbox._spool
    assert spool is not None
    execute = spool.ledger._connection.execute
    (pages,) = execute("PRAGMA page_count").fetchone()
    execute(f"PRAGMA max_page_count = {pages}")
    # A body of many pages, so that it cannot find room among those that are free.
    tags = [RunTag(f"t{number}", "x" * 5000) for number in range(40)]
    waiting = store.log_batch_async(run_id, [], [], tags)
    with pytest.raises(MlflowException, match="disk is full"):
        store._client.outbox.settle(run_id, patience=0.1)
    assert any("cannot be sent at the moment" in it.getMessage() for it in caplog.records)
    execute("PRAGMA max_page_count = 1000000")
    waiting.wait()
    store.log_metric_async(run_id, Metric("m", 1.0, 1, 1)).wait()
    assert steps(applied, run_id) == [0, 1]
    assert len(values(applied, run_id, "tags")) == 40


def test_a_folder_that_cannot_be_made_is_an_error_to_act_on(
    aidp_emulator: AidpEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    applied: list[Applied],
) -> None:
    # Whoever tests as root may write everywhere, but not below a file.
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("MLFLOW_OCI_DP_OUTBOX_DIR", str(blocked / "outbox"))
    store = OciDataPlatformStore(aidp_emulator.tracking_uri)
    run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
    for _ in range(2):
        with pytest.raises(MlflowException, match="MLFLOW_OCI_DP_OUTBOX_DIR") as caught:
            store.log_metric_async(run_id, Metric("m", 1.0, 1, 1))
        assert caught.value.error_code == "INTERNAL_ERROR"
        assert str(blocked) in str(caught.value)
    store.log_metric(run_id, Metric("m", 1.0, 1, 2))
    assert steps(applied, run_id) == [2]
    blocked.unlink()
    store.log_metric_async(run_id, Metric("m", 1.0, 1, 3)).wait()
    assert steps(applied, run_id) == [2, 3]
