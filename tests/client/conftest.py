"""What the tests of the call path share: a principal, settings for it, and clocks that obey."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oci.signer
import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.client.retry import RetryPolicy
from mlflow_oci_store.settings import Settings

from .scripted_server import Request, ScriptedServer, scripted_server

PLATFORM_ID = "ocid1.aidataplatform.oc1.iad.aaaaCaseSensitive"
WORKSPACE_KEY = "Team A/ß"
USER = "ocid1.user.oc1..aaaauser"
TENANCY = "ocid1.tenancy.oc1..aaaatenancy"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own configuration has a say here."""
    for name in os.environ:
        if name.startswith(("MLFLOW_", "OCI_", "AIDP_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


class ApiKey:
    """A key pair with the OCI profile that names it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        # Half of the usual size: every client reads and checks the key once, and that takes time.
        self.private_key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        der = self.private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.MD5())  # OCI's fingerprints are
        digest.update(der)
        self.fingerprint = digest.finalize().hex(":")
        self.key_file = folder / "key.pem"
        self.key_file.write_bytes(
            self.private_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.key_file.chmod(0o600)
        self.config_file = folder / "config"
        entries = {
            "user": USER,
            "tenancy": TENANCY,
            "fingerprint": self.fingerprint,
            "key_file": self.key_file,
            "region": "us-ashburn-1",
        }
        lines = [f"{name}={value}" for name, value in entries.items()]
        self.config_file.write_text("\n".join(["[DEFAULT]", *lines, ""]))
        self.config_file.chmod(0o600)
        self.signer = oci.signer.Signer(TENANCY, USER, self.fingerprint, str(self.key_file))

    @property
    def secret_lines(self) -> list[str]:
        """The lines of the private key, none of which may turn up anywhere."""
        return self.key_file.read_text().splitlines()[1:-1]

    def authorization(self, request: Request, scheme: str = "http") -> str:
        """What OCI's own signer makes of a request, at the date the request bears."""
        prepared = requests.Request(
            request.method,
            f"{scheme}://{request.headers['host']}{request.target}",
            headers={"date": request.headers["date"], "host": request.headers["host"]},
            data=request.body or None,
        ).prepare()
        return str(self.signer(prepared).headers["authorization"])


@pytest.fixture(scope="session")
def api_key(tmp_path_factory: pytest.TempPathFactory) -> ApiKey:
    """An API key, made for this run of the tests."""
    return ApiKey(tmp_path_factory.mktemp("oci"))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A scripted server without TLS."""
    with scripted_server() as running:
        yield running


@pytest.fixture
def settings_for(api_key: ApiKey) -> Callable[..., Settings]:
    """Make settings from an endpoint; keyword arguments are environment variables."""

    def make(endpoint: str, **environ: str) -> Settings:
        uri = f"oci-dp://{PLATFORM_ID}/Team%20A%2F%C3%9F?endpoint={endpoint}"
        return Settings.from_uri(
            f"{uri}&config_file={api_key.config_file}", {**os.environ, **environ}
        )

    return make


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """A clock for the retry policy of ``client``."""
    return Clock()


@pytest.fixture
def client_for(
    settings_for: Callable[..., Settings], clock: Clock
) -> Callable[..., DataPlatformClient]:
    """Make a client; keyword arguments replace settings, or are environment variables."""

    def make(endpoint: str, **given: Any) -> DataPlatformClient:
        environ = {name: value for name, value in given.items() if name.isupper()}
        replaced = {name: value for name, value in given.items() if not name.isupper()}
        settings = dataclasses.replace(settings_for(endpoint, **environ), **replaced)
        policy = RetryPolicy(
            max_retries=settings.max_retries,
            backoff_factor=settings.backoff_factor,
            backoff_jitter=settings.backoff_jitter,
            deadline=settings.deadline,
            clock=clock,
            sleep=clock.sleep,
            uniform=lambda low, high: high,
        )
        return DataPlatformClient(settings, policy)

    return make


@pytest.fixture
def client(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer
) -> DataPlatformClient:
    """A client of ``server`` whose pauses take no time and are as long as they may be."""
    return client_for(server.endpoint)
