"""Artifacts to Object Storage: one large file, and many small ones.

The emulator is Object Storage here. It is a Python program on the same machine, so a good part of
each figure is its own work, which everybody pays alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.row import Goal, Measure, Piece, Row, Stage

_MIB = 1 << 20
_LARGE_MIB, _QUICK_LARGE_MIB = 1024, 128
_SMALL_FILES, _QUICK_SMALL_FILES = 2000, 300
_SMALL_BYTES = 4096

_OURS, _THEIRS = "mlflow-oci-store", "oci-mlflow"


def _our_repository(stage: Stage) -> Any:
    from mlflow_oci_store.artifacts.repository import OciArtifactRepository

    return OciArtifactRepository(f"{stage.bucket}/ours", stage.emulator_uri)


def _their_repository(stage: Stage) -> Any:
    import ads
    import oci
    from oci_mlflow.oci_object_storage import OCIObjectStorageArtifactRepository

    ads.set_auth(
        "api_key",
        config=oci.config.from_file(stage.emulator_config_file, stage.emulator_profile),
        client_kwargs={"service_endpoint": stage.object_storage},
    )
    return OCIObjectStorageArtifactRepository(f"{stage.bucket}/theirs")


def _large(stage: Stage, repository: Any) -> Measure:
    file = Path(stage.folder, "large.bin")
    if not file.exists():
        block = os.urandom(_MIB)
        with file.open("wb") as content:
            for _ in range(_QUICK_LARGE_MIB if stage.quick else _LARGE_MIB):
                content.write(block)
    return _seconds(lambda: repository.log_artifact(str(file)))


def _small(stage: Stage, repository: Any) -> Measure:
    folder = Path(stage.folder, "small")
    if not folder.exists():
        folder.mkdir()
        for number in range(_QUICK_SMALL_FILES if stage.quick else _SMALL_FILES):
            (folder / f"{number}.bin").write_bytes(os.urandom(_SMALL_BYTES))
    return _seconds(lambda: repository.log_artifacts(str(folder)))


def _seconds(work: Callable[[], object]) -> Measure:
    def measure() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def _row(name: str, work: Callable[[Stage, Any], Measure], at_most: float) -> Row:
    return Row(
        name=name,
        unit="s",
        pieces=[
            Piece(_OURS, "ours", lambda it: work(it, _our_repository(it))),
            Piece(_THEIRS, "oci-mlflow", lambda it: work(it, _their_repository(it))),
        ],
        goals=[Goal(_OURS, _THEIRS, at_most=at_most)],
        turns=3,
        quick_turns=1,
        emulator=True,
    )


ROWS: Sequence[Row] = [
    _row("upload of 1 GiB", _large, 1.0),
    _row("upload of 2,000 files of 4 KB", _small, 0.25),
]
