"""Artifacts to Object Storage: one large file, and many small ones.

The emulator is Object Storage here. It is a Python program on the same machine, so a good part of
each figure is its own work, which everybody pays alike.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.row import Goal, Measure, Piece, Row, Stage, Storage

_MIB = 1 << 20
_LARGE_MIB, _QUICK_LARGE_MIB = 1024, 512
_MANY, _QUICK_MANY, _SOME = 2000, 300, 200
_SMALL_BYTES = 4096

# Connections of the floor that wait for their answers while the next request is made.
_WAITING = 4

_OURS, _THEIRS, _FLOOR = "mlflow-oci-store", "oci-mlflow", "floor"


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


class _Floor:
    """What is left to do with ``http.client`` when all that can be is left out.

    For each file its MD5, an RSA signature and a request of ``http.client``, from one thread, as
    several would only wait for Python's lock. The answers are read when the next requests are made,
    so that the other side works at the same time.
    """

    def __init__(self, storage: Storage) -> None:
        import oci
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        profile = oci.config.from_file(storage.config_file, storage.profile)
        self._key: Any = oci.signer.load_private_key_from_file(profile["key_file"])
        self._key_id = "/".join(profile[it] for it in ("tenancy", "user", "fingerprint"))
        self._how = PKCS1v15(), SHA256()
        bucket, _, namespace = urlsplit(storage.bucket).netloc.partition("@")
        self._path = f"/n/{namespace}/b/{bucket}/o"
        self._host = urlsplit(storage.endpoint).netloc
        self._connections = deque(http.client.HTTPConnection(self._host) for _ in range(_WAITING))

    def log_artifacts(self, folder: str) -> None:
        waiting: deque[http.client.HTTPConnection] = deque()
        for file in Path(folder).iterdir():
            if not self._connections:
                self._answered(waiting.popleft())
            connection = self._connections.popleft()
            target = f"{self._path}/floor%2F{file.name}"
            content = file.read_bytes()
            connection.request("PUT", target, content, self._headers(target, content))
            waiting.append(connection)
        for connection in waiting:
            self._answered(connection)

    def _headers(self, target: str, content: bytes) -> dict[str, str]:
        date = formatdate(usegmt=True)
        text = f"date: {date}\n(request-target): put {target}\nhost: {self._host}"
        signature = base64.b64encode(self._key.sign(text.encode(), *self._how)).decode()
        return {
            "date": date,
            "content-md5": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "authorization": 'Signature version="1",algorithm="rsa-sha256",'
            'headers="date (request-target) host",'
            f'keyId="{self._key_id}",signature="{signature}"',
        }

    def _answered(self, connection: http.client.HTTPConnection) -> None:
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        self._connections.append(connection)


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
    *,
    floor: bool = False,
) -> Row:
    pieces = [
        Piece(_OURS, "ours", lambda it: work(it, _our_repository(storage(it)))),
        Piece(_THEIRS, "oci-mlflow", lambda it: work(it, _their_repository(storage(it)))),
    ]
    goals = [Goal(_OURS, _THEIRS, at_most=at_most)]
    if floor:
        pieces.append(Piece(_FLOOR, "floor", lambda it: work(it, _Floor(storage(it)))))
        goals += [Goal(_OURS, _FLOOR), Goal(_FLOOR, _THEIRS)]
    return Row(
        name=name, unit="s", pieces=pieces, goals=goals, turns=5, quick_turns=1, emulator=True
    )


ROWS: Sequence[Row] = [
    _row("upload of 1 GiB", _large, 1.0),
    _row("upload of 2,000 files of 4 KB", _many, 0.25, floor=True),
    _row("upload of 200 files of 4 KB with 20 ms of latency", _some, 0.25, _distant),
]
