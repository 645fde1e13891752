"""What the store makes of each thing that can go wrong."""

from __future__ import annotations

import dataclasses
from email.utils import formatdate

import pytest
from mlflow.entities import Metric

from mlflow_oci_store.client.retry import RetryPolicy
from mlflow_oci_store.emulator import (
    AidpEmulator,
    CloseAfter,
    CloseBefore,
    Delay,
    Fail,
    Fault,
    Garbage,
    RateLimit,
    Truncate,
)
from mlflow_oci_store.emulator.faults import Action
from mlflow_oci_store.errors import OciDataPlatformException
from mlflow_oci_store.tracking.ordered_client import OrderedClient
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .conftest import applied

LOGGING = "log_experiment_run_metric"
METRIC = Metric("m", 1.0, 1, 1)


@pytest.mark.parametrize(
    "action",
    [
        Fail(429, "TooManyRequests"),
        Fail(429, "TooManyRequests", retry_after=0),
        Fail(500, "InternalServerError"),
        Fail(502, "BadGateway"),
        Fail(503, "ServiceUnavailable", retry_after=0),
        Fail(504, "GatewayTimeout"),
        Fail(409, "IncorrectState"),
        Fail(409, "ExternalServerIncorrectState"),
        CloseBefore(),
        CloseBefore(reset=True),
        CloseAfter(),
        CloseAfter(reset=True),
        Truncate(),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again_with_the_same_token(
    aidp_emulator: AidpEmulator,
    store: OciDataPlatformStore,
    run_id: str,
    tries: list[str | None],
    action: Action,
) -> None:
    aidp_emulator.faults.add(Fault(action, LOGGING, times=3))
    store.log_metric(run_id, METRIC)
    assert len(tries) == 4
    assert applied(aidp_emulator, LOGGING) == [tries[0]]
    assert set(tries) == {tries[0]}
    assert store.get_run(run_id).data.metrics == {"m": 1.0}


@pytest.mark.parametrize(
    ("status", "oci_code", "error_code"),
    [
        (400, "InvalidParameter", "INVALID_PARAMETER_VALUE"),
        (400, "LimitExceeded", "QUOTA_EXCEEDED"),
        (401, "NotAuthenticated", "UNAUTHENTICATED"),
        (403, "NotAllowed", "PERMISSION_DENIED"),
        (404, "NotAuthorizedOrNotFound", "RESOURCE_DOES_NOT_EXIST"),
        (404, "NotFound", "ENDPOINT_NOT_FOUND"),
        (409, "Conflict", "INVALID_STATE"),
        (409, "NotAuthorizedOrResourceAlreadyExists", "RESOURCE_ALREADY_EXISTS"),
        (412, "NoEtagMatch", "RESOURCE_CONFLICT"),
        (413, "RequestEntityTooLarge", "INVALID_PARAMETER_VALUE"),
        (422, "UnprocessableEntity", "INVALID_PARAMETER_VALUE"),
        (501, "MethodNotImplemented", "NOT_IMPLEMENTED"),
    ],
)
def test_what_will_not_pass_is_raised_at_once(
    aidp_emulator: AidpEmulator,
    store: OciDataPlatformStore,
    run_id: str,
    tries: list[str | None],
    status: int,
    oci_code: str,
    error_code: str,
) -> None:
    aidp_emulator.faults.add(Fault(Fail(status, oci_code, "Because")))
    with pytest.raises(OciDataPlatformException, match="Because") as caught:
        store.log_metric(run_id, METRIC)
    error = caught.value
    assert (error.error_code, error.status, error.oci_code) == (error_code, status, oci_code)
    assert (error.operation, error.retries) == (LOGGING, 0)
    assert error.request_id
    assert len(tries) == 1
    assert applied(aidp_emulator, LOGGING) == []


@pytest.mark.parametrize(
    ("action", "error_code", "status"),
    [
        (Fail(503, "ServiceUnavailable"), "TEMPORARILY_UNAVAILABLE", 503),
        (Fail(429, "TooManyRequests"), "REQUEST_LIMIT_EXCEEDED", 429),
        (Fail(500, "InternalServerError"), "INTERNAL_ERROR", 500),
        (CloseBefore(), "TEMPORARILY_UNAVAILABLE", None),
        (CloseAfter(), "TEMPORARILY_UNAVAILABLE", None),
        (Truncate(), "TEMPORARILY_UNAVAILABLE", None),
    ],
    ids=str,
)
def test_what_does_not_pass_is_raised_in_the_end(
    aidp_emulator: AidpEmulator,
    run_id: str,
    tries: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
    action: Action,
    error_code: str,
    status: int | None,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    store = OciDataPlatformStore(aidp_emulator.tracking_uri)
    aidp_emulator.faults.add(Fault(action, LOGGING))
    with pytest.raises(OciDataPlatformException, match="after 2 retries") as caught:
        store.log_metric(run_id, METRIC)
    error = caught.value
    assert (error.error_code, error.status, error.retries) == (error_code, status, 2)
    assert len(tries) == 3


def test_an_answer_that_is_no_json_is_an_error_that_quotes_its_beginning(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    aidp_emulator.faults.add(Fault(Garbage("<html>" + "x" * 500), "get_experiment_run_by_id"))
    with pytest.raises(OciDataPlatformException, match=r"<html>x{194}'") as caught:
        store.get_run(run_id)
    assert caught.value.error_code == "INTERNAL_ERROR"
    assert "x" * 195 not in str(caught.value)


def test_an_answer_of_another_shape_is_an_error(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    aidp_emulator.faults.add(Fault(Garbage('{"run": []}'), "get_experiment_run_by_id"))
    with pytest.raises(OciDataPlatformException, match="cannot be read"):
        store.get_run(run_id)


def test_a_try_that_takes_too_long_is_repeated(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str, tries: list[str | None]
) -> None:
    aidp_emulator.faults.add(Fault(Delay(3600.0), LOGGING, times=1))
    impatient(store, timeout=0.2).log_metric(run_id, METRIC)
    assert len(tries) == 2
    assert applied(aidp_emulator, LOGGING) == [tries[0]] == [tries[1]]


def test_tries_that_all_take_too_long_end_at_the_deadline(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str
) -> None:
    aidp_emulator.faults.add(Fault(Delay(3600.0), LOGGING))
    with pytest.raises(OciDataPlatformException) as caught:
        impatient(store, timeout=0.1, deadline=0.5).log_metric(run_id, METRIC)
    assert caught.value.error_code == "DEADLINE_EXCEEDED"
    assert 0 < caught.value.retries < 40


def impatient(
    store: OciDataPlatformStore, *, timeout: float, deadline: float = 300.0
) -> OciDataPlatformStore:
    """A copy of a store with shorter times than MLflow's variables, in whole seconds, can say."""
    uri, settings = store.__getstate__()
    settings = dataclasses.replace(settings, timeout=timeout, deadline=deadline)
    copy = OciDataPlatformStore.__new__(OciDataPlatformStore)
    copy.__setstate__((uri, settings))
    return copy


@pytest.mark.parametrize("header", [7, formatdate(4_000_000_000, usegmt=True)], ids=["s", "date"])
def test_retry_after_is_waited_for(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str, header: int | str
) -> None:
    pauses: list[float] = []
    policy = RetryPolicy(
        max_retries=1, backoff_factor=0, backoff_jitter=0, deadline=1e12, sleep=pauses.append
    )
    store._client = OrderedClient(store._client.settings, policy)
    aidp_emulator.faults.add(
        Fault(Fail(503, "ServiceUnavailable", retry_after=header), LOGGING, times=1)
    )
    store.log_metric(run_id, METRIC)
    [pause] = pauses
    assert pause == 7 if header == 7 else pause > 1e9


def test_a_rate_limit_slows_down_and_loses_nothing(
    aidp_emulator: AidpEmulator, store: OciDataPlatformStore, run_id: str, tries: list[str | None]
) -> None:
    aidp_emulator.faults.add(Fault(RateLimit(30), LOGGING))
    for step in range(40):
        store.log_metric(run_id, Metric("m", float(step), step, step))
    assert len(applied(aidp_emulator, LOGGING)) == 40
    assert [it.step for it in store.get_metric_history(run_id, "m")] == list(range(40))
