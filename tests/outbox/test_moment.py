"""The age of a point in time, whatever happens to the clock."""

from __future__ import annotations

import math

import pytest

from mlflow_oci_store.tracking.outbox import moment
from mlflow_oci_store.tracking.outbox.moment import Moment

HOUR = 3600.0


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment.time, "time", lambda: 100 * HOUR)
    monkeypatch.setattr(moment, "_uptime", lambda: 50 * HOUR)


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize(
    ("then", "age"),
    [
        (Moment(99 * HOUR, 49 * HOUR), HOUR),
        (Moment(97 * HOUR, 49 * HOUR), 3 * HOUR),  # the clock was set forward
        (Moment(99 * HOUR, 47 * HOUR), 3 * HOUR),  # the clock was set back
        (Moment(101 * HOUR, 49 * HOUR), math.inf),  # ... by more than has passed
        (Moment(70 * HOUR, 60 * HOUR), 30 * HOUR),  # the machine was started in between
        (Moment(100 * HOUR, 50 * HOUR), 0.0),
    ],
)
def test_an_age_is_rather_too_high_than_too_low(then: Moment, age: float) -> None:
    assert then.age() == age


def test_now_is_not_old() -> None:
    assert 0 <= Moment.now().age() < HOUR
