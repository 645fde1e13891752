"""What a dead process left is sent by the next one, in the order in which it was accepted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.tracking.outbox import moment
from mlflow_oci_store.tracking.outbox.journal import METRIC, REQUEST, TAG, line
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.request import Request

from .clock import Clock
from .stepped import SteppedOutbox, TokenService, failure, settings

RUN = "0" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
def service(clock: Clock) -> TokenService:
    return TokenService(clock)


@pytest.fixture
def outbox(outbox_dir: Path, service: TokenService, clock: Clock) -> SteppedOutbox:
    return SteppedOutbox(settings(outbox_dir), service, clock)


def successor(outbox: SteppedOutbox, **variables: str) -> SteppedOutbox:
    """The next process on the same machine, which has taken over what the dead ones left."""
    chosen = settings(Path(outbox._settings.outbox_dir), **variables)
    following = SteppedOutbox(chosen, outbox._delivery._client, outbox._clock)
    following.adopt()
    return following


def metric(step: int) -> Metric:
    return Metric("m", float(step), 1, step)


def out(*_: object) -> None:
    raise failure(None)


def test_many_dead_processes_are_sent_in_the_order_in_which_they_lived(
    outbox: SteppedOutbox, service: TokenService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)  # a clock that stands still
    service.meets = out
    processes = [outbox]
    for step in range(8):
        processes[-1].log(RUN, METRIC, metric(step))
        processes[-1].log(RUN, TAG, RunTag("latest", str(step)))
        # Nobody is adopted before all are dead.
        processes.append(SteppedOutbox(outbox._settings, service, clock))
    for process in processes:
        process.die()
    service.meets = lambda *_: None
    heir = successor(outbox)
    heir.log(RUN, METRIC, metric(8))
    heir.run(clock)
    assert service.steps(RUN) == list(range(9))
    assert [it["value"] for it in service.items(RUN, "tags")] == [str(n) for n in range(8)]
    assert not heir.is_busy()


def test_a_dead_process_that_had_sent_everything_does_not_stop_those_after_it(
    outbox: SteppedOutbox, service: TokenService, clock: Clock
) -> None:
    # Two live side by side; the first is killed before it sends, the second after.
    outbox.log(RUN, METRIC, metric(0))
    second = SteppedOutbox(outbox._settings, service, clock)
    second.log(RUN, METRIC, metric(1))
    second.run(clock)
    outbox.die()
    second.die()
    heir = successor(outbox)
    heir.log(RUN, METRIC, metric(2))
    heir.run(clock)
    assert service.steps(RUN) == [1, 0, 2]
    assert not heir.is_busy()
    [folder] = Path(outbox._settings.outbox_dir).glob("*/*")
    assert heir._spool is not None
    assert folder == heir._spool.path


def test_waiting_ends_when_what_a_dead_process_left_cannot_be_sent(
    outbox: SteppedOutbox, service: TokenService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.log(RUN, METRIC, metric(0))
    outbox.die()
    heir = successor(outbox, deadline="60")
    ticket = heir.log(RUN, METRIC, metric(1))

    def broken(*_: object) -> None:
        raise failure(500)

    service.meets = broken

    def waiting(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(heir._work, "wait", waiting)
    with pytest.raises(MlflowException, match="This was ordered: 500") as caught:
        ticket.result()
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_a_queued_synchronous_call_that_may_have_been_applied_counts_as_sent(
    outbox: SteppedOutbox, service: TokenService, clock: Clock
) -> None:
    """It was tried, its answer was lost, and the service does not repeat that either."""
    body = b'{"run_id":"%s","key":"m","value":1,"timestamp":1,"step":1}' % RUN.encode()
    repeated: list[bool] = []
    call = service.call

    def calling(*arguments: object, **options: object) -> object:
        repeated.append(bool(options["repeated"]))
        return call(*arguments, **options)  # type: ignore[arg-type]

    service.call = calling  # type: ignore[method-assign,assignment]
    for token in ("tried before", None):
        request = Request("log_experiment_run_metric", body, token, Moment.now() if token else None)
        outbox.accept(RUN, line(REQUEST, request.line()), 1)
    outbox.run(clock)
    assert repeated == [True, False]


def test_a_queued_synchronous_call_of_yesterday_is_looked_for_before_it_is_sent(
    outbox: SteppedOutbox, service: TokenService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "time", clock_module(clock))
    item = b'"key":"m","value":1.0,"timestamp":1,"step":1}'
    body = b'{"run_id":"%s",' % RUN.encode() + item
    service.applied.append(
        (
            "log_experiment_run_batch",
            {"run_id": RUN, "metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": 1}]},
        )
    )
    request = Request("log_experiment_run_metric", body, "old", Moment.now())
    outbox.accept(RUN, line(REQUEST, request.line()), 1)
    outbox.die()
    clock.now += 25 * 3600
    heir = successor(outbox)
    heir.run(clock)
    assert not heir.is_busy()
    assert service.sent == []


def clock_module(clock: Clock) -> object:
    """The time module, with both of its clocks set by the test."""

    class Module:
        time = staticmethod(clock)
        monotonic = staticmethod(clock)

    return Module


def test_what_an_outbox_waits_for_is_on_disk_also_when_it_takes_over(
    outbox: SteppedOutbox,
) -> None:
    outbox.log(RUN, METRIC, metric(0))
    outbox.die()
    heir = successor(outbox, outbox_sync="full")
    [lane] = heir._adopted[RUN]
    assert lane._spool.ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_two_recoverers_in_one_process_do_not_take_over_the_same(
    outbox: SteppedOutbox, service: TokenService, clock: Clock, tmp_path: Path
) -> None:
    outbox.log(RUN, METRIC, metric(0))
    outbox.die()
    one = successor(outbox)
    link = tmp_path / "another name"
    link.symlink_to(outbox._settings.outbox_dir)
    two = SteppedOutbox(settings(link), service, clock)
    two.adopt()
    for heir in (two, one):
        heir.run(clock)
    assert service.steps(RUN) == [0]
