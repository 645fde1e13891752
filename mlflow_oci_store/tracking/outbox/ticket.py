"""What a caller holds in its hands for what it has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_oci_store.tracking.outbox.lane import Lane
    from mlflow_oci_store.tracking.outbox.outbox import Outbox


class Ticket:
    """The future of lines that were accepted, as MLflow's ``RunOperations`` wants it.

    It holds positions and no data, so a million of them are cheap.

    Args:
        outbox: Where they were accepted.
        lane: Their run's lane.
        start: Position of the first line.
        end: Position behind the last one.
    """

    __slots__ = ("_end", "_lane", "_outbox", "_start")

    def __init__(self, outbox: Outbox, lane: Lane, start: int, end: int) -> None:
        self._outbox = outbox
        self._lane = lane
        self._start = start
        self._end = end

    def done(self) -> bool:
        """Whether the service has them or has refused them."""
        return self._lane.position >= self._end

    def result(self) -> None:
        """Wait until the service has them.

        Raises:
            MlflowException: The service refused one of them; or it has been out of reach for as
                long as the setting ``deadline`` says, and they are still in the outbox.
        """
        if not self.done():
            self._outbox.wait([(self._lane, self._end)])
        for start, end, error in self._lane.refusals:
            if start < self._end and end > self._start:
                raise error
