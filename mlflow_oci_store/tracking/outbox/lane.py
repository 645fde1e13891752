"""One run's way through the outbox: its journal, and how far it has been dealt with."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import DATA_LOSS

from mlflow_oci_store.tracking.batch import MAX_ITEMS
from mlflow_oci_store.tracking.outbox.journal import DAMAGED, Journal, Line, delete
from mlflow_oci_store.tracking.outbox.ledger import Refusal, Sealed
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.sealing import seal
from mlflow_oci_store.tracking.outbox.spool import Spool

_logger = logging.getLogger(__name__)


class Appended(NamedTuple):
    """Where lines are in a journal.

    Attributes:
        start: Position of the first one.
        end: Position behind the last one.
        wakes: Whether the sending of it must be planned.
    """

    start: int
    end: int
    wakes: bool


class Lane:
    """A run's journal with what is on its way.

    ``append`` may be called by any thread; everything else by the one thread that is sending.
    ``due``, ``is_awake``, ``is_busy``, ``wanted`` and ``failing_since`` are the outbox's, under its
    own lock.

    Args:
        journal: The run's lines.
        spool: The folder they are in.
        sealed: Requests that were made of them and are not confirmed.
        is_adopted: Whether a dead process accepted them, so that there will be no more.

    Attributes:
        position: Up to where everything has been dealt with.
        refusals: What was refused of the run, with the positions.
    """

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        sealed: Sequence[Sealed] = (),
        *,
        is_adopted: bool = False,
    ) -> None:
        self.run_id = journal.run_id
        self.journal = journal
        self.position = max(spool.ledger.position(journal.run_id), journal.start)
        self.refusals: list[tuple[int, int, MlflowException]] = []
        self.is_adopted = is_adopted
        self.is_closed = False
        self.due: float | None = None
        # Whether sending is planned or under way, so that a further line need not see to it.
        self.is_awake = False
        self.is_busy = False
        self.wanted = 0
        self.failures = 0
        self.failing_since: float | None = None
        self.error: Exception | None = None
        self._spool = spool
        self._sealed = deque(sealed)
        # The only request of which it is known that nobody has sent it.
        self._unsent: Sealed | None = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._is_full = False

    @property
    def is_drained(self) -> bool:
        """Whether everything has been dealt with."""
        # A journal that was damaged may be shorter than what was sealed of it.
        return self.position >= self.journal.end and not self._sealed

    @property
    def is_urgent(self) -> bool:
        """Whether waiting for more lines brings nothing: the next request is as large as it can
        be, or made already, or somebody waits for it, or there will be no more lines."""
        return self._is_full or bool(self._sealed) or self.wanted > self.position or self.is_adopted

    def append(self, lines: bytes, count: int) -> Appended | None:
        """Accept lines.

        Args:
            lines: Whole lines of a journal.
            count: How many.

        Returns:
            Where they are; None if the lane has been closed.

        Raises:
            OSError: They could not be written.
        """
        with self._lock:
            if self.is_closed:
                return None
            start = self.journal.end
            end = self.journal.append(lines)
            self._waiting += count
            # Only who has planned the sending says so: a signal's exception may come before.
            wakes = not self.is_awake
            if self._waiting >= MAX_ITEMS and not self._is_full:
                wakes = self._is_full = True
            return Appended(start, end, wakes)

    def falls_asleep(self) -> bool:
        """Whether there is nothing to do, so that the next line has to tell."""
        with self._lock:
            self.is_awake = not self.is_drained
            if not self.is_awake:
                # Damaged lines were counted, too, but never sealed.
                self._waiting, self._is_full = 0, False
            return not self.is_awake

    def close(self) -> bool:
        """Delete the journal and take no more lines, if everything has been dealt with.

        Returns:
            Whether it has.
        """
        with self._lock:
            if not self.is_drained:
                return False
            self.is_closed = True
            # Without its lines a position means nothing; without their position, lines that were
            # sent would be taken for new ones.
            delete(self.journal.forget(self.position, entirely=True))
            self._spool.ledger.forget(self.run_id)
        if self.is_adopted:
            self._spool.finished_journal()
        return True

    def next_request(self) -> Sealed | None:
        """The request to send next, made and noted in the ledger if need be; None for nothing."""
        if self._sealed:
            return self._sealed[0]
        while True:
            lines = self.journal.lines(self.position)
            first = next(lines, None)
            if first is None:
                return None
            if first.kind != DAMAGED:
                break
            self._bury_damaged(first)
        made = seal(self.run_id, chain([first], lines))
        self._spool.ledger.seal(made.sealed)
        self._sealed.append(made.sealed)
        self._unsent = None if made.may_be_sent else made.sealed
        with self._lock:
            self._waiting -= made.lines
            self._is_full = self._waiting >= MAX_ITEMS
        return made.sealed

    def begins(self, request: Sealed) -> bool:
        """Note that a request is being sent.

        Returns:
            Whether it may have been sent before.
        """
        was_sent = request is not self._unsent
        self._unsent = None
        return was_sent

    def is_divided(self) -> bool:
        """Whether the next request is a part of one that was refused."""
        return len(self._sealed) > 1

    def lines(self, request: Sealed) -> list[Line]:
        """The lines of a request."""
        return list(self.journal.lines(request.start, request.end))

    def acknowledge(self, request: Sealed) -> None:
        """Note that the service has the next request."""
        self._spool.ledger.acknowledge(request)
        self._done(request)

    def replace(self, request: Sealed, others: Sequence[Sealed]) -> None:
        """Put others in the place of the next request, which took no effect."""
        self._spool.ledger.replace(request, others)
        self._sealed.popleft()
        self._sealed.extendleft(reversed(others))

    def bury(self, request: Sealed, error: MlflowException, refusal: Refusal) -> bool:
        """Note that the service will not have the lines of the next request.

        Returns:
            Whether that is news: the lines before them were not refused for the same reason.
        """
        lines = [(line.kind, line.content) for line in self.lines(request)]
        self._spool.ledger.bury(request, lines, refusal)
        is_news = self._note_refusal(request.start, request.end, error)
        self._done(request)
        return is_news

    def _note_refusal(self, start: int, end: int, error: MlflowException) -> bool:
        # A run that is gone refuses everything, for days perhaps: one entry is enough for that.
        if self.refusals:
            first, last, reason = self.refusals[-1]
            if last == start and _says(reason) == _says(error):
                self.refusals[-1] = (first, end, reason)
                return False
        self.refusals.append((start, end, error))
        return True

    def _bury_damaged(self, line: Line) -> None:
        error = MlflowException(
            f"A line of the outbox in {self._spool.path} is damaged and cannot be sent to run "
            f"{self.run_id}: check the disk.",
            DATA_LOSS,
        )
        place = Sealed(self.run_id, line.start, line.end, "", "", b"", Moment.now())
        refusal = Refusal(error.message, error.error_code)
        self._spool.ledger.bury(place, [(line.kind, line.content)], refusal)
        _logger.error("%s `mlflow-oci-store outbox list` shows what is left of it.", error.message)
        self._note_refusal(line.start, line.end, error)
        self.position = line.end

    def _done(self, request: Sealed) -> None:
        self._sealed.popleft()
        self.position = request.end
        with self._lock:
            segments = self.journal.forget(self.position)
        # A large file takes a moment, in which nobody must wait for the lock.
        delete(segments)


def _says(error: MlflowException) -> str:
    """What an error says, without the request's id at its end."""
    return str(error.message).rpartition(" (")[0]
