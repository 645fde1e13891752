"""The policy of repeating calls: which failures, after what pauses."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_oci_store.client.retry import (
    MAX_PAUSE_SECONDS,
    RetryPolicy,
    is_transient,
    retry_after_seconds,
)

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=timezone.utc).timestamp()


def policy(factor: float = 2.0, jitter: float = 1.0, draw: float = 1.0) -> RetryPolicy:
    """A policy whose randomness always falls on the same share of the range."""
    return RetryPolicy(
        7, factor, jitter, 300.0, uniform=lambda low, high: low + draw * (high - low)
    )


def test_only_throttling_faults_and_passing_conflicts_are_transient() -> None:
    codes = [
        None,
        "Conflict",
        "ExternalServerIncorrectState",
        "IncorrectState",
        "InternalServerError",
        "InvalidatedRetryToken",
        "TooManyRequests",
    ]
    transient = {
        (status, code) for status in range(300, 600) for code in codes if is_transient(status, code)
    }

    faults = {(status, code) for status in (429, 500, 502, 503, 504) for code in codes}
    assert transient == faults | {(409, "ExternalServerIncorrectState"), (409, "IncorrectState")}


@given(st.integers(0, 5000), st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_pause_is_drawn_from_the_whole_range_up_to_its_bound(
    retry: int, factor: float, jitter: float
) -> None:
    assert policy(factor, jitter, draw=0.0).pause_before(retry, None) == 0.0
    longest = policy(factor, jitter, draw=1.0).pause_before(retry, None)
    assert 0.0 <= longest <= MAX_PAUSE_SECONDS
    assert longest == pytest.approx(
        min(MAX_PAUSE_SECONDS, min(MAX_PAUSE_SECONDS, factor * 2.0 ** min(retry, 64)) + jitter)
    )


def test_pauses_double_until_they_are_as_long_as_they_get() -> None:
    pauses = [policy(2.0, 0.0).pause_before(retry, None) for retry in range(8)]

    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0, 120.0]


def test_a_pause_is_never_shorter_than_the_service_asked_for() -> None:
    assert policy(draw=0.0).pause_before(0, 17.0) == 17.0
    assert policy(draw=0.0).pause_before(0, 500.0) == 500.0
    assert policy(factor=64.0, jitter=0.0).pause_before(0, 17.0) == 64.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("9" * 400, float("inf")),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30.0),
        ("Sun Nov  6 08:50:07 1994", 30.0),
        ("Sun, 06 Nov 1994 08:50:07 -0000", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:50:07 GMT", None),
        ("3, 4", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
def test_a_date_without_a_zone_is_not_taken_for_local_time() -> None:
    assert retry_after_seconds("Sun Nov  6 08:50:07 1994", NOW) == 30.0


@given(st.text())
def test_any_retry_after_is_understood_or_ignored(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)

    assert seconds is None or seconds >= 0.0


def test_pauses_leave_the_random_numbers_of_a_seeded_script_alone() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)

    pauses = {RetryPolicy(7, 2.0, 1.0, 300.0).pause_before(0, None) for _ in range(20)}

    assert random.random() == expected
    assert len(pauses) == 20


def test_a_policy_can_be_pickled() -> None:
    original = RetryPolicy(7, 2.0, 1.0, 300.0)

    assert pickle.loads(pickle.dumps(original)) == original
