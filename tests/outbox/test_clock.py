"""Requests that are older than the service's memory, by whichever clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag

from mlflow_oci_store.tracking.outbox import moment
from mlflow_oci_store.tracking.outbox.journal import METRIC, PARAM, TAG

from .clock import Clock
from .stepped import TOKEN_SECONDS, SteppedOutbox, TokenService, failure, settings

RUN = "0" * 32
HOUR = 3600.0


class Clocks:
    """The two clocks of a machine."""

    def __init__(self) -> None:
        self.time = Clock(time.time())
        self.monotonic = Clock(50 * HOUR)

    def forward(self, hours: float) -> None:
        self.time.now += hours * HOUR
        self.monotonic.now += hours * HOUR


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(moment, "time", clocks)
    return clocks


@pytest.fixture
def service(clocks: Clocks) -> TokenService:
    """Its clock is right, and so is the machine's second one."""
    return TokenService(clocks.monotonic)


@pytest.fixture
def outbox(outbox_dir: Path, service: TokenService, clocks: Clocks) -> SteppedOutbox:
    return SteppedOutbox(settings(outbox_dir), service, clocks.monotonic)


def heir_of(outbox: SteppedOutbox) -> SteppedOutbox:
    outbox.die()
    heir = SteppedOutbox(outbox._settings, outbox._delivery._client, outbox._clock)
    heir.adopt()
    return heir


def log(outbox: SteppedOutbox, first: int, last: int) -> None:
    for step in range(first, last):
        outbox.log(RUN, METRIC, Metric("m", float("nan") if step == 1 else 0.1, 1, step))
    outbox.log(RUN, PARAM, Param(f"p{first}", "v"))
    outbox.log(RUN, TAG, RunTag(f"t{first}", "v"))


def lose_answer(service: TokenService, outbox: SteppedOutbox, clocks: Clocks) -> None:
    """The next request is applied, but nobody here knows."""

    def losing() -> None:
        raise failure(None)

    service.loses = losing
    outbox.run(clocks.monotonic, seconds=1)
    service.loses = lambda: None
    assert len(service.applied) == 1


@pytest.mark.parametrize("hours", [0.1, 22, 25, 1000])
@pytest.mark.parametrize("dies", [True, False])
def test_what_was_applied_is_not_applied_again_however_late_that_is_found_out(
    outbox: SteppedOutbox, service: TokenService, clocks: Clocks, hours: float, dies: bool
) -> None:
    log(outbox, 0, 5)
    lose_answer(service, outbox, clocks)
    clocks.forward(hours)
    if dies:
        outbox = heir_of(outbox)
    outbox.run(clocks.monotonic)
    assert not outbox.is_busy()
    assert service.steps(RUN) == list(range(5))
    assert len(service.applied) == 1


@pytest.mark.parametrize("hours", [0.1, 25])
def test_what_was_not_applied_is_sent_however_late(
    outbox: SteppedOutbox, service: TokenService, clocks: Clocks, hours: float
) -> None:
    log(outbox, 0, 5)

    def out(*_: Any) -> None:
        raise failure(503)

    service.meets = out
    outbox.run(clocks.monotonic, seconds=1)
    service.meets = lambda *_: None
    tried = set(service.sent)
    assert len(tried) == 1
    clocks.forward(hours)
    outbox = heir_of(outbox)
    outbox.run(clocks.monotonic)
    assert service.steps(RUN) == list(range(5))
    assert (service.sent[-1] in tried) is (hours * HOUR < TOKEN_SECONDS)


def test_of_what_is_partly_there_the_rest_is_sent(
    outbox: SteppedOutbox, service: TokenService, clocks: Clocks
) -> None:
    log(outbox, 0, 5)
    lose_answer(service, outbox, clocks)
    [(_, body)] = service.applied
    del body["metrics"][1:3]
    del body["tags"]
    clocks.forward(25)
    outbox.run(clocks.monotonic)
    assert sorted(service.steps(RUN)) == list(range(5))
    [_, (operation, rest)] = service.applied
    assert operation == "log_experiment_run_batch"
    assert {kind: len(rest.get(kind, ())) for kind in ("metrics", "params", "tags")} == {
        "metrics": 2,
        "params": 0,
        "tags": 1,
    }


def test_of_what_is_partly_there_only_the_rest_is_refused(
    outbox: SteppedOutbox, service: TokenService, clocks: Clocks
) -> None:
    """Nothing is sent twice when the rest has to be divided."""
    log(outbox, 0, 8)
    lose_answer(service, outbox, clocks)
    [(_, body)] = service.applied
    del body["metrics"][4:]

    def refusing(_operation: str, content: dict[str, Any]) -> None:
        if any(it["step"] == 6 for it in content.get("metrics", ())):
            raise failure(400)

    service.meets = refusing
    clocks.forward(25)
    outbox.run(clocks.monotonic)
    assert sorted(service.steps(RUN)) == [0, 1, 2, 3, 4, 5, 7]
    assert outbox._spool is not None
    [letter] = outbox._spool.ledger.dead_letters()
    assert json.loads(letter.content)["step"] == 6


@pytest.mark.parametrize(
    "jump",
    [
        lambda clocks: clocks.forward(25),
        # Set back by more than has passed, by less, and forward.
        lambda clocks: setattr(clocks.time, "now", clocks.time.now - 100 * HOUR),
        lambda clocks: (clocks.forward(30), setattr(clocks.time, "now", clocks.time() - 29 * HOUR)),
        lambda clocks: setattr(clocks.time, "now", clocks.time.now + 100 * HOUR),
    ],
    ids=["time passes", "far back", "a little back", "forward"],
)
def test_a_clock_that_jumps_doubles_and_loses_nothing(
    outbox: SteppedOutbox,
    service: TokenService,
    clocks: Clocks,
    jump: Callable[[Clocks], object],
) -> None:
    log(outbox, 0, 5)
    lose_answer(service, outbox, clocks)
    jump(clocks)
    log(outbox, 5, 10)
    outbox.run(clocks.monotonic)
    outbox = heir_of(outbox)
    outbox.run(clocks.monotonic)
    assert service.steps(RUN) == list(range(10))


def test_a_lone_metric_leaves_within_200_milliseconds(
    outbox: SteppedOutbox, clocks: Clocks
) -> None:
    outbox.log(RUN, METRIC, Metric("m", 1.0, 1, 1))
    [due] = outbox.planned()
    assert 0 < due - clocks.monotonic() <= 0.2


def test_a_full_request_leaves_at_once(outbox: SteppedOutbox, clocks: Clocks) -> None:
    for step in range(1000):
        outbox.log(RUN, METRIC, Metric("m", 1.0, 1, step))
    assert outbox.planned()[0] == clocks.monotonic()


def test_whoever_waits_has_it_sent_at_once(outbox: SteppedOutbox, clocks: Clocks) -> None:
    outbox.log(RUN, METRIC, Metric("m", 1.0, 1, 1))
    outbox.hurry()
    assert outbox.planned() == [clocks.monotonic()]


def test_metrics_that_come_together_leave_together(
    outbox: SteppedOutbox, service: TokenService, clocks: Clocks
) -> None:
    for step in range(10):
        outbox.log(RUN, METRIC, Metric("m", 1.0, 1, step))
        clocks.forward(0.001 / 3600)
    outbox.run(clocks.monotonic)
    assert len(service.applied) == 1


def test_ctrl_c_between_accepting_and_planning_leaves_no_metric_behind(
    outbox: SteppedOutbox, service: TokenService, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_plan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            outbox.log(RUN, METRIC, Metric("m", 1.0, 1, 0))
    outbox.log(RUN, METRIC, Metric("m", 1.0, 1, 1))
    outbox.run(clocks.monotonic)
    assert service.steps(RUN) == [0, 1]
