"""The emulator: AI Data Platform's MLOps service on a loopback port.

    with AidpEmulator() as emulator:
        mlflow.set_tracking_uri(emulator.tracking_uri)

Object Storage, where artifacts go, is on the same port. Everything it knows is in one data folder:
keys and OCI profile, MLflow's data, artifacts, what was applied.
Without ``data_dir`` the folder is temporary and goes with the emulator; with it, a later emulator
on the same folder carries on where this one stopped.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, urlencode

from mlflow_oci_store.emulator import certificates, schema
from mlflow_oci_store.emulator.faults import Faults
from mlflow_oci_store.emulator.listener import Listener
from mlflow_oci_store.emulator.object_storage import ObjectStorage
from mlflow_oci_store.emulator.object_storage_bucket import Bucket
from mlflow_oci_store.emulator.principals import DEFAULT_PROFILE, Principals, unique
from mlflow_oci_store.emulator.retry_tokens import AuditRecord, Ledger
from mlflow_oci_store.emulator.service import Service
from mlflow_oci_store.emulator.state import State
from mlflow_oci_store.emulator.workspaces import Databases, Workspaces


class AidpEmulator:
    """The service, running from construction until ``close()``.

    Args:
        data_dir: The data folder, made when missing; None takes a temporary one.
        host: A loopback address.
        port: 0 takes a free port.
        tls: Serves https; clients trust ``ca_file``.
        backend_store_uri: Keeps MLflow's data in this PostgreSQL database; None keeps it in
            SQLite files of the data folder.
        native_logged_models: Serves MLflow's own routes for logged models as well, which the
            service does not have.
        clock: The service's clock, in seconds since the epoch.
        seed: Makes the chance of faults repeatable.

    Raises:
        ValueError: ``host`` or ``backend_store_uri`` is not one it can use.
        OSError: The port is taken, or the folder cannot be written.

    Attributes:
        endpoint: Address of the service, such as ``http://127.0.0.1:8080``.
        tracking_uri: All that a user's script needs, as ``MLFLOW_TRACKING_URI``.
        platform_id: OCID of the first AI Data Platform.
        workspace_key: Key of its first workspace.
        namespace: Object Storage namespace of its one bucket.
        bucket: Name of the bucket that artifacts go to, unless an experiment says otherwise.
        config_file: OCI configuration file with the profiles of all users.
        profile: Name of the first user's profile.
        ca_file: Certificate authority to trust; None without TLS.
        faults: What shall go wrong.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        backend_store_uri: str | None = None,
        native_logged_models: bool = False,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        with ExitStack() as opened:
            if data_dir is None:
                data_dir = opened.enter_context(
                    tempfile.TemporaryDirectory(prefix="aidp-emulator-")
                )
            folder = Path(data_dir).resolve()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            databases = Databases(folder, backend_store_uri)
            state = opened.enter_context(closing(State(folder / "emulator.db")))
            self._principals = Principals(state, folder, clock)
            storage = Bucket(state, folder / "objects", clock)
            self._workspaces = opened.enter_context(closing(Workspaces(state, databases, storage)))
            self._ledger = Ledger(state, clock)
            self.faults = Faults(seed)
            self.platform_id = state.name("platform", f"ocid1.aidataplatform.oc1.iad.{unique()}")
            self.workspace_key = state.name("workspace", str(uuid.uuid4()))
            self._workspaces.create(self.platform_id, self.workspace_key)
            self.namespace, self.bucket = storage.namespace, storage.name
            self.config_file = str(self._principals.config_file)
            self.profile = DEFAULT_PROFILE
            self.ca_file = str(certificates.ca_file(folder)) if tls else None
            context = certificates.server_context(folder) if tls else None
            api = schema.with_logged_models() if native_logged_models else schema.documented()
            service = Service(
                api,
                self._workspaces,
                ObjectStorage(storage),
                self._principals,
                self._ledger,
                self.faults,
                clock,
            )
            listener = opened.enter_context(
                closing(Listener(host, port, service.answer, clock, context))
            )
            opened.callback(self.faults.released.set)
            self._opened = opened.pop_all()
        shown_host = f"[{host}]" if ":" in host else host
        self.endpoint = f"{'https' if tls else 'http'}://{shown_host}:{listener.server_port}"

    @property
    def tracking_uri(self) -> str:
        """The complete MLflow tracking URI of the first workspace."""
        return self.uri_of(self.platform_id, self.workspace_key)

    def uri_of(self, platform_id: str, workspace_key: str) -> str:
        """Give the complete MLflow tracking URI of a workspace."""
        options = urlencode(
            {
                "endpoint": self.endpoint,
                "object_storage_endpoint": self.endpoint,
                "config_file": self.config_file,
                "profile": self.profile,
            },
            quote_via=quote,
            safe="",
        )
        return f"oci-dp://{platform_id}/{quote(workspace_key, safe='')}?{options}"

    def create_workspace(
        self, platform_id: str | None = None, workspace_key: str | None = None
    ) -> tuple[str, str]:
        """Make a workspace; one that exists stays as it is.

        Args:
            platform_id: An AI Data Platform, made when missing; None takes the first one.
            workspace_key: The key; None makes one up.

        Returns:
            Platform id and workspace key.
        """
        place = (platform_id or self.platform_id, workspace_key or str(uuid.uuid4()))
        self._workspaces.create(*place)
        return place

    def add_user(self, name: str, *, passphrase: str | None = None) -> str:
        """Make a user with an API key, and an OCI profile of that name in ``config_file``.

        Args:
            name: Name of user and profile.
            passphrase: Encrypts the private key; the profile then has it as ``pass_phrase``.

        Returns:
            The user's OCID.
        """
        return self._principals.add_user(name, passphrase)

    def issue_token(
        self,
        public_key_pem: bytes | str,
        *,
        lifetime_seconds: float = 3600,
        subject: str | None = None,
    ) -> str:
        """Issue a security token for a session's public key.

        Args:
            public_key_pem: The session's RSA public key.
            lifetime_seconds: How long the token is accepted, by the emulator's clock.
            subject: OCID of the user or resource; the first user when absent.

        Returns:
            The token, a JWT; requests name it in their ``keyId`` as ``ST$<token>``.
        """
        return self._principals.issue_token(
            public_key_pem, lifetime_seconds=lifetime_seconds, subject=subject
        )

    def audit(self) -> list[AuditRecord]:
        """List what was applied, in that order; a replayed answer applies nothing."""
        return self._ledger.audit()

    def close(self) -> None:
        """Stop: running requests finish, then everything is closed. A second call does nothing."""
        self._opened.close()

    def __enter__(self) -> AidpEmulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
