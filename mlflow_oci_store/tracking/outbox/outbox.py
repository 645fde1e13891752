"""The outbox of a process for one platform and workspace.

    accept      writes lines to the run's journal and returns; the caller never waits for anything
                but the disk
    workers     threads that send what is due: a request as soon as it is full or somebody waits for
                it, else a moment after its first line
    wait        returns when lines have been dealt with

A run's requests go out one after the other, those of different runs side by side. What dead
processes left for the same target goes first, run by run.

Locks: ``_lock`` guards who sends what and when. It is held neither over the network nor over the
disk, and is taken before a lane's own lock, never after it.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import errno
import heapq
import itertools
import logging
import multiprocessing
import multiprocessing.util
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_STATE,
    RESOURCE_EXHAUSTED,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.utils.validation import _validate_run_id

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.client.retry import RetryPolicy
from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.outbox.circuit import BACKOFF, Circuit
from mlflow_oci_store.tracking.outbox.delivery import Delivery
from mlflow_oci_store.tracking.outbox.lane import Lane
from mlflow_oci_store.tracking.outbox.ledger import Sealed
from mlflow_oci_store.tracking.outbox.spool import Spool
from mlflow_oci_store.tracking.outbox.target import spool_folders, target_folder
from mlflow_oci_store.tracking.outbox.ticket import Ticket
from mlflow_oci_store.tracking.outbox.verdict import Verdict, verdict_on

# How long a line waits for others to go with it.
LINGER_SECONDS = 0.1
_MOST_WORKERS = 8
# Journals of more runs than this are not kept open when there is nothing to send.
_MOST_IDLE_LANES = 64
_OUT_OF_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))

_logger = logging.getLogger(__name__)

# By process, because a forked child must not touch what it inherits, and by settings, because they
# say who signs. Nothing is ever taken out: closing an inherited database would change files that
# are the parent's.
_outboxes: dict[tuple[int, Settings], Outbox] = {}


class Outbox:
    """What this process has logged to a target and the service has not confirmed.

    Args:
        settings: Those of the store.
        client: Sends without retries of its own; None for the usual one.
        clock: Monotonic seconds.

    Attributes:
        pid: The process that it belongs to.
    """

    def __init__(
        self,
        settings: Settings,
        client: DataPlatformClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pid = os.getpid()
        self._settings = settings
        self._clock = clock
        self._delivery = Delivery(client or DataPlatformClient(settings, _single_try(settings)))
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._progress = threading.Condition(self._lock)
        self._circuit = Circuit(clock)
        self._spool: Spool | None = None
        self._lanes: dict[str, Lane] = {}
        # Lanes of dead processes, each run's in the order in which they are to be sent.
        self._adopted: dict[str, list[Lane]] = {}
        self._schedule: list[tuple[float, int, Lane]] = []
        self._numbers = itertools.count()
        self._workers = 0
        self._idle_workers = 0
        self._opening = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Outbox:
        """The process's outbox for stores of these settings; made when it is first asked for."""
        key = (os.getpid(), settings)
        outbox = _outboxes.get(key)
        if outbox is None:
            made = cls(settings)
            outbox = _outboxes.setdefault(key, made)
            if outbox is made:
                outbox._start_life()
        return outbox

    def _start_life(self) -> None:
        atexit.register(self._at_exit)
        if multiprocessing.parent_process() is not None:
            # Such a process ends without its atexit functions.
            multiprocessing.util.Finalize(self, self._at_exit, exitpriority=0)
        self.adopt()

    # --- accepting -------------------------------------------------------------------------------

    def accept(self, run_id: str, lines: bytes, count: int) -> Ticket:
        """Take lines of a run.

        Args:
            run_id: The run.
            lines: Lines of its journal (``journal.line``).
            count: How many.

        Returns:
            To wait for them with. They are safe already.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE for what is no id of a run;
                RESOURCE_EXHAUSTED when the disk is full; INTERNAL_ERROR when the outbox cannot be
                written for another reason. Then they were not taken.
        """
        try:
            while True:
                lane = self._lanes.get(run_id) or self._open_lane(run_id)
                appended = lane.append(lines, count)
                if appended is not None:
                    break
                with self._lock:
                    # It was closed because it had been idle.
                    if self._lanes.get(run_id) is lane:
                        del self._lanes[run_id]
        except (OSError, sqlite3.Error) as error:
            raise self._not_accepted(error) from error
        start, end, wakes = appended
        if wakes:
            with self._lock:
                now = self._clock()
                self._plan(lane, now if lane.is_urgent else now + LINGER_SECONDS)
                self._summon()
        return Ticket(self, lane, start, end)

    def _open_lane(self, run_id: str) -> Lane:
        _validate_run_id(run_id)
        with self._opening:
            lane = self._lanes.get(run_id)
            if lane is None:
                if self._spool is None:
                    self._spool = Spool.create(self._settings)
                lane = Lane(self._spool.journal(run_id), self._spool)
                with self._lock:
                    self._lanes[run_id] = lane
            return lane

    def _not_accepted(self, error: Exception) -> MlflowException:
        code = INTERNAL_ERROR
        advice = "Mend it, or name another folder in MLFLOW_OCI_DP_OUTBOX_DIR"
        if isinstance(error, OSError) and error.errno in _OUT_OF_SPACE:
            code = RESOURCE_EXHAUSTED
            advice = "Free some space, or name a folder on another disk in MLFLOW_OCI_DP_OUTBOX_DIR"
        return MlflowException(
            f"This was not logged, because the outbox in {self._settings.outbox_dir} cannot be "
            f"written: {error}. {advice}, or log with synchronous=True. What was accepted before "
            "is safe.",
            code,
        )

    # --- taking over -----------------------------------------------------------------------------

    def adopt(self) -> None:
        """Take over what dead processes left for this target, and send it.

        A folder in which there is nothing is deleted.
        """
        for path in spool_folders(target_folder(self._settings)):
            try:
                spool = Spool.adopt(path, sync=self._settings.outbox_sync == "full")
                if spool is not None:
                    self._adopt(spool)
            except (OSError, sqlite3.Error) as error:
                _logger.warning(
                    "What another process left in %s cannot be sent: %s. `mlflow-oci-store outbox "
                    "export` reads what is readable.",
                    path,
                    error,
                )

    def _adopt(self, spool: Spool) -> None:
        sealed: dict[str, list[Sealed]] = {}
        for request in spool.ledger.sealed():
            sealed.setdefault(request.run_id, []).append(request)
        lanes = [
            Lane(journal, spool, sealed.get(journal.run_id, ()), is_adopted=True)
            for journal in spool.journals()
        ]
        with self._lock:
            now = self._clock()
            for lane in lanes:
                self._adopted.setdefault(lane.run_id, []).append(lane)
                self._plan(lane, now)
                self._summon()
        if not lanes:
            spool.close()

    # --- waiting ---------------------------------------------------------------------------------

    def is_busy(self, run_id: str | None = None) -> bool:
        """Whether there is something to send, of one run or of any."""
        if run_id is None:
            return bool(self._adopted) or any(
                not lane.is_drained for lane in list(self._lanes.values())
            )
        lane = self._lanes.get(run_id)
        return run_id in self._adopted or (lane is not None and not lane.is_drained)

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the service did not answer when it was last asked."""
        return self._circuit.opened_at is not None

    def settle(self, run_id: str | None = None, patience: float | None = None) -> None:
        """Wait for all that has been accepted before, of one run or of all.

        Args:
            run_id: The run; None for all.
            patience: Seconds for which the service may be out of reach; None for ``deadline``.

        Raises:
            MlflowException: TEMPORARILY_UNAVAILABLE, when it is for longer. Nothing is lost then.
        """
        with self._lock:
            lanes = self._all_lanes()
        targets = [(it, it.journal.end) for it in lanes if run_id is None or it.run_id == run_id]
        self.wait(targets, patience)

    def wait(self, targets: Sequence[tuple[Lane, int]], patience: float | None = None) -> None:
        """Wait until lanes have got to positions; arguments and errors are those of ``settle``."""
        if os.getpid() != self.pid:
            raise MlflowException(
                "What a process has logged asynchronously can be waited for in that process only.",
                INVALID_STATE,
            )
        patience = self._settings.deadline if patience is None else patience
        with self._lock:
            self._want(targets)
            while behind := [it for it in targets if it[0].position < it[1]]:
                left = patience - max(self._trouble_seconds(lane) for lane, _ in behind)
                if left <= 0:
                    raise self._still_here(behind)
                self._step_or_wait(left)

    def bytes_left(self) -> int:
        """How much has not been dealt with, as it is on disk."""
        with self._lock:
            return sum(lane.journal.end - lane.position for lane in self._all_lanes())

    def hurry(self) -> None:
        """Have everything sent without waiting for more to go with it."""
        with self._lock:
            self._want([(lane, lane.journal.end) for lane in self._all_lanes()])

    def drain(self, seconds: float) -> bool:
        """Wait until everything has been dealt with, for so many seconds at the most.

        Returns:
            Whether it has.
        """
        give_up_at = self._clock() + seconds
        with self._lock:
            self._want([(lane, lane.journal.end) for lane in self._all_lanes()])
            while self.is_busy():
                left = give_up_at - self._clock()
                if left <= 0:
                    return False
                self._step_or_wait(left)
        return True

    def _all_lanes(self) -> list[Lane]:
        return [*itertools.chain.from_iterable(self._adopted.values()), *self._lanes.values()]

    def _want(self, targets: Sequence[tuple[Lane, int]]) -> None:
        now = self._clock()
        for lane, end in targets:
            if lane.position < end:
                lane.wanted = max(lane.wanted, end)
                if lane.failing_since is None:
                    self._plan(lane, now)
                    self._summon()

    def _step_or_wait(self, seconds: float) -> None:
        """Wait for progress; where no thread can be started, as in a dying interpreter, make it."""
        if self._workers:
            # Nobody is told when patience is over, which depends on when an outage began.
            self._progress.wait(min(seconds, 1.0))
        elif (lane := self._due_lane()) is not None:
            self._send(lane)
        else:
            self._work.wait(min(seconds, LINGER_SECONDS))

    def _trouble_seconds(self, lane: Lane) -> float:
        """For how long a lane, or one that it has to come after, has not been able to send."""
        failing = [it.failing_since for it in (lane, *self._adopted.get(lane.run_id, ()))]
        since = min((it for it in failing if it is not None), default=self._clock())
        return max(self._clock() - since, self._circuit.open_seconds())

    def _still_here(self, behind: Sequence[tuple[Lane, int]]) -> MlflowException:
        runs = sorted({lane.run_id for lane, _ in behind})
        lanes = [it for lane, _ in behind for it in (lane, *self._adopted.get(lane.run_id, ()))]
        error = next((lane.error for lane in lanes if lane.error), self._circuit.error)
        return MlflowException(
            f"What was logged to {'run' if len(runs) == 1 else 'runs'} {', '.join(runs[:5])} is "
            f"not with the service yet. It is safe in the outbox ({self._settings.outbox_dir}) and "
            "is sent as soon as the service answers; `mlflow-oci-store outbox status` shows it. "
            f"The reason: {error}",
            TEMPORARILY_UNAVAILABLE,
        )

    # --- sending ---------------------------------------------------------------------------------

    def _plan(self, lane: Lane, due: float) -> None:
        """Have a lane's next request sent at a time, or earlier if that is planned already."""
        lane.is_awake = True
        if lane.is_busy or (lane.due is not None and lane.due <= due):
            return
        lane.due = due
        heapq.heappush(self._schedule, (due, next(self._numbers), lane))

    def _summon(self) -> None:
        """Have somebody look at the schedule."""
        if self._idle_workers:
            self._work.notify()
        elif self._workers < _MOST_WORKERS:
            self._start_worker()

    def _start_worker(self) -> None:
        try:
            # ``Thread.start`` would wait until it runs, and a signal's exception (Ctrl-C) can come
            # out of that wait as a RuntimeError, as if there could be no more threads.
            _thread.start_new_thread(self._work_forever, (self._workers,))
        except RuntimeError:
            # The interpreter is shutting down; whoever waits does the work.
            return
        self._workers += 1

    def _work_forever(self, number: int) -> None:
        threading.current_thread().name = f"mlflow-oci-store-outbox-{number}"
        with self._lock:
            while True:
                lane = self._due_lane()
                if lane is not None:
                    if self._schedule:
                        self._summon()
                    self._send(lane)
                    continue
                self._idle_workers += 1
                self._work.wait(self._seconds_to_next())
                self._idle_workers -= 1

    def _seconds_to_next(self) -> float | None:
        if not self._schedule:
            return None
        at = max(self._schedule[0][0], self._circuit.next_try_at())
        # While a probe is under way, its end is told.
        return None if at == float("inf") else max(0.0, at - self._clock())

    def _due_lane(self) -> Lane | None:
        now = self._clock()
        while self._schedule and self._schedule[0][0] <= now and self._circuit.next_try_at() <= now:
            due, _, lane = heapq.heappop(self._schedule)
            if lane.due != due or lane.is_busy:
                # It has been planned for an earlier time since.
                continue
            lane.due = None
            others = self._adopted.get(lane.run_id)
            if others and others[0] is not lane:
                # Its turn comes when they are done.
                continue
            return lane
        return None

    def _send(self, lane: Lane) -> None:
        """Send a lane's next request; the lock is given up meanwhile."""
        lane.is_busy = True
        self._circuit.trying()
        self._lock.release()
        error: Exception | None = None
        was_sent = False
        try:
            was_sent = self._delivery.attempt(lane)
            if lane.is_drained and (lane.is_adopted or len(self._lanes) > _MOST_IDLE_LANES):
                lane.close()
        except Exception as failure:  # noqa: BLE001 - whoever waits for the lane is told
            error = failure
        finally:
            self._lock.acquire()
            lane.is_busy = False
        self._judge(lane, error, was_sent)
        self._progress.notify_all()

    def _judge(self, lane: Lane, error: Exception | None, was_sent: bool) -> None:
        now = self._clock()
        if isinstance(error, MlflowException) and verdict_on(error) is Verdict.OUTAGE:
            if self._circuit.failed(error, getattr(error, "retry_after", None)):
                _logger.warning(
                    "The service is out of reach, so what is logged asynchronously stays in the "
                    "outbox (%s) until it is back; `mlflow-oci-store outbox status` shows it. %s",
                    self._settings.outbox_dir,
                    error,
                )
            self._plan(lane, now)
            return
        if not was_sent and not isinstance(error, MlflowException):
            self._circuit.undecided()
        elif self._circuit.answered():
            _logger.info("The service answers again; sending what is in the outbox.")
            for _ in self._schedule:
                self._summon()
        lane.error = error
        if error is not None:
            self._postpone(lane, error, now)
            return
        lane.failures, lane.failing_since = 0, None
        if not lane.falls_asleep():
            self._plan(lane, now if lane.is_urgent else now + LINGER_SECONDS)
        elif lane.is_adopted:
            self._go_on_after(lane)
        elif lane.is_closed and self._lanes.get(lane.run_id) is lane:
            del self._lanes[lane.run_id]

    def _postpone(self, lane: Lane, error: Exception, now: float) -> None:
        """Try a lane again later that fails for a reason of its own."""
        if lane.failing_since is None:
            lane.failing_since = now
            _logger.warning(
                "What was logged to run %s cannot be sent at the moment and stays in the outbox: "
                "%s",
                lane.run_id,
                error,
                exc_info=None if isinstance(error, MlflowException) else error,
            )
        pause = BACKOFF.pause_before(lane.failures, getattr(error, "retry_after", None))
        lane.failures += 1
        self._plan(lane, now + pause)

    def _go_on_after(self, lane: Lane) -> None:
        """All that a dead process left of a run has been dealt with."""
        adopted = self._adopted[lane.run_id]
        adopted.remove(lane)
        if not adopted:
            del self._adopted[lane.run_id]
        following = adopted[0] if adopted else self._lanes.get(lane.run_id)
        if following is not None:
            # Also one with nothing to send: what comes after it waits for its end.
            self._plan(following, self._clock())

    # --- ending ----------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        if os.getpid() != self.pid:
            return
        is_empty = False
        try:
            is_empty = self.drain(self._settings.outbox_exit_seconds)
        except KeyboardInterrupt:
            _logger.warning("Interrupted while the outbox was being emptied.")
        if not is_empty:
            _logger.warning(
                "Not all that was logged is with the service yet. The rest is safe in the outbox "
                "(%s) and is sent by the next process that logs there, or by `mlflow-oci-store "
                "outbox flush`.%s",
                self._settings.outbox_dir,
                f" The reason: {self._circuit.error}" if self._circuit.error else "",
            )
            return
        with self._opening, contextlib.suppress(OSError, sqlite3.Error):
            spool = self._spool
            if spool is not None and all(lane.close() for lane in self._lanes.values()):
                # MLflow may yet end a run: then there is another folder.
                self._spool = None
                spool.close()


def _single_try(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        max_retries=0, backoff_factor=0.0, backoff_jitter=0.0, deadline=settings.deadline
    )
