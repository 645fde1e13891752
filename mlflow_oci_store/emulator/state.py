"""The emulator's own database: what the service knows beside MLflow's data.

One SQLite file in the data folder holds workspaces, API keys, permissions, the names of stored
objects, and the record of what was applied. It is always SQLite, also when MLflow's data is in
PostgreSQL: it belongs to the data folder, as the keys do.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS names (
    name TEXT PRIMARY KEY, value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS workspaces (
    platform_id TEXT NOT NULL, workspace_key TEXT NOT NULL,
    PRIMARY KEY (platform_id, workspace_key)
);
CREATE TABLE IF NOT EXISTS api_keys (
    key_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, name TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS applied (
    number INTEGER PRIMARY KEY AUTOINCREMENT, applied_at REAL NOT NULL,
    principal_id TEXT NOT NULL, principal TEXT NOT NULL, retry_token TEXT, fingerprint BLOB,
    operation TEXT NOT NULL, platform_id TEXT NOT NULL, workspace_key TEXT,
    request_id TEXT NOT NULL, status INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS applied_by_token ON applied (retry_token, principal_id);
CREATE TABLE IF NOT EXISTS permissions (
    platform_id TEXT NOT NULL, model TEXT NOT NULL, grantee TEXT NOT NULL,
    grantee_type TEXT NOT NULL, permission TEXT NOT NULL,
    PRIMARY KEY (platform_id, model, grantee, grantee_type, permission)
);
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL,
    parts INTEGER, headers TEXT NOT NULL, created REAL NOT NULL, modified REAL NOT NULL,
    pieces TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS uploads (
    upload_id TEXT PRIMARY KEY, name TEXT NOT NULL, headers TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS parts (
    upload_id TEXT NOT NULL, number INTEGER NOT NULL, etag TEXT NOT NULL, md5 TEXT NOT NULL,
    file TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (upload_id, number)
);
"""


class State:
    """One connection, shared by all threads; each statement is a transaction of its own.

    The connection locks the file for as long as it is open: two emulators on one data folder would
    each believe to know all retry tokens.

    Args:
        path: The file, made when missing.

    Raises:
        ValueError: Another emulator is running on it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=0, check_same_thread=False, isolation_level=None
        )
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise ValueError(
                f"{path.parent} cannot be used ({error}): is another emulator running on it?"
            ) from error
        path.chmod(0o600)

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one SQL statement and return its rows."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def name(self, name: str, fallback: str) -> str:
        """Return the lasting value called ``name``, which is ``fallback`` when there is none."""
        self.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (name, fallback))
        [(value,)] = self.execute("SELECT value FROM names WHERE name = ?", (name,))
        return str(value)

    def close(self) -> None:
        """Close the connection; the file is complete."""
        with self._lock:
            self._connection.close()
