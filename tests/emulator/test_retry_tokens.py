"""A retry token makes a second request harmless."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlflow_oci_store.emulator import AidpEmulator

from .conftest import Wire

CREATE = ("POST", "experiments/create")
HOUR = 3600


def applied(emulator: AidpEmulator) -> list[tuple[str, str | None]]:
    return [(record.operation, record.retry_token) for record in emulator.audit()]


def test_the_same_request_gets_the_same_answer_and_is_applied_once(
    aidp_emulator: AidpEmulator, wire: Wire
) -> None:
    first = wire(*CREATE, {"name": "a"}, opc_retry_token="t", opc_request_id="one")
    second = wire(*CREATE, {"name": "a"}, opc_retry_token="t", opc_request_id="two")
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert second.headers["opc-request-id"] == "two"
    [record] = aidp_emulator.audit()
    assert record.operation == "create_experiment"
    assert record.retry_token == "t"
    assert record.request_id == "one"
    assert record.principal == aidp_emulator.profile
    assert record.platform_id == aidp_emulator.platform_id
    assert record.workspace_key == aidp_emulator.workspace_key
    assert record.status == 200


def test_another_request_with_the_token_is_a_conflict(
    aidp_emulator: AidpEmulator, wire: Wire
) -> None:
    created = wire(*CREATE, {"name": "a"}, opc_retry_token="t").json()
    for path, body in (
        ("experiments/create", {"name": "b"}),
        ("experiments/delete", created),
    ):
        answer = wire("POST", path, body, opc_retry_token="t")
        assert answer.status_code == 409
        assert answer.json()["code"] == "InvalidatedRetryToken"
    assert len(aidp_emulator.audit()) == 1


def test_a_refused_request_leaves_its_token_free(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    missing = {"experiment_id": "exp-000000000001"}
    assert wire("POST", "experiments/delete", missing, opc_retry_token="t").status_code == 404
    assert wire(*CREATE, {"name": "a"}, opc_retry_token="t").status_code == 200
    assert applied(aidp_emulator) == [("create_experiment", "t")]


def test_without_a_token_each_request_is_applied(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    assert wire(*CREATE, {"name": "a"}).status_code == 200
    assert wire(*CREATE, {"name": "a"}).status_code == 409
    assert wire(*CREATE, {"name": "b"}).status_code == 200
    assert applied(aidp_emulator) == [("create_experiment", None)] * 2


def test_reads_take_no_notice_of_tokens(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    for body in ({}, {"max_results": 1}):
        assert wire("POST", "experiments/search", body, opc_retry_token="t").status_code == 200
    assert aidp_emulator.audit() == []


def test_a_token_has_1_to_64_characters(wire: Wire) -> None:
    for token in ("", "t" * 65):
        answer = wire(*CREATE, {"name": "a"}, opc_retry_token=token)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert wire(*CREATE, {"name": "a"}, opc_retry_token="t" * 64).status_code == 200


def test_tokens_of_two_users_do_not_meet(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    aidp_emulator.add_user("ada")
    ada = Wire(aidp_emulator, Wire.api_key_signer(aidp_emulator.config_file, "ada"))
    assert wire(*CREATE, {"name": "a"}, opc_retry_token="t").status_code == 200
    assert ada(*CREATE, {"name": "b"}, opc_retry_token="t").status_code == 200


def test_a_token_is_forgotten_after_24_hours(tmp_path: Path) -> None:
    ahead = 0.0
    with AidpEmulator(tmp_path, clock=lambda: time.time() + ahead) as emulator:
        assert Wire(emulator)(*CREATE, {"name": "a"}, opc_retry_token="t").status_code == 200

        def again(name: str) -> int:
            now = time.time() + ahead
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
            answer = Wire(emulator)(*CREATE, {"name": name}, opc_retry_token="t", date=stamp)
            return answer.status_code

        ahead = 23 * HOUR
        assert again("b") == 409
        ahead = 25 * HOUR
        assert again("b") == 200
        assert again("a") == 409


def test_a_token_outlives_a_restart(tmp_path: Path) -> None:
    with AidpEmulator(tmp_path) as emulator:
        first = Wire(emulator)(*CREATE, {"name": "a"}, opc_retry_token="t")
    with AidpEmulator(tmp_path) as emulator:
        second = Wire(emulator)(*CREATE, {"name": "a"}, opc_retry_token="t")
        assert second.content == first.content
        assert len(emulator.audit()) == 1


def test_duplicates_that_arrive_together_are_applied_once(aidp_emulator: AidpEmulator) -> None:
    # The first one cannot finish before all others have been sent.
    workspace = aidp_emulator._workspaces.workspace(
        aidp_emulator.platform_id, aidp_emulator.workspace_key
    )
    request = Wire(aidp_emulator).signed(*CREATE, {"name": "a"}, opc_retry_token="t")
    waiting = aidp_emulator._ledger._waiting
    with ThreadPoolExecutor(8) as pool:
        with workspace.writing:
            answers = [pool.submit(Wire(aidp_emulator).send, request.copy()) for _ in range(8)]
            deadline = time.monotonic() + 30
            while sum(waiting.values()) < 8:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        contents = {(answer.result().status_code, answer.result().content) for answer in answers}
    assert len(contents) == 1
    assert contents.pop()[0] == 200
    assert len(aidp_emulator.audit()) == 1
    assert not waiting


def test_many_writers_at_once_are_all_applied(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    experiment = wire(*CREATE, {"name": "a"}).json()
    run_id = wire("POST", "runs/create", experiment).json()["run"]["info"]["run_id"]

    def log(writer: int) -> set[int]:
        mine = Wire(aidp_emulator)
        return {
            mine(
                "POST",
                "runs/log-batch",
                {
                    "run_id": run_id,
                    "metrics": [{"key": f"{writer}", "value": n, "timestamp": n, "step": n}],
                    "params": [{"key": f"{writer}-{n}", "value": "v"}],
                    "tags": [{"key": f"{writer}-{n}", "value": "v"}],
                },
                opc_retry_token=f"{writer}-{n}",
            ).status_code
            for n in range(10)
        }

    with ThreadPoolExecutor(12) as pool:
        assert set().union(*pool.map(log, range(12))) == {200}
    tokens = [token for operation, token in applied(aidp_emulator) if "batch" in operation]
    assert sorted(tokens) == sorted(f"{writer}-{n}" for writer in range(12) for n in range(10))
    data = wire("GET", f"runs/get?run_id={run_id}").json()["run"]["data"]
    assert len(data["params"]) == 120
    assert {metric["step"] for metric in data["metrics"]} == {9}
