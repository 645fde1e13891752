"""An outbox without threads, which a test drives one step after another, and a service to go with
it that keeps the one promise on which everything rests: a retry token is applied once a day."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.errors import OciDataPlatformException, RetryTokenInvalidated, error_code_of
from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.outbox.journal import METRIC, PARAM, TAG, line
from mlflow_oci_store.tracking.outbox.outbox import Outbox
from mlflow_oci_store.tracking.outbox.ticket import Ticket

from .clock import Clock

URI = "oci-dp://ocid1.aidataplatform.oc1.iad.a/ws"
TOKEN_SECONDS = 24 * 3600.0
_TEXT_OF = {METRIC: wire.metric_text, PARAM: wire.param_text, TAG: wire.tag_text}


def settings(folder: Path, **variables: str) -> Settings:
    """Settings of a store whose outbox is in a folder."""
    names = {f"MLFLOW_OCI_DP_{name.upper()}": value for name, value in variables.items()}
    return Settings.from_uri(URI, {"MLFLOW_OCI_DP_OUTBOX_DIR": str(folder), **names})


def failure(status: int | None, oci_code: str | None = "Ordered") -> OciDataPlatformException:
    """What a client raises for an answer, or for none."""
    code = TEMPORARILY_UNAVAILABLE if status is None else error_code_of(status, oci_code)
    return OciDataPlatformException(
        f"This was ordered: {status}", code, operation="any", status=status, oci_code=oci_code
    )


class TokenService(DataPlatformClient):
    """The service and the way to it.

    Args:
        clock: Seconds.

    Attributes:
        applied: Operation and body of what was applied.
        tokens: When each token was used last.
        meets: Called with the operation and body of each change before it is applied; raises what
            shall be answered instead.
        loses: Called after it; raises what comes in place of the answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.applied: list[tuple[str, dict[str, Any]]] = []
        self.tokens: dict[str, float] = {}
        self.sent: list[str] = []
        self.meets: Callable[[str, dict[str, Any]], None] = lambda _operation, _body: None
        self.loses: Callable[[], None] = lambda: None

    def call(
        self,
        operation: str,
        payload: Any,
        parse: Callable[[dict[str, Any]], Any],
        *,
        retry_token: str | None = None,
        repeated: bool = False,
    ) -> Any:
        if operation == "get_experiment_run_by_id":
            return parse(self._run(payload["run_id"]))
        if operation == "get_experiment_run_metric_history":
            metrics = self.items(payload["run_id"], "metrics")
            return parse({"metrics": [it for it in metrics if it["key"] == payload["metric_key"]]})
        assert retry_token is not None
        self.sent.append(retry_token)
        body = json.loads(payload)
        used_at = self.tokens.get(retry_token)
        if used_at is not None and self._clock() - used_at < TOKEN_SECONDS:
            self.loses()
            return parse({})
        self.meets(operation, body)
        self.tokens[retry_token] = self._clock()
        self.applied.append((operation, body))
        self.loses()
        return parse({})

    def items(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """The metrics, params or tags that were applied to a run, in that order."""
        return [
            item
            for _, body in self.applied
            if body["run_id"] == run_id
            for item in body.get(kind, ())
        ]

    def steps(self, run_id: str) -> list[int]:
        """The steps of the metrics that were applied to a run, in that order."""
        return [item["step"] for item in self.items(run_id, "metrics")]

    def _run(self, run_id: str) -> dict[str, Any]:
        data = {kind: self.items(run_id, kind) for kind in ("params", "tags")}
        info = {
            "run_id": run_id,
            "experiment_id": "1",
            "lifecycle_stage": "active",
            "status": "RUNNING",
        }
        return {"run": {"info": info, "data": data}}


class SteppedOutbox(Outbox):
    """An outbox of which each step is one call of the test's."""

    def _start_worker(self) -> None:
        """Nobody works unasked."""

    def step(self) -> bool:
        """Send what is due; whether there was something."""
        with self._lock:
            lane = self._due_lane()
            if lane is not None:
                self._send(lane)
            return lane is not None

    def run(self, clock: Clock, seconds: float = 300.0) -> None:
        """Send until there is nothing left, or so many seconds have passed."""
        give_up_at = clock() + seconds
        while self.is_busy() and clock() < give_up_at:
            if not self.step():
                clock.now += 0.5

    def planned(self) -> list[float]:
        """When what is planned is due."""
        return sorted(due for due, _, lane in self._schedule if lane.due == due)

    def log(self, run_id: str, kind: bytes, entity: Any) -> Ticket:
        """Accept one metric, param or tag."""
        return self.accept(run_id, line(kind, _TEXT_OF[kind](entity).encode()), 1)

    def die(self) -> None:
        """Do what the operating system does for a process that was killed."""
        spools = {it._spool for it in self._all_lanes()} | {self._spool}
        for lane in self._all_lanes():
            lane.journal.close()
        for spool in spools - {None}:
            spool.ledger.close()
            spool._lock.release()


def token_invalidated() -> RetryTokenInvalidated:
    """The client's word for a change that is known to have taken effect."""
    return RetryTokenInvalidated("Used.", operation="any", status=409)
