"""What was applied, and which answer a retry token already has.

A client that gets no answer sends its request again with the same ``opc-retry-token``. The ledger
makes the second one harmless: for 24 hours the same token with the same request gets the recorded
answer, and with another request 409 InvalidatedRetryToken. Only what succeeded is recorded, so a
refused request leaves its token free. Duplicates that arrive together wait for the first one.

One row is both the ledger entry and the audit record, so neither exists without the other. The
row is written right after MLflow's store has committed, in another database: a process killed
between the two has applied an operation that it does not remember, and a retry applies it again.
A stop by close(), Ctrl-C or SIGTERM lets running requests finish, so that it leaves no such gap.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow_oci_store.emulator.answers import Answer, Refusal, invalid
from mlflow_oci_store.emulator.state import State

LIFETIME_SECONDS = 24 * 3600


@dataclass(frozen=True)
class AuditRecord:
    """One operation that was applied.

    ``principal`` is the short name of who asked, ``status`` the HTTP status of the answer,
    whether or not the answer arrived.
    """

    operation: str
    retry_token: str | None
    request_id: str
    principal: str
    platform_id: str
    workspace_key: str | None
    status: int


class Ledger:
    """The record of applied operations.

    Args:
        state: The database.
        clock: Seconds since the epoch.
    """

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], threading.Lock] = {}
        self._waiting: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def claim(self, principal_id: str, token: str | None) -> Iterator[None]:
        """Let one request with this token run at a time; without a token, do nothing.

        Raises:
            Refusal: 400 InvalidParameter for a token that is not 1 to 64 characters long.
        """
        if token is None:
            yield
            return
        if not 1 <= len(token) <= 64:
            raise invalid("opc-retry-token must be 1 to 64 characters long")
        key = (principal_id, token)
        with self._lock:
            running = self._running.setdefault(key, threading.Lock())
            self._waiting[key] += 1
        try:
            with running:
                yield
        finally:
            with self._lock:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._waiting[key], self._running[key]

    def answered(self, principal_id: str, token: str | None, fingerprint: bytes) -> Answer | None:
        """Give the recorded answer of a token, or None when it is new.

        Raises:
            Refusal: 409 InvalidatedRetryToken when the token was used for another request.
        """
        if token is None:
            return None
        rows = self._state.execute(
            "SELECT fingerprint, status, headers, body, operation FROM applied"
            " WHERE retry_token = ? AND principal_id = ? AND applied_at > ?"
            " ORDER BY number DESC LIMIT 1",
            (token, principal_id, self._clock() - LIFETIME_SECONDS),
        )
        if not rows:
            return None
        [(recorded, status, headers, body, operation)] = rows
        if recorded != fingerprint:
            raise Refusal(
                409,
                "InvalidatedRetryToken",
                f"This opc-retry-token was used for another request ({operation})",
            )
        return Answer(status, body, json.loads(headers))

    def record(
        self, record: AuditRecord, principal_id: str, fingerprint: bytes, answer: Answer
    ) -> None:
        """Write down that an operation was applied, and its answer."""
        self._state.execute(
            "INSERT INTO applied (applied_at, principal_id, principal, retry_token, fingerprint,"
            " operation, platform_id, workspace_key, request_id, status, headers, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._clock(),
                principal_id,
                record.principal,
                record.retry_token,
                fingerprint,
                record.operation,
                record.platform_id,
                record.workspace_key,
                record.request_id,
                record.status,
                json.dumps(dict(answer.headers)),
                answer.body,
            ),
        )

    def audit(self) -> list[AuditRecord]:
        """List what was applied, in that order."""
        return [
            AuditRecord(*row)
            for row in self._state.execute(
                "SELECT operation, retry_token, request_id, principal, platform_id,"
                " workspace_key, status FROM applied ORDER BY number"
            )
        ]
