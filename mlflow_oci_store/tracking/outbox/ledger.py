"""What was decided about the lines of a process's journals: an SQLite database beside them.

    runs      how far each run's journal has been dealt with
    sealed    requests that were made and are not confirmed yet, with body and retry token
    dead      lines that the service refused, with its reasons
    about     who wrote all this, and for which settings

Every step (a request is made, confirmed, divided, refused) is one transaction, so whatever happens
to the process in between, the next one finds every line in exactly one of four states: in the
journal only, sealed, done, dead. The version of this layout is SQLite's ``user_version``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.target import LEDGER_FILE

_VERSION = 1
_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (run_id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sealed (
    run_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    operation TEXT NOT NULL,
    retry_token TEXT NOT NULL,
    body BLOB NOT NULL,
    epoch REAL NOT NULL,
    uptime REAL NOT NULL,
    PRIMARY KEY (run_id, start)
);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    kind BLOB NOT NULL,
    content BLOB NOT NULL,
    at REAL NOT NULL,
    message TEXT NOT NULL,
    error_code TEXT NOT NULL,
    status INTEGER,
    oci_code TEXT,
    request_id TEXT
);
"""
# SQLite gives the log of its changes back beyond this size.
_LOG_BYTES = 2**20
_LOCKED_SECONDS = 5.0

# Nobody may be inside SQLite while the process forks: a mutex that one of its threads holds then
# stays locked in the child, which would wait for it at its first ledger.
_using_sqlite = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_using_sqlite.acquire,
        after_in_parent=_using_sqlite.release,
        after_in_child=_using_sqlite.release,
    )


class Sealed(NamedTuple):
    """A request that is only ever sent as it is here.

    Attributes:
        run_id: The run whose lines it holds.
        start: Position of its first line in the run's journal.
        end: Position behind its last line.
        operation: Name in the table of ``client/operations.py``.
        retry_token: ``opc-retry-token``.
        body: JSON in UTF-8.
        at: When it was made, no later than the first try.
    """

    run_id: str
    start: int
    end: int
    operation: str
    retry_token: str
    body: bytes
    at: Moment


class Refusal(NamedTuple):
    """Why the service, or this package, will not have a line.

    Attributes:
        message: What the user reads.
        error_code: MLflow's name of the error.
        status: HTTP status, if the service answered.
        oci_code: OCI's error code, if it named one.
        request_id: ``opc-request-id``, if there was a request.
    """

    message: str
    error_code: str
    status: int | None = None
    oci_code: str | None = None
    request_id: str | None = None


class DeadLetter(NamedTuple):
    """A line that was refused.

    Attributes:
        id: Its number in the ledger.
        run_id: Its run.
        kind: What kind of line it is, see ``journal``.
        content: The line's JSON.
        at: When it was refused, seconds since 1970.
        refusal: Why.
    """

    id: int
    run_id: str
    kind: bytes
    content: bytes
    at: float
    refusal: Refusal


class Ledger:
    """The ledger of one process's folder. Threads may share it.

    Args:
        folder: The folder.
        sync: Whether a transaction waits for the disk.
        read_only: Look on while its owner lives.

    Raises:
        sqlite3.Error: It cannot be opened, is damaged, or was written by a later version.
    """

    def __init__(self, folder: Path, *, sync: bool = False, read_only: bool = False) -> None:
        path = folder / LEDGER_FILE
        if not read_only:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with _using_sqlite:
            self._open(path, sync, read_only)

    def _open(self, path: Path, sync: bool, read_only: bool) -> None:
        self._connection = sqlite3.connect(
            f"{path.as_uri()}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            timeout=_LOCKED_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if not read_only:
                self._prepare(sync)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                raise sqlite3.NotSupportedError(
                    f"{path} has layout {version}; this release of mlflow-oci-store reads layout "
                    f"{_VERSION}"
                )
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, sync: bool) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        # Some systems' SQLite writes zeros over what is deleted, which are half of what it writes.
        execute("PRAGMA secure_delete = OFF")
        if execute("PRAGMA user_version").fetchone() == (0,):
            self._connection.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;"
            )

    def close(self) -> None:
        """Close the database."""
        with _using_sqlite:
            self._connection.close()

    # --- about -----------------------------------------------------------------------------------

    def describe(self, **facts: str) -> None:
        """Write down who wrote all this."""
        with self._transaction() as connection:
            connection.executemany("REPLACE INTO about VALUES (?, ?)", list(facts.items()))

    def description(self) -> dict[str, str]:
        """What ``describe`` wrote."""
        with _using_sqlite:
            return dict(self._connection.execute("SELECT name, value FROM about").fetchall())

    # --- what has become of the journals' lines --------------------------------------------------

    def positions(self) -> dict[str, int]:
        """How far each run's journal has been dealt with; a run without an entry is untouched."""
        with _using_sqlite:
            return dict(self._connection.execute("SELECT run_id, position FROM runs").fetchall())

    def position(self, run_id: str) -> int:
        """How far a run's journal has been dealt with."""
        with _using_sqlite:
            row = self._connection.execute(
                "SELECT position FROM runs WHERE run_id = ?", (run_id,)
            ).fetchone()
        return row[0] if row else 0

    def sealed(self) -> list[Sealed]:
        """The requests that are not confirmed, in each run's order."""
        with _using_sqlite:
            rows = self._connection.execute(
                "SELECT * FROM sealed ORDER BY run_id, start"
            ).fetchall()
            return [
                Sealed(run_id, start, end, operation, token, body, Moment(epoch, uptime))
                for run_id, start, end, operation, token, body, epoch, uptime in rows
            ]

    def seal(self, request: Sealed) -> None:
        """Note a request, before it is sent for the first time."""
        with self._transaction() as connection:
            _insert(connection, [request])

    def acknowledge(self, request: Sealed) -> None:
        """Note that the service has a request."""
        with self._transaction() as connection:
            _done(connection, request)

    def replace(self, request: Sealed, others: Sequence[Sealed]) -> None:
        """Put other requests in the place of one that took no effect."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM sealed WHERE run_id = ? AND start = ?", (request.run_id, request.start)
            )
            _insert(connection, others)

    def bury(self, request: Sealed, lines: Sequence[tuple[bytes, bytes]], refusal: Refusal) -> None:
        """Note that lines are refused for good, kind and content each."""
        with self._transaction() as connection:
            at = time.time()
            connection.executemany(
                "INSERT INTO dead VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(request.run_id, kind, content, at, *refusal) for kind, content in lines],
            )
            _done(connection, request)

    def forget(self, run_id: str) -> None:
        """Drop a run whose journal is gone and with which all is done."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))

    # --- dead letters ----------------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        """The lines that were refused, the oldest first."""
        with _using_sqlite:
            rows = self._connection.execute("SELECT * FROM dead ORDER BY id").fetchall()
        return [
            DeadLetter(number, run_id, kind, content, at, Refusal(*refusal))
            for number, run_id, kind, content, at, *refusal in rows
        ]

    def count_dead_letters(self) -> int:
        """How many lines were refused."""
        with _using_sqlite:
            (count,) = self._connection.execute("SELECT count(*) FROM dead").fetchone()
        return int(count)

    def drop_dead_letters(self, ids: Sequence[int]) -> None:
        """Delete dead letters."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM dead WHERE id = ?", [(it,) for it in ids])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _using_sqlite:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _insert(connection: sqlite3.Connection, requests: Sequence[Sealed]) -> None:
    connection.executemany(
        "INSERT INTO sealed VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(*request[:6], *request.at) for request in requests],
    )


def _done(connection: sqlite3.Connection, request: Sealed) -> None:
    connection.execute(
        "DELETE FROM sealed WHERE run_id = ? AND start = ?", (request.run_id, request.start)
    )
    connection.execute("REPLACE INTO runs VALUES (?, ?)", (request.run_id, request.end))
