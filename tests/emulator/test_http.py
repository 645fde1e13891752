"""What comes over the socket: routes, bodies, headers, connections."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.emulator.tracking import TrackingOperations

from .conftest import Wire


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_both_api_versions_are_served(wire: Wire) -> None:
    created = wire("POST", "experiments/create", {"name": "a"})
    older = wire.base.replace("20260430", "20240831")
    found = wire("GET", older + "experiments/get-by-name?experiment_name=a")
    assert found.json()["experiment"]["experiment_id"] == created.json()["experiment_id"]


@pytest.mark.parametrize(
    "path",
    ["experiments/nothing", "runs/outputs", "registered-models/create", "runs/get/more"],
)
def test_an_undocumented_route_is_not_found(wire: Wire, path: str) -> None:
    assert code(wire("POST", path, {})) == (404, "NotFound")


def test_a_route_of_another_version_is_not_found(wire: Wire) -> None:
    path = wire.base.replace("20260430", "20200101") + "experiments/search"
    assert code(wire("POST", path, {})) == (404, "NotFound")
    assert code(wire("GET", wire.base.partition("/2026")[0] + "/")) == (404, "NotFound")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_wrong_method_is_not_allowed(wire: Wire, method: str) -> None:
    answer = wire(method, "experiments/create")
    assert code(answer) == (405, "MethodNotAllowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("path", "body", "expected", "reason"),
    [
        ("experiments/create", "{", "CannotParseRequest", "is not JSON"),
        ("experiments/create", "", "CannotParseRequest", "is not JSON"),
        ("experiments/create", b"\xff".decode("latin-1"), "CannotParseRequest", "is not JSON"),
        ("experiments/create", [], "InvalidParameter", "body must be an object"),
        ("experiments/create", {}, "MissingParameter", "body.name is required"),
        ("experiments/create", {"name": None}, "MissingParameter", "body.name is required"),
        ("experiments/create", {"name": 1}, "InvalidParameter", "of type str, not int"),
        ("experiments/create", {"name": "a", "user": 1}, "InvalidParameter", "no field 'user'"),
        ("experiments/create", {"name": "a", "tags": {}}, "InvalidParameter", "must be an array"),
        (
            "experiments/create",
            {"name": "a", "tags": [{"key": "k"}, {"value": "v"}]},
            "MissingParameter",
            r"body.tags\[1\].key is required",
        ),
        (
            "runs/log-metric",
            {"run_id": "r", "key": "k", "value": "high", "timestamp": 1},
            "InvalidParameter",
            "body.value must be of type float, not str",
        ),
        (
            "runs/log-metric",
            {"run_id": "r", "key": "k", "value": 1, "timestamp": 2**63},
            "InvalidParameter",
            "body.timestamp must be of type int",
        ),
        (
            "runs/log-metric",
            {"run_id": "r", "key": "k", "value": 1, "timestamp": True},
            "InvalidParameter",
            "body.timestamp must be of type int, not bool",
        ),
        (
            "runs/delete",
            {"run_id": "r", "is_permanent": "yes"},
            "InvalidParameter",
            "body.is_permanent must be of type bool",
        ),
    ],
)
def test_a_wrong_body_is_explained(
    wire: Wire, path: str, body: Any, expected: str, reason: str
) -> None:
    answer = wire("POST", path, body)
    assert code(answer) == (400, expected)
    assert re.search(reason, answer.json()["message"])


@pytest.mark.parametrize(
    ("query", "expected", "reason"),
    [
        ("", "MissingParameter", "query.run_id is required"),
        ("run_id=r", "MissingParameter", "query.metric_key is required"),
        ("run_id=r&metric_key=k&max_results=many", "InvalidParameter", "of type int, not str"),
        ("run_id=r&metric_key=k&x=1", "InvalidParameter", "query has no field 'x'"),
    ],
)
def test_a_wrong_query_is_explained(wire: Wire, query: str, expected: str, reason: str) -> None:
    answer = wire("GET", f"metrics/get-history?{query}")
    assert code(answer) == (400, expected)
    assert reason in answer.json()["message"]


@pytest.mark.parametrize("flag", ["true", "false"])
def test_a_flag_in_the_query_is_read(wire: Wire, flag: str) -> None:
    platform = re.sub("/workspaces/[^/]+", "", wire.base)
    path = f"{platform}registered-models/search?is_deployment_summary_enabled={flag}"
    assert wire("GET", path).json() == {"registered_models": []}


def test_numbers_that_json_lacks_are_strings_in_answers(wire: Wire) -> None:
    created = wire("POST", "experiments/create", {"name": "a"}).json()
    run_id = wire("POST", "runs/create", created).json()["run"]["info"]["run_id"]
    for key, value in (("bare", "NaN"), ("quoted", '"NaN"'), ("inf", '"-Infinity"')):
        body = f'{{"run_id": "{run_id}", "key": "{key}", "value": {value}, "timestamp": 1}}'
        assert wire("POST", "runs/log-metric", body).status_code == 200
    text = wire("GET", f"runs/get?run_id={run_id}").text
    metrics = json.loads(text, parse_constant=pytest.fail)["run"]["data"]["metrics"]
    values = {metric["key"]: metric["value"] for metric in metrics}
    assert values == {"bare": "NaN", "quoted": "NaN", "inf": -1.7976931348623157e308}


def test_every_answer_carries_a_request_id(wire: Wire) -> None:
    for path in ("experiments/search", "experiments/create", "nowhere"):
        given = wire("POST", path, {}, opc_request_id="mine-1_A")
        assert given.headers["opc-request-id"] == "mine-1_A"
        made = wire("POST", path, {}).headers["opc-request-id"]
        assert re.fullmatch("[0-9A-F]{32}", made)
        cleaned = wire("POST", path, {}, opc_request_id="a b;c").headers["opc-request-id"]
        assert cleaned == "abc"


def test_answers_carry_an_etag(wire: Wire) -> None:
    assert wire("POST", "experiments/create", {"name": "a"}).headers["etag"]
    path = "experiments/get-by-name?experiment_name=a"
    first, second = wire("GET", path), wire("GET", path)
    assert first.headers["etag"] == second.headers["etag"]


def test_a_failure_of_the_emulator_is_answered_without_its_traceback(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a detail")

    monkeypatch.setattr(TrackingOperations, "list_experiments", fail)
    answer = wire("POST", "experiments/search", {})
    assert code(answer) == (500, "InternalServerError")
    assert "a detail" not in answer.text
    assert "a detail" in caplog.text


def test_a_failure_of_mlflows_store_is_answered_without_its_traceback(
    aidp_emulator: AidpEmulator, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    store = aidp_emulator._workspaces.workspace(
        aidp_emulator.platform_id, aidp_emulator.workspace_key
    ).store
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE experiments RENAME TO lost")
    answer = wire("POST", "experiments/search", {})
    assert code(answer) == (500, "InternalServerError")
    assert "experiments" not in answer.text
    assert "no such table" in caplog.text


class Raw:
    """A connection for what no HTTP client would send."""

    def __init__(self, emulator: AidpEmulator) -> None:
        address = urlsplit(emulator.endpoint)
        assert address.hostname is not None
        self._socket = socket.create_connection((address.hostname, address.port or 0), timeout=30)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: str) -> tuple[int, str]:
        self._socket.sendall(request.encode("latin-1"))
        response = http.client.HTTPResponse(self._socket)
        response.begin()
        return response.status, json.loads(response.read())["code"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("NONSENSE\r\n\r\n", (400, "InvalidParameter")),
        ("BREW /pot HTTP/1.1\r\n\r\n", (501, "MethodNotImplemented")),
        (
            "POST /pot HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            (400, "InvalidParameter"),
        ),
        ("POST /pot HTTP/1.1\r\ncontent-length: some\r\n\r\n", (400, "InvalidParameter")),
        (
            f"POST /pot HTTP/1.1\r\ncontent-length: {10**10}\r\n\r\n",
            (413, "RequestEntityTooLarge"),
        ),
        ("GET /pot HTTP/2.0\r\n\r\n", (400, "InvalidParameter")),
        ("GET /a pot HTTP/1.1\r\n\r\n", (400, "InvalidParameter")),
        ("GET /ß HTTP/1.1\r\n\r\n", (400, "InvalidParameter")),
        ("GET /pot HTTP/1.1\r\nno header\r\n\r\n", (400, "InvalidParameter")),
        ("GET /pot HTTP/1.1\r\nhost : a\r\n\r\n", (400, "InvalidParameter")),
        ("GET /pot HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", (400, "InvalidParameter")),
        ("GET /pot HTTP/1.1\r\nhost: a\rb\r\n\r\n", (400, "InvalidParameter")),
        (f"GET /pot HTTP/1.1\r\nhost: {'a' * 2**17}\r\n\r\n", (400, "InvalidParameter")),
        (
            "POST /pot HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 2\r\n\r\n",
            (400, "InvalidParameter"),
        ),
    ],
)
def test_what_is_hardly_http_is_refused_in_ocis_shape(
    aidp_emulator: AidpEmulator, request_: str, expected: tuple[int, str]
) -> None:
    with Raw(aidp_emulator) as raw:
        assert raw.ask(request_) == expected


def test_a_connection_serves_many_requests(aidp_emulator: AidpEmulator) -> None:
    with Raw(aidp_emulator) as raw:
        for _ in range(3):
            assert raw.ask("GET /pot HTTP/1.1\r\nhost: a\r\n\r\n") == (404, "NotFound")


def test_a_hundred_headers_are_enough(aidp_emulator: AidpEmulator) -> None:
    for count, expected in ((100, (404, "NotFound")), (101, (400, "InvalidParameter"))):
        lines = "".join(f"x-{number}: \t a \r\n" for number in range(count))
        with Raw(aidp_emulator) as raw:
            assert raw.ask(f"GET /pot HTTP/1.1\r\n{lines}\r\n") == expected


@pytest.mark.parametrize(
    ("version", "wish", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "connection: Close\r\n", False),
        ("1.0", "", False),
        ("1.0", "connection: keep-alive\r\n", True),
    ],
)
def test_a_connection_is_kept_as_the_client_wishes(
    aidp_emulator: AidpEmulator, version: str, wish: str, kept: bool
) -> None:
    with Raw(aidp_emulator) as raw:
        assert raw.ask(f"GET /pot HTTP/{version}\r\n{wish}\r\n") == (404, "NotFound")
        if kept:
            assert raw.ask("GET /pot HTTP/1.1\r\n\r\n") == (404, "NotFound")
        else:
            assert raw._socket.recv(1) == b""


def test_a_client_may_ask_before_it_sends_a_body(aidp_emulator: AidpEmulator) -> None:
    with Raw(aidp_emulator) as raw:
        raw._socket.sendall(
            b"POST /pot HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert raw._socket.recv(4096).startswith(b"HTTP/1.1 100 ")
        assert raw.ask("{}") == (404, "NotFound")


def test_a_client_that_vanishes_does_no_harm(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    with Raw(aidp_emulator) as raw:
        raw._socket.sendall(b"POST /pot HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf")
    assert wire("POST", "experiments/search", {}).status_code == 200
