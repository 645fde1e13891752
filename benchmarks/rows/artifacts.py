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

from harness.row import Goal, Measure, Piece, Row, Stage, Storage

_MIB = 1 << 20
_LARGE_MIB, _QUICK_LARGE_MIB = 1024, 512
_MANY, _QUICK_MANY, _SOME = 2000, 300, 200
_SMALL_BYTES = 4096

_OURS, _THEIRS = "mlflow-oci-store", "oci-mlflow"


def _our_repository(storage: Storage) -> Any:
    from mlflow_oci_store.artifacts.repository import OciArtifactRepository

    return OciArtifactRepository(f"{storage.bucket}/ours", storage.tracking_uri)


def _their_repository(storage: Storage) -> Any:
    import ads
    import oci
    from oci_mlflow.oci_object_storage import OCIObjectStorageArtifactRepository

    # One setting for the whole process, which holds until the next row.
    ads.set_auth(
        "api_key",
        config=oci.config.from_file(storage.config_file, storage.profile),
        client_kwargs={"service_endpoint": storage.endpoint},
    )
    return OCIObjectStorageArtifactRepository(f"{storage.bucket}/theirs")


def _large(stage: Stage, repository: Any) -> Measure:
    file = Path(stage.folder, "large.bin")
    if not file.exists():
        block = os.urandom(_MIB)
        with file.open("wb") as content:
            for _ in range(_QUICK_LARGE_MIB if stage.quick else _LARGE_MIB):
                content.write(block)
    return _seconds(lambda: repository.log_artifact(str(file)))


def _small(stage: Stage, repository: Any, files: int) -> Measure:
    folder = Path(stage.folder, f"small-{files}")
    if not folder.exists():
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}.bin").write_bytes(os.urandom(_SMALL_BYTES))
    return _seconds(lambda: repository.log_artifacts(str(folder)))


def _many(stage: Stage, repository: Any) -> Measure:
    return _small(stage, repository, _QUICK_MANY if stage.quick else _MANY)


def _some(stage: Stage, repository: Any) -> Measure:
    return _small(stage, repository, _SOME)


def _seconds(work: Callable[[], object]) -> Measure:
    def measure() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def _instant(stage: Stage) -> Storage:
    assert stage.storage is not None
    return stage.storage


def _distant(stage: Stage) -> Storage:
    assert stage.slow_storage is not None
    return stage.slow_storage


def _row(
    name: str,
    work: Callable[[Stage, Any], Measure],
    at_most: float,
    storage: Callable[[Stage], Storage] = _instant,
) -> Row:
    return Row(
        name=name,
        unit="s",
        pieces=[
            Piece(_OURS, "ours", lambda it: work(it, _our_repository(storage(it)))),
            Piece(_THEIRS, "oci-mlflow", lambda it: work(it, _their_repository(storage(it)))),
        ],
        goals=[Goal(_OURS, _THEIRS, at_most=at_most)],
        turns=5,
        quick_turns=1,
        emulator=True,
    )


ROWS: Sequence[Row] = [
    _row("upload of 1 GiB", _large, 1.0),
    _row("upload of 2,000 files of 4 KB", _many, 0.25),
    _row("upload of 200 files of 4 KB with 20 ms of latency", _some, 0.25, _distant),
]
