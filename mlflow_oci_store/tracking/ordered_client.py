"""The store's way to the service, past the outbox.

    call    reads, and changes that cannot wait: they come after all that was accepted for their run
    log     changes that can: they go to the outbox when the service is out and the user wants that

So a program reads what it has written, and a run's changes arrive in the order in which they were
made, whichever way each of them takes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mlflow.exceptions import MlflowException

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.data_platform import DataPlatformClient, Payload
from mlflow_oci_store.client.retry import RetryPolicy
from mlflow_oci_store.client.retry_token import new_retry_token
from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.outbox.journal import REQUEST, line
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.request import Request
from mlflow_oci_store.tracking.outbox.target import target_folder, unsent_folders
from mlflow_oci_store.tracking.outbox.verdict import is_outage

if TYPE_CHECKING:
    from mlflow_oci_store.tracking.outbox.outbox import Outbox

T = TypeVar("T")
Json = dict[str, Any]

# How long the end of a run waits for a service that is out of reach.
_END_PATIENCE_SECONDS = 5.0
# What they say depends on runs that their fields do not name.
_ABOUT_ANY_RUN = frozenset(
    {"list_experiment_runs", "list_logged_models", "delete_experiment", "restore_experiment"}
)

_logger = logging.getLogger(__name__)


def _nothing() -> None:
    """The result of a change that has none."""


class OrderedClient(DataPlatformClient):
    """A client that sends nothing about a run before what the outbox has of it.

    Args:
        settings: Where the service is and how to talk to it.
        retry_policy: Replaces what the settings say.
    """

    def __init__(self, settings: Settings, retry_policy: RetryPolicy | None = None) -> None:
        super().__init__(settings, retry_policy)
        self._queues = settings.on_outage == "queue"
        self._outbox: Outbox | None = None
        self._looked_for_unsent_in = 0

    @property
    def outbox(self) -> Outbox:
        """The outbox of this process for the store's target."""
        outbox = self._outbox
        if outbox is None or outbox.pid != os.getpid():
            # Most programs never need it.
            from mlflow_oci_store.tracking.outbox.outbox import Outbox

            outbox = self._outbox = Outbox.of(self.settings)
        return outbox

    def outbox_in_use(self) -> Outbox | None:
        """The outbox, if this process has put something there."""
        outbox = self._outbox
        return None if outbox is None or outbox.pid != os.getpid() else outbox

    def settle(self) -> None:
        """Wait for all that this process has put into the outbox.

        Raises:
            MlflowException: TEMPORARILY_UNAVAILABLE when the service has been out of reach for as
                long as ``deadline``.
        """
        outbox = self.outbox_in_use()
        if outbox is not None:
            outbox.settle()

    def call(
        self,
        operation: str,
        payload: Payload | bytes,
        parse: Callable[[Json], T],
        *,
        retry_token: str | None = None,
        repeated: bool = False,
    ) -> T:
        """Call one operation, after what was accepted before; see ``DataPlatformClient.call``.

        Raises:
            MlflowException: As there; and TEMPORARILY_UNAVAILABLE when the outbox cannot be emptied
                for as long as ``deadline``.
        """
        outbox = self.outbox_in_use()
        if outbox is not None:
            if operation in _ABOUT_ANY_RUN:
                outbox.settle()
            elif not isinstance(payload, bytes):
                run_id = payload.get("run_id")
                if run_id and outbox.is_busy(run_id):
                    outbox.settle(run_id)
        return super().call(operation, payload, parse, retry_token=retry_token, repeated=repeated)

    def log(
        self,
        run_id: str,
        operation: str,
        payload: Payload | bytes,
        parse: Callable[[Json], Any] = wire.nothing,
        *,
        queued: Callable[[], Any] = _nothing,
        ends_run: bool = False,
    ) -> Any:
        """Make a change that belongs to a run, now or, in an outage, later.

        Args:
            run_id: The run.
            operation: As for ``call``.
            payload: As for ``call``.
            parse: As for ``call``.
            queued: Makes the result when the change is in the outbox instead.
            ends_run: Whether the change goes to the outbox in an outage whatever the setting
                ``on_outage`` says, if there is something that it has to come after.

        Raises:
            MlflowException: As ``call``. With ``on_outage=queue`` no outage is among the reasons.
        """
        if self._looked_for_unsent_in != os.getpid():
            self._look_for_unsent()
        may_queue = self._queues or ends_run
        outbox = self.outbox_in_use()
        if outbox is not None:
            if outbox.is_busy(run_id):
                try:
                    outbox.settle(run_id, _END_PATIENCE_SECONDS if may_queue else None)
                except MlflowException as error:
                    if not may_queue:
                        raise
                    if ends_run:
                        self._warn(run_id, operation, error)
                    return self._queue(run_id, operation, payload, queued)
            elif self._queues and outbox.is_out_of_reach:
                return self._queue(run_id, operation, payload, queued)
        if not self._queues:
            return super().call(operation, payload, parse)
        retry_token, at = new_retry_token(), Moment.now()
        try:
            return super().call(operation, payload, parse, retry_token=retry_token)
        except MlflowException as error:
            if not is_outage(error):
                raise
            self._warn(run_id, operation, error)
            # The service may have applied it, so it must be sent again as it was.
            return self._queue(run_id, operation, payload, queued, retry_token, at)

    def _queue(
        self,
        run_id: str,
        operation: str,
        payload: Payload | bytes,
        queued: Callable[[], Any],
        retry_token: str | None = None,
        at: Moment | None = None,
    ) -> Any:
        request = Request(operation, self.body(operation, payload), retry_token, at)
        self.outbox.accept(run_id, line(REQUEST, request.line()), 1)
        return queued()

    def _warn(self, run_id: str, operation: str, error: MlflowException) -> None:
        _logger.warning(
            "%s of run %s goes to the outbox (%s) and is sent when the service answers again; "
            "`mlflow-oci-store outbox status` shows it. %s",
            operation,
            run_id,
            self.settings.outbox_dir,
            error,
        )

    def _look_for_unsent(self) -> None:
        """Once a process: what a dead one left is sent by the next one that logs."""
        self._looked_for_unsent_in = os.getpid()
        if unsent_folders(target_folder(self.settings)):
            self.outbox.adopt()
