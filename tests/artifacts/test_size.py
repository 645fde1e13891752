"""Much to transfer: one file of 2 GiB, and 2,000 of 1 KB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.emulator import AidpEmulator, Fault
from mlflow_oci_store.emulator.faults import Action

from .conftest import files_in


@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_a_file(
    aidp_emulator: AidpEmulator, root: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("transfer_two_gib.py")), root, str(tmp_path)],
        env={**os.environ, "MLFLOW_TRACKING_URI": aidp_emulator.tracking_uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["same"]
    assert seen["upload"] < 200
    assert seen["download"] < 200


class Meeting(Action):
    """Hold requests until so many are there at the same time."""

    name: ClassVar[str] = "meeting"

    def __init__(self, expected: int) -> None:
        self._barrier = threading.Barrier(expected)

    def before(self, released: threading.Event) -> None:
        self._barrier.wait(60)


def test_many_small_files_are_transferred_at_the_same_time(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    for number in range(2000):
        (here / f"{number:04}").write_bytes(number.to_bytes(4, "big") * 256)
    for operation in ("put_object", "get_object"):
        aidp_emulator.faults.add(Fault(Meeting(8), operation, times=8))
    repository.log_artifacts(here)
    assert len(repository.list_artifacts()) == 2000
    repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)
