"""Whatever happens, in whatever order: each item that was accepted is applied exactly once or lies
among the dead letters exactly once, and a run's items arrive in their order."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mlflow.entities import Metric, Param, RunTag

from mlflow_oci_store.client.retry_token import new_retry_token
from mlflow_oci_store.tracking.outbox import moment
from mlflow_oci_store.tracking.outbox.journal import METRIC, PARAM, REQUEST, TAG, line
from mlflow_oci_store.tracking.outbox.ledger import Ledger
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.request import Request
from mlflow_oci_store.tracking.outbox.target import LEDGER_FILE

from .clock import Clock
from .stepped import SteppedOutbox, TokenService, failure, settings, token_invalidated

RUNS = ("a" * 32, "b" * 32)
REFUSED = "refuse me"
OUTCOMES = {
    "no answer": lambda: failure(None),
    "throttled": lambda: failure(429),
    "a proxy answers": lambda: failure(404, None),
    "fails": lambda: failure(500),
}


class Crash(BaseException):
    """kill -9"""


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.opened = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.opened.callback(shutil.rmtree, self.folder)
        self.clock = Clock(time.time())
        self.service = TokenService(self.clock)
        self.service.meets = self.meet
        self.service.loses = self.lose
        self.before: BaseException | None = None
        self.after: BaseException | None = None
        self.commits_to_crash: float = float("inf")
        self.crashes_after_commit = False
        self.accepted: dict[str, list[str]] = {run: [] for run in RUNS}
        self.refused: set[str] = set()
        patch = self.opened.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(moment, "time", _Time(self.clock))
        patch.setattr(Ledger, "_transaction", self.transacting(Ledger._transaction))
        # Refusals and outages are what this is about.
        logging.disable(logging.CRITICAL)
        self.opened.callback(logging.disable, logging.NOTSET)

    @initialize()
    def begin(self) -> None:
        self.outbox = self.process()

    # --- what happens ----------------------------------------------------------------------------

    @rule(
        run=st.sampled_from(RUNS),
        kinds=st.lists(st.sampled_from((METRIC, PARAM, TAG)), min_size=1, max_size=5),
        is_refused=st.sampled_from((False, False, False, True)),
    )
    def accept(self, run: str, kinds: list[bytes], is_refused: bool) -> None:
        for kind in kinds:
            name = self.next_item(run, is_refused)
            self.outbox.log(run, kind, self.entity(kind, self.number(name)))
            is_refused = False

    @rule(run=st.sampled_from(RUNS), outcome=st.sampled_from(("applied", "not applied", "untried")))
    def queue_synchronous_call(self, run: str, outcome: str) -> None:
        """A synchronous call was tried, and is queued because no answer came. It comes after all
        that was accepted before, or the store would have queued it untried."""
        if self.outbox.is_busy(run):
            outcome = "untried"
        name = self.next_item(run, False)
        body = json.dumps({"run_id": run, "tags": [{"key": "s", "value": str(self.number(name))}]})
        token = None if outcome == "untried" else new_retry_token()
        if outcome == "applied":
            self.service.call("log_experiment_run_batch", body.encode(), dict, retry_token=token)
        at = Moment.now() if token else None
        request = Request("log_experiment_run_batch", body.encode(), token, at)
        self.outbox.accept(run, line(REQUEST, request.line()), 1)

    @rule(outcome=st.sampled_from((*OUTCOMES, "answer lost", "answer forgotten", "")))
    def send(self, outcome: str) -> None:
        """The next request meets with something."""
        if outcome in OUTCOMES:
            self.before = OUTCOMES[outcome]()
        elif outcome == "answer lost":
            self.after = failure(None)
        elif outcome == "answer forgotten":
            self.after = token_invalidated()
        self.work()
        self.before = self.after = None

    @rule(is_after=st.booleans())
    def crash_while_sending(self, is_after: bool) -> None:
        if is_after:
            self.after = Crash()
        else:
            self.before = Crash()
        self.work()
        self.before = self.after = None

    @rule(commits=st.integers(1, 4), is_after=st.booleans())
    def crash_while_deciding(self, commits: int, is_after: bool) -> None:
        self.commits_to_crash, self.crashes_after_commit = commits, is_after
        for _ in range(commits):
            self.work()
        self.commits_to_crash = float("inf")

    @rule()
    def crash(self) -> None:
        self.outbox.die()
        self.outbox = self.process()

    @rule(hours=st.sampled_from((0.001, 1, 12, 25)))
    def let_time_pass(self, hours: float) -> None:
        self.clock.now += hours * 3600

    @rule()
    @precondition(lambda self: self.outbox.is_busy())
    def drain(self) -> None:
        self.outbox.run(self.clock)

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def nothing_is_applied_twice(self) -> None:
        for run in RUNS:
            counts = Counter(self.applied(run))
            assert not counts or max(counts.values()) == 1, counts

    def teardown(self) -> None:
        try:
            if hasattr(self, "outbox"):
                self.outbox.run(self.clock)
                self.check()
                self.outbox.die()
        finally:
            self.opened.close()

    def check(self) -> None:
        assert [lane.error for lane in self.outbox._all_lanes() if not lane.is_drained] == []
        assert not self.outbox.is_busy()
        dead = Counter(self.dead())
        for run in RUNS:
            wanted = self.accepted[run]
            applied = self.applied(run)
            assert applied == [it for it in wanted if it not in self.refused]
            assert [dead[it] for it in wanted] == [int(it in self.refused) for it in wanted]
        assert sum(dead.values()) == len(self.refused)

    # --- how -------------------------------------------------------------------------------------

    def process(self) -> SteppedOutbox:
        outbox = SteppedOutbox(settings(self.folder), self.service, self.clock)
        outbox.adopt()
        return outbox

    def work(self) -> None:
        """Send the next request, when its time has come."""
        try:
            for _ in range(300):
                if self.outbox.step():
                    return
                self.clock.now += 0.1
        except Crash:
            self.commits_to_crash = float("inf")
            self.before = self.after = None
            self.crash()

    def next_item(self, run: str, is_refused: bool) -> str:
        number = sum(map(len, self.accepted.values()))
        name = f"{run} {number}"
        self.accepted[run].append(name)
        if is_refused:
            self.refused.add(name)
        return name

    def number(self, name: str) -> int:
        return int(name.rpartition(" ")[2])

    def entity(self, kind: bytes, number: int) -> Any:
        if kind == METRIC:
            return Metric("m", 0.5, 1, number)
        # Params have keys of their own; tags share some, which may not meet in one request.
        return Param(f"p{number}", "v") if kind == PARAM else RunTag(f"t{number % 2}", str(number))

    def names(self, run: str, body: dict[str, Any]) -> list[str]:
        numbers = [int(it["step"]) for it in body.get("metrics", ())]
        numbers += [int(it["key"][1:]) for it in body.get("params", ())]
        numbers += [int(it["value"]) for it in body.get("tags", ())]
        return [f"{run} {number}" for number in sorted(numbers)]

    def applied(self, run: str) -> list[str]:
        """A run's items, request after request; within one, their order does not matter."""
        return [
            name
            for _, body in self.service.applied
            if body["run_id"] == run
            for name in self.names(run, body)
        ]

    def dead(self) -> Iterator[str]:
        kinds = {METRIC: "metrics", PARAM: "params", TAG: "tags"}
        for path in self.folder.glob(f"*/*/{LEDGER_FILE}"):
            opened = Ledger(path.parent, read_only=True)
            for letter in opened.dead_letters():
                body = {kinds[letter.kind]: [json.loads(letter.content)]}
                yield from self.names(letter.run_id, body)
            opened.close()

    def meet(self, _operation: str, body: dict[str, Any]) -> None:
        if self.before is not None:
            error, self.before = self.before, None
            raise error
        if self.refused.intersection(self.names(body["run_id"], body)):
            raise failure(400)

    def lose(self) -> None:
        if self.after is not None:
            error, self.after = self.after, None
            raise error

    def transacting(self, transaction: Any) -> Any:
        @contextlib.contextmanager
        def crashing(opened: Ledger) -> Iterator[Any]:
            self.commits_to_crash -= 1
            is_last = self.commits_to_crash == 0
            with transaction(opened) as connection:
                yield connection
                if is_last and not self.crashes_after_commit:
                    raise Crash
            if is_last:
                raise Crash

        return crashing


class _Time:
    """The module ``time``, whose clocks the machine sets."""

    def __init__(self, clock: Clock) -> None:
        self.time = self.monotonic = clock


Histories.TestCase.settings = hypothesis_settings(max_examples=50, stateful_step_count=30)
TestHistories = Histories.TestCase
