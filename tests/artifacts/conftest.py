"""What the tests of artifacts share: a repository, Oracle's client beside it, small parts, and what
goes wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import oci
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from oci.object_storage import ObjectStorageClient

from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.emulator import AidpEmulator, CloseAfter, CloseBefore, Fail
from mlflow_oci_store.emulator.answers import Refusal
from mlflow_oci_store.emulator.faults import Action

PART = 50_000
PASSING = {
    "throttled": Fail(429, "TooManyRequests", retry_after=0),
    "unavailable": Fail(503, "ServiceUnavailable"),
    "internal error": Fail(500, "InternalServerError"),
    "closed": CloseBefore(),
    "reset": CloseBefore(reset=True),
    "answer lost": CloseAfter(),
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own configuration has a say here, and no retry waits."""
    for name in os.environ:
        if name.startswith(("MLFLOW_", "OCI_", "AIDP_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are large from 100,000 bytes on."""
    for direction in ("UPLOAD", "DOWNLOAD"):
        monkeypatch.setenv(f"MLFLOW_MULTIPART_{direction}_MINIMUM_FILE_SIZE", str(2 * PART))
        monkeypatch.setenv(f"MLFLOW_MULTIPART_{direction}_CHUNK_SIZE", str(PART))


@pytest.fixture
def root(aidp_emulator: AidpEmulator) -> str:
    """An artifact root in the emulator's bucket."""
    return f"oci://{aidp_emulator.bucket}@{aidp_emulator.namespace}/top/run"


@pytest.fixture
def repository(aidp_emulator: AidpEmulator, root: str) -> OciArtifactRepository:
    """The artifacts at ``root``."""
    return OciArtifactRepository(root, aidp_emulator.tracking_uri)


class Storage:
    """Oracle's client in the emulator's bucket; names are below ``root``, unless they are whole.

    ``storage.put_object(name, body)`` calls the client's method with the place before the name.
    """

    def __init__(self, emulator: AidpEmulator) -> None:
        self.place = (emulator.namespace, emulator.bucket)
        self.client = ObjectStorageClient(
            oci.config.from_file(emulator.config_file, emulator.profile),
            service_endpoint=emulator.endpoint,
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
        )

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self.client, operation)
        return lambda *values, **options: method(*self.place, *values, **options)

    def put(self, path: str, content: bytes) -> None:
        """Put an object below ``root``, whatever its name would mean in a URL."""
        self.put_object(f"top/run/{path}", content, enable_strict_url_encoding=True)

    def get(self, path: str) -> bytes:
        content: bytes = self.get_object(f"top/run/{path}").data.content
        return content

    def names(self) -> list[str]:
        return [each.name for each in self.list_objects().data.objects]


@pytest.fixture
def storage(aidp_emulator: AidpEmulator) -> Storage:
    return Storage(aidp_emulator)


@pytest.fixture
def stored(aidp_emulator: AidpEmulator) -> Callable[[], list[Path]]:
    """List the files that the emulator keeps objects in."""
    folder = Path(aidp_emulator.config_file).with_name("objects")
    return lambda: sorted(folder.iterdir())


def some_bytes(size: int) -> bytes:
    """Bytes of which no two stretches of the same length are alike."""
    numbers = (number.to_bytes(4, "big") for number in range(size // 4 + 1))
    return b"".join(numbers)[:size]


def files_in(folder: Path) -> dict[str, bytes]:
    """All files in a folder with their content, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Count(Action):
    """Count requests."""

    name: ClassVar[str] = "count"

    def __init__(self) -> None:
        self.requests = 0

    def before(self, released: threading.Event) -> None:
        self.requests += 1


class Session:
    """A session token in a file that an OCI profile names, and that a renewal replaces."""

    def __init__(self, emulator: AidpEmulator, folder: Path) -> None:
        self._emulator = emulator
        self._token_file = folder / "token"
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public_key = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key_file = folder / "key.pem"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.config_file = folder / "config"
        self.config_file.write_text(
            f"[DEFAULT]\nregion=us-ashburn-1\nkey_file={key_file}\n"
            f"security_token_file={self._token_file}\n"
        )
        uri = emulator.tracking_uri.replace(f"profile={emulator.profile}", "profile=DEFAULT")
        place, _, options = uri.partition("?")
        kept = [it for it in options.split("&") if not it.startswith("config_file")]
        self.tracking_uri = f"{place}?{'&'.join(kept)}&config_file={self.config_file}"
        self.renew()

    def renew(self) -> None:
        self._token_file.write_text(self._emulator.issue_token(self._public_key))


class Expire(Action):
    """Refuse a request as if its token had expired, just when a new one is there."""

    name: ClassVar[str] = "expire"

    def __init__(self, session: Session) -> None:
        self._session = session

    def before(self, released: threading.Event) -> None:
        self._session.renew()
        raise Refusal(401, "NotAuthenticated", "The token has expired")
