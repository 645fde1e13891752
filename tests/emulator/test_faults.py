"""Faults to order: each kind, when it strikes, and what is applied nevertheless."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
import requests

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
from mlflow_oci_store.emulator.answers import Refusal
from mlflow_oci_store.emulator.faults import Faults, read_faults

from .conftest import Wire

CREATE = ("POST", "experiments/create", {"name": "a"})
SEARCH = ("POST", "experiments/search", {})


def applied(emulator: AidpEmulator) -> int:
    return len(emulator.audit())


def test_an_ordered_error_is_answered_and_nothing_applied(
    aidp_emulator: AidpEmulator, wire: Wire
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable", "later", retry_after=7)))
    answer = wire(*CREATE)
    assert answer.status_code == 503
    assert answer.json() == {"code": "ServiceUnavailable", "message": "later"}
    assert answer.headers["retry-after"] == "7"
    assert applied(aidp_emulator) == 0
    aidp_emulator.faults.clear()
    assert wire(*CREATE).status_code == 200


def test_an_ordered_error_needs_no_retry_after(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(Fail(500, "InternalServerError")))
    assert "retry-after" not in wire(*CREATE).headers


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_closed_before_the_work_leaves_nothing_applied(
    aidp_emulator: AidpEmulator, wire: Wire, reset: bool
) -> None:
    aidp_emulator.faults.add(Fault(CloseBefore(reset=reset), times=1))
    with pytest.raises(requests.ConnectionError) as caught:
        wire(*CREATE)
    assert ("reset" in str(caught.value).lower()) == reset
    assert applied(aidp_emulator) == 0
    assert wire(*CREATE).status_code == 200


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_closed_after_the_work_leaves_it_applied(
    aidp_emulator: AidpEmulator, wire: Wire, reset: bool
) -> None:
    aidp_emulator.faults.add(Fault(CloseAfter(reset=reset), times=1))
    with pytest.raises(requests.ConnectionError):
        wire(*CREATE, opc_retry_token="t")
    assert applied(aidp_emulator) == 1
    answer = wire(*CREATE, opc_retry_token="t")
    assert answer.json()["experiment_id"]
    assert applied(aidp_emulator) == 1


def test_a_truncated_answer_ends_early(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(Truncate()))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        wire(*CREATE)
    assert applied(aidp_emulator) == 1


def test_garbage_is_answered_in_place_of_json(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(Garbage("<html>")))
    answer = wire(*CREATE)
    assert (answer.status_code, answer.text) == (200, "<html>")
    assert wire(*CREATE).status_code == 409
    assert applied(aidp_emulator) == 1


def test_a_delay_holds_the_answer_back(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(Delay(0.05)))
    assert wire(*CREATE).elapsed.total_seconds() >= 0.05
    assert applied(aidp_emulator) == 1


def test_a_rate_limit_lets_so_many_requests_through() -> None:
    now = 0.0
    limit = RateLimit(2, clock=lambda: now)

    def passed() -> int:
        count = 0
        for _ in range(5):
            with contextlib.suppress(Refusal):
                limit.before(threading.Event())
                count += 1
        return count

    assert passed() == 2
    now = 0.5
    assert passed() == 1
    now = 100.0
    assert passed() == 2


def test_a_rate_limit_answers_too_many_requests(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(RateLimit(1e-6)))
    assert wire(*SEARCH).status_code == 200
    answer = wire(*SEARCH)
    assert (answer.status_code, answer.json()["code"]) == (429, "TooManyRequests")
    assert answer.headers["retry-after"] == "1"


def test_a_fault_may_be_for_one_operation(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    fail = Fail(500, "InternalServerError")
    aidp_emulator.faults.add(Fault(fail, operation="create_experiment"))
    assert wire(*SEARCH).status_code == 200
    assert wire(*CREATE).status_code == 500


def test_a_fault_may_strike_every_nth_time(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(Fail(500, "InternalServerError"), nth=3, times=2))
    statuses = [wire(*SEARCH).status_code for _ in range(10)]
    assert [number for number, status in enumerate(statuses, 1) if status == 500] == [3, 6]


def test_faults_by_chance_are_repeatable() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(Fault(Garbage(), probability=0.3))
        return [bool(faults.due("list_experiments")) for _ in range(200)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


def test_several_faults_meet_one_request(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.faults.add(Fault(Garbage("half of this")))
    aidp_emulator.faults.add(Fault(Truncate()))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        wire(*CREATE)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"operation": "log_bach"}, "no operation 'log_bach'"),
        ({"probability": 1.5}, "from 0 to 1"),
        ({"nth": 0}, "counts from 1"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Fault(Garbage(), **wrong)  # type: ignore[arg-type]


def test_a_rate_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="per_second > 0"):
        RateLimit(0)


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text(
        json.dumps(
            [
                {"action": "close_after", "probability": 0.2, "reset": True},
                {"action": "delay", "seconds": 2, "operation": "create_experiment", "times": 1},
                {"action": "fail", "status": 503, "code": "ServiceUnavailable", "nth": 3},
            ]
        )
    )
    assert read_faults(file) == [
        Fault(CloseAfter(reset=True), probability=0.2),
        Fault(Delay(2), operation="create_experiment", times=1),
        Fault(Fail(503, "ServiceUnavailable"), nth=3),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "is not JSON"),
        ("{}", "must hold a list"),
        ("[1]", "fault 1: write an object with an action out of delay, fail"),
        ('[{"action": "garbage"}, {"action": "explode"}]', "fault 2: write an object"),
        ('[{"action": "delay"}]', "fault 1: .*seconds"),
        ('[{"action": "garbage", "nth": 0}]', "fault 1: nth counts from 1"),
    ],
)
def test_a_wrong_file_of_faults_is_explained(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "faults.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=reason):
        Faults().follow(file)


def test_a_file_of_faults_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "faults.json"
    faults = Faults()

    def write(text: str) -> None:
        new = tmp_path / "new.json"
        new.write_text(text)
        os.utime(new, ns=(time.time_ns(), time.time_ns()))
        new.replace(file)

    def due() -> list[str]:
        return [action.name for action in faults.due("list_experiments")]

    write('[{"action": "garbage"}]')
    faults.follow(file)
    assert due() == ["garbage"]
    write('[{"action": "truncate"}]')
    assert due() == ["truncate"]
    write("[")
    assert due() == ["truncate"]
    assert "The faults stay as they were" in caplog.text
    file.unlink()
    assert due() == ["truncate"]
    faults.clear()
    write('[{"action": "garbage"}]')
    assert due() == []
