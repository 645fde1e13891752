"""Sending the next request of a lane, and what its answer means for the lane."""

from __future__ import annotations

import logging

from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.client.retry_token import new_retry_token
from mlflow_oci_store.tracking.outbox.journal import DAMAGED
from mlflow_oci_store.tracking.outbox.lane import Lane
from mlflow_oci_store.tracking.outbox.ledger import Refusal, Sealed
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.reconciliation import missing
from mlflow_oci_store.tracking.outbox.sealing import seal
from mlflow_oci_store.tracking.outbox.verdict import Verdict, verdict_on

# The service forgets retry tokens after 24 hours; an hour is left for a request on its way.
_TOKEN_SECONDS = 23 * 3600.0
_LONG_AGO = Moment(0.0, 0.0)

_logger = logging.getLogger(__name__)


class Delivery:
    """Sends the requests of lanes, each lane's by one thread at a time.

    Args:
        client: Sends without retries of its own.
    """

    def __init__(self, client: DataPlatformClient) -> None:
        self._client = client

    def attempt(self, lane: Lane) -> bool:
        """Send the next request of a lane.

        Returns:
            Whether there was one.

        Raises:
            MlflowException: It may pass later (``verdict.Verdict.OUTAGE`` or ``TROUBLE``).
            OSError: The journal cannot be read.
            sqlite3.Error: The ledger cannot be written.
        """
        request = lane.next_request()
        if request is None:
            return False
        was_sent = lane.begins(request)
        if was_sent and request.at.age() >= _TOKEN_SECONDS:
            renewed = self._renewed(lane, request)
            if renewed is None:
                lane.acknowledge(request)
                return True
            request, was_sent = renewed, False
        try:
            self._client.call(
                request.operation,
                request.body,
                wire.nothing,
                retry_token=request.retry_token,
                repeated=was_sent,
            )
        except MlflowException as error:
            verdict = verdict_on(error)
            if verdict is Verdict.REFUSED:
                self._refused(lane, request, error)
                return True
            if verdict is not Verdict.APPLIED:
                raise
        lane.acknowledge(request)
        return True

    def _renewed(self, lane: Lane, request: Sealed) -> Sealed | None:
        """Make a request anew that is older than the service's memory, of what is not there yet."""
        rest = missing(self._client, request.operation, request.body)
        if rest is None:
            return None
        operation, body = rest
        renewed = request._replace(
            operation=operation, body=body, retry_token=new_retry_token(), at=Moment.now()
        )
        lane.replace(request, [renewed])
        return renewed

    def _refused(self, lane: Lane, request: Sealed, error: MlflowException) -> None:
        """Divide a request that the service refuses, until the offending line stands alone."""
        lines = lane.lines(request)
        is_divisible = len(lines) > 1 and all(line.kind != DAMAGED for line in lines)
        if is_divisible and (lane.is_divided() or not self._is_lost(request, error)):
            middle = len(lines) // 2
            halves = [seal(lane.run_id, part).sealed for part in (lines[:middle], lines[middle:])]
            if request.body != seal(lane.run_id, lines).sealed.body:
                # Of these lines the service had some already, and may have those of a half.
                halves = [half._replace(at=_LONG_AGO) for half in halves]
            lane.replace(request, halves)
            return
        refusal = Refusal(
            error.message,
            error.error_code,
            getattr(error, "status", None),
            getattr(error, "oci_code", None),
            getattr(error, "request_id", None),
        )
        is_news = lane.bury(request, error, refusal)
        _logger.log(
            logging.ERROR if is_news else logging.DEBUG,
            "%d of the items logged to run %s were refused and put aside; `mlflow-oci-store outbox "
            "list` shows them. %s",
            len(lines),
            lane.run_id,
            error.message,
        )

    def _is_lost(self, request: Sealed, error: MlflowException) -> bool:
        """Whether nothing can be logged to the run, so that dividing would bring nothing."""
        if getattr(error, "status", None) == 403:
            return True
        try:
            run: Run = self._client.call(
                "get_experiment_run_by_id",
                {"run_id": request.run_id},
                lambda answer: wire.run(answer["run"]),
            )
        except MlflowException as failure:
            if verdict_on(failure) is not Verdict.REFUSED:
                raise
            return True
        return bool(run.info.lifecycle_stage != LifecycleStage.ACTIVE)
