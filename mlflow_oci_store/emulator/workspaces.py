"""Platforms and workspaces, each with MLflow stores of its own.

A workspace has an MLflow tracking store, and a platform has an MLflow model registry, as in AI
Data Platform. With SQLite each is a database file; with PostgreSQL each is a schema. Nothing is
shared between them, so none can see another's data.

Writers take turns: ``writing`` is held while an operation is applied and recorded. MLflow's store
opens several sessions within one call, which SQLite would answer with 'database is locked'.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import threading
from contextlib import closing
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import sqlalchemy
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTrackingStore
from sqlalchemy.orm import Session

from mlflow_oci_store.emulator.answers import not_found
from mlflow_oci_store.emulator.object_storage_bucket import Bucket
from mlflow_oci_store.emulator.permissions import Permissions
from mlflow_oci_store.emulator.principals import write_private
from mlflow_oci_store.emulator.state import State

_Store = TypeVar("_Store", SqlTrackingStore, SqlRegistryStore)


class TrackingStore(SqlTrackingStore):
    """MLflow's store, but it starts without the experiment ``0``, which the service lacks."""

    def _create_default_experiment(self, session: Session) -> None:
        """Leave the new database empty."""


class Platform:
    """One AI Data Platform: its registered models."""

    def __init__(self, platform_id: str, databases: Databases, permissions: Permissions) -> None:
        self.platform_id = platform_id
        self.permissions = permissions
        self.writing = threading.RLock()
        self._databases = databases

    @cached_property
    def registry(self) -> SqlRegistryStore:
        """The model registry, made at first use."""
        with self.writing:
            uri = self._databases.uri("registry", self.platform_id)
            return self._databases.tuned(SqlRegistryStore(uri))

    def close(self) -> None:
        """Close the database's connections."""
        if "registry" in self.__dict__:
            self.registry.engine.dispose()


class Workspace:
    """One workspace: its experiments and runs, whose artifacts go to a folder of the bucket."""

    def __init__(
        self, platform: Platform, workspace_key: str, databases: Databases, bucket: Bucket
    ) -> None:
        self.platform = platform
        self.workspace_key = workspace_key
        self.bucket = bucket
        self.writing = threading.RLock()
        name = databases.name("tracking", platform.platform_id, workspace_key)
        self.store = databases.tuned(
            TrackingStore(
                databases.uri("tracking", platform.platform_id, workspace_key),
                f"{bucket.uri}/{name}",
            )
        )

    def close(self) -> None:
        """Close the database's connections."""
        self.store.engine.dispose()


class Workspaces:
    """All platforms and workspaces; which ones exist is kept in the emulator's database."""

    def __init__(self, state: State, databases: Databases, bucket: Bucket) -> None:
        self._state = state
        self._databases = databases
        self._bucket = bucket
        self._lock = threading.Lock()
        self._platforms: dict[str, Platform] = {}
        self._workspaces: dict[tuple[str, str], Workspace] = {}

    def create(self, platform_id: str, workspace_key: str) -> None:
        """Make a workspace, and its platform if need be; what exists stays as it is."""
        self._state.execute(
            "INSERT OR IGNORE INTO workspaces VALUES (?, ?)", (platform_id, workspace_key)
        )

    def platform(self, platform_id: str) -> Platform:
        """Give a platform.

        Raises:
            Refusal: 404 NotAuthorizedOrNotFound when there is no such platform.
        """
        with self._lock:
            return self._platform(platform_id)

    def workspace(self, platform_id: str, workspace_key: str) -> Workspace:
        """Give a workspace.

        Raises:
            Refusal: 404 NotAuthorizedOrNotFound when there is no such platform or workspace.
        """
        place = (platform_id, workspace_key)
        with self._lock:
            if place not in self._workspaces:
                platform = self._platform(platform_id)
                if not self._state.execute(
                    "SELECT 1 FROM workspaces WHERE platform_id = ? AND workspace_key = ?", place
                ):
                    raise not_found(f"workspace {workspace_key!r} does not exist")
                self._workspaces[place] = Workspace(
                    platform, workspace_key, self._databases, self._bucket
                )
            return self._workspaces[place]

    def close(self) -> None:
        """Close all databases."""
        for workspace in self._workspaces.values():
            workspace.close()
        for platform in self._platforms.values():
            platform.close()

    def _platform(self, platform_id: str) -> Platform:
        if platform_id not in self._platforms:
            if not self._state.execute(
                "SELECT 1 FROM workspaces WHERE platform_id = ?", (platform_id,)
            ):
                raise not_found(f"AI Data Platform {platform_id!r} does not exist")
            self._platforms[platform_id] = Platform(
                platform_id, self._databases, Permissions(self._state, platform_id)
            )
        return self._platforms[platform_id]


class Databases:
    """Where MLflow's data is kept.

    Args:
        folder: The data folder.
        backend_store_uri: SQLAlchemy URI of a PostgreSQL database; None for SQLite files.
    """

    def __init__(self, folder: Path, backend_store_uri: str | None) -> None:
        self.folder = folder
        self._server = _postgresql(backend_store_uri) if backend_store_uri else None

    def name(self, kind: str, *place: str) -> str:
        """Name a database after what it is for, in letters any file system and server takes."""
        digest = hashlib.sha256("\0".join(place).encode()).hexdigest()
        return f"{kind}_{digest[:24]}"

    def uri(self, kind: str, *place: str) -> str:
        """Give the URI of a database that exists and is ready for MLflow's schema."""
        name = self.name(kind, *place)
        if self._server is None:
            path = self.folder / f"{name}.db"
            if not path.exists():
                write_private(path, _blank_database())
            return f"sqlite:///{path}"
        engine = sqlalchemy.create_engine(self._server)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.schema.CreateSchema(name, if_not_exists=True))
        engine.dispose()
        at_schema = self._server.update_query_dict({"options": f"-csearch_path={name}"})
        return at_schema.render_as_string(hide_password=False)

    @staticmethod
    def tuned(store: _Store) -> _Store:
        """Let SQLite commit without waiting for the disk; an emulator can afford that."""
        if store.engine.dialect.name == "sqlite" and not sqlalchemy.event.contains(
            store.engine, "connect", _relax
        ):
            sqlalchemy.event.listen(store.engine, "connect", _relax)
            store.engine.dispose()
        return store


def _relax(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")


def _postgresql(uri: str) -> sqlalchemy.URL:
    try:
        url = sqlalchemy.make_url(uri)
    except sqlalchemy.exc.ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        raise ValueError(
            "The emulator keeps its data in SQLite files or in PostgreSQL: "
            "give postgresql://user@host/database as backend store, or leave it out"
        )
    # SQLAlchemy's default driver is not the same in all its versions.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


@cache
def _blank_database() -> bytes:
    """An empty SQLite database with MLflow's schema; its migrations take a second, so run once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "blank.db")
        TrackingStore(f"sqlite:///{path}", folder).engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            # The file remembers this mode, in which readers do not wait for a writer.
            connection.execute("PRAGMA journal_mode = WAL")
        return path.read_bytes()
