"""When the service is asked again after it was out of reach."""

from __future__ import annotations

import math

import pytest
from mlflow.exceptions import MlflowException

from mlflow_oci_store.tracking.outbox import circuit
from mlflow_oci_store.tracking.outbox.circuit import Circuit

from .clock import Clock

ERROR = MlflowException("out of reach")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that the test sets; pauses are as long as they can be."""
    longest = circuit.BACKOFF.__class__(
        **{**vars(circuit.BACKOFF), "uniform": lambda low, high: high}
    )
    monkeypatch.setattr(circuit, "BACKOFF", longest)
    return Clock()


def test_a_closed_circuit_lets_everybody_send_at_once(clock: Clock) -> None:
    circuit = Circuit(clock)
    circuit.trying()
    assert circuit.next_try_at() == -math.inf
    assert circuit.open_seconds() == 0


def test_after_a_failure_one_at_a_time_probes_after_growing_pauses(clock: Clock) -> None:
    circuit = Circuit(clock)
    circuit.trying()
    assert circuit.failed(ERROR, None)
    pauses = []
    for _ in range(8):
        pauses.append(circuit.next_try_at() - clock())
        clock.now = circuit.next_try_at()
        circuit.trying()
        assert circuit.next_try_at() == math.inf
        assert not circuit.failed(ERROR, None)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    assert circuit.open_seconds() == sum(pauses)
    assert circuit.error is ERROR


def test_a_pause_is_as_long_as_the_service_asks_for(clock: Clock) -> None:
    circuit = Circuit(clock)
    circuit.failed(ERROR, 42.0)
    assert circuit.next_try_at() == clock() + 42


def test_what_was_under_way_when_another_failed_changes_nothing(clock: Clock) -> None:
    circuit = Circuit(clock)
    circuit.trying()
    circuit.failed(ERROR, None)
    at = circuit.next_try_at()
    clock.now += 0.1
    assert not circuit.failed(MlflowException("another"), None)
    assert circuit.next_try_at() == at


def test_any_answer_closes_it_and_pauses_begin_anew(clock: Clock) -> None:
    circuit = Circuit(clock)
    circuit.failed(ERROR, None)
    circuit.trying()
    circuit.failed(ERROR, None)
    circuit.trying()
    assert circuit.answered()
    assert not circuit.answered()
    assert (circuit.error, circuit.open_seconds()) == (None, 0)
    circuit.failed(ERROR, None)
    assert circuit.next_try_at() == clock() + 0.25


def test_a_probe_that_was_not_sent_leaves_the_next_one_free(clock: Clock) -> None:
    circuit = Circuit(clock)
    circuit.failed(ERROR, None)
    clock.now = at = circuit.next_try_at()
    circuit.trying()
    circuit.undecided()
    assert circuit.next_try_at() == at
