"""A call and its tries: what is repeated, what every try has in common, and what it has not."""

from __future__ import annotations

import dataclasses
import email.utils
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.client.operations import OPERATIONS, Effect
from mlflow_oci_store.errors import OciDataPlatformException, RetryTokenInvalidated
from mlflow_oci_store.settings import Settings

from .conftest import ApiKey, Clock
from .scripted_server import (
    CLOSED,
    HANGING,
    RESET,
    After,
    ScriptedServer,
    Step,
    answer,
    oci_error,
    raw_answer,
)

WRITE = "log_experiment_run_metric"
CREATE = "create_experiment"
READ = "list_experiments"

PASSING = {
    "throttled": oci_error(429, "TooManyRequests"),
    "internal error": oci_error(500, "InternalServerError"),
    "bad gateway": raw_answer(502, b"<html>"),
    "unavailable": oci_error(503, "ServiceUnavailable"),
    "gateway timeout": raw_answer(504, b""),
    "between two states": oci_error(409, "IncorrectState"),
    "between two states behind": oci_error(409, "ExternalServerIncorrectState"),
    "closed": CLOSED,
    "reset": RESET,
    "closed after the head": raw_answer(200, b"", After.CLOSE, length=2),
    "closed in the body": raw_answer(200, b'{"experiment_id": ', After.CLOSE, length=40),
    "reset in the body": raw_answer(200, b'{"experiment_id": ', After.RESET, length=40),
    "chunks cut off": Step(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}", After.CLOSE
    ),
    "not HTTP": Step(b"SSH-2.0-OpenSSH_9.0\r\n\r\n", After.CLOSE),
    "half a head": Step(b"HTTP/1.1 200 OK\r\ncontent-len", After.CLOSE),
}
LASTING = {
    "bad request": oci_error(400, "InvalidParameter"),
    "unauthenticated": oci_error(401, "NotAuthenticated"),
    "forbidden": oci_error(403, "NotAuthorized"),
    "not found": oci_error(404, "NotAuthorizedOrNotFound"),
    "no such method": oci_error(405, "MethodNotAllowed"),
    "request timeout": oci_error(408, "RequestTimeout"),
    "conflict": oci_error(409, "Conflict"),
    "exists": oci_error(409, "NotAuthorizedOrResourceAlreadyExists"),
    "token used on the first try": oci_error(409, "InvalidatedRetryToken"),
    "etag": oci_error(412, "NoEtagMatch"),
    "too large": oci_error(413, "RequestEntityTooLarge"),
    "unprocessable": oci_error(422, "UnprocessableEntity"),
    "not implemented": oci_error(501, "MethodNotImplemented"),
    "redirect": answer(307, location="http://127.0.0.1/"),
    "not JSON": raw_answer(200, b"<html>"),
}


def named(steps: dict[str, Step]) -> Any:
    return pytest.mark.parametrize("step", steps.values(), ids=steps)


@pytest.mark.parametrize("operation", [WRITE, CREATE, READ])
@named(PASSING)
def test_a_passing_failure_is_repeated(
    client: DataPlatformClient, server: ScriptedServer, step: Step, operation: str
) -> None:
    server.script += [step, step, answer(200, {"experiment_id": "e"})]

    assert client.call(operation, {"name": "n"}, dict) == {"experiment_id": "e"}
    assert len(server.requests) == 3


@named(LASTING)
def test_a_lasting_failure_is_never_repeated(
    client: DataPlatformClient, server: ScriptedServer, clock: Clock, step: Step
) -> None:
    server.script.append(step)

    with pytest.raises(OciDataPlatformException) as caught:
        client.call(CREATE, {"name": "n"}, dict)

    assert not isinstance(caught.value, RetryTokenInvalidated)
    assert caught.value.retries == 0
    assert len(server.requests) == 1
    assert clock.pauses == []


def test_a_service_that_is_not_there_is_tried_again_and_then_named(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer, clock: Clock
) -> None:
    nobody = "http://127.0.0.1:1"

    with pytest.raises(OciDataPlatformException) as caught:
        client_for(nobody, max_retries=2).call(READ, {}, dict)

    failure = caught.value
    assert failure.error_code == "TEMPORARILY_UNAVAILABLE"
    assert failure.status is failure.oci_code is None
    assert failure.retries == len(clock.pauses) == 2
    assert failure.message == (
        f"list_experiments: no answer from {nobody}: [Errno 111] Connection refused. Check the "
        "endpoint, the network and the proxy settings. "
        f"(opc-request-id: {failure.request_id}, after 2 retries)"
    )


def test_a_service_that_does_not_answer_in_time_is_tried_again_and_then_named(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer
) -> None:
    server.script += [HANGING, raw_answer(200, b"{", After.HANG, length=2)]
    client = client_for(server.endpoint, timeout=0.05, max_retries=1)

    with pytest.raises(OciDataPlatformException) as caught:
        client.call(WRITE, {}, dict)

    assert caught.value.error_code == "DEADLINE_EXCEEDED"
    assert caught.value.retries == 1
    assert "timed out" in caught.value.message
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" in caught.value.message
    assert len(server.requests) == 2


def test_mlflows_variables_say_how_often_and_how_long(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer, clock: Clock
) -> None:
    server.script += [oci_error(500, "InternalServerError")] * 4
    client = client_for(
        server.endpoint,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="3",
        MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="5",
        MLFLOW_HTTP_REQUEST_BACKOFF_JITTER="0.5",
    )

    with pytest.raises(OciDataPlatformException) as caught:
        client.call(READ, {}, dict)

    assert caught.value.retries == 3
    assert clock.pauses == [5.5, 10.5, 20.5]
    assert len(server.requests) == 4


def test_the_service_says_how_long_to_wait_in_seconds_or_by_a_date(
    client: DataPlatformClient,
    server: ScriptedServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    server.script += [
        oci_error(429, "TooManyRequests", retry_after="33"),
        oci_error(503, "ServiceUnavailable", retry_after=email.utils.formatdate(now + 44)),
        oci_error(503, "ServiceUnavailable", retry_after="when it is ready"),
    ]

    client.call(READ, {}, dict)

    settings = client.settings
    assert clock.pauses == [33.0, 44.0, settings.backoff_factor * 4 + settings.backoff_jitter]


def test_a_call_ends_when_the_next_pause_would_pass_its_deadline(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer, clock: Clock
) -> None:
    server.script += [oci_error(429, "TooManyRequests", retry_after="4")] * 9
    client = client_for(server.endpoint, deadline=10.0, backoff_factor=0.0, backoff_jitter=0.0)

    with pytest.raises(OciDataPlatformException) as caught:
        client.call(READ, {}, dict)

    assert caught.value.error_code == "REQUEST_LIMIT_EXCEEDED"
    assert clock.pauses == [4.0, 4.0]
    assert caught.value.retries == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pauses", [[], [299.0]])
def test_no_try_may_outlast_the_deadline(
    client_for: Callable[..., DataPlatformClient],
    server: ScriptedServer,
    clock: Clock,
    pauses: list[float],
) -> None:
    server.script += [oci_error(503, "ServiceUnavailable", retry_after="299") for _ in pauses]
    server.script.append(HANGING)
    client = client_for(server.endpoint, deadline=sum(pauses) + 0.05, timeout=120.0)

    with pytest.raises(OciDataPlatformException) as caught:
        client.call(READ, {}, dict)

    # With its timeout of 120 s the last try would have outlasted this test.
    assert caught.value.error_code == "DEADLINE_EXCEEDED"
    assert clock.pauses == pauses


@pytest.mark.parametrize("operation", [WRITE, CREATE])
def test_all_tries_share_a_retry_token_and_are_new_in_everything_else(
    client: DataPlatformClient,
    server: ScriptedServer,
    clock: Clock,
    api_key: ApiKey,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0 + clock())
    server.script += [CLOSED, oci_error(500, "InternalServerError"), RESET]

    client.call(operation, {"name": "ß"}, dict)

    tries = server.requests
    assert len(tries) == 4
    assert len({it.headers["opc-retry-token"] for it in tries}) == 1
    assert len({(it.method, it.target, it.body) for it in tries}) == 1
    for name in ("opc-request-id", "date", "authorization"):
        assert len({it.headers[name] for it in tries}) == 4
    for it in tries:
        assert it.headers["authorization"] == api_key.authorization(it)
        assert it.body == '{"name":"ß"}'.encode()


def test_every_call_has_a_retry_token_of_its_own(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    for _ in range(3):
        random.seed(1)
        client.call(WRITE, {"key": "loss"}, dict)

    assert len({it.headers["opc-retry-token"] for it in server.requests}) == 3


@pytest.mark.parametrize("operation", [READ, "get_experiment_by_id"])
def test_a_read_carries_no_retry_token_on_any_try(
    client: DataPlatformClient, server: ScriptedServer, operation: str
) -> None:
    server.script += [CLOSED, oci_error(503, "ServiceUnavailable")]

    client.call(operation, {"experiment_id": "e"}, dict)

    assert len(server.requests) == 3
    assert not any("opc-retry-token" in it.headers for it in server.requests)


def test_every_request_says_who_asks(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer
) -> None:
    client_for(server.endpoint, MLFLOW_OCI_DP_USER_PRINCIPAL="ada").call(READ, {}, dict)
    client_for(server.endpoint).call(READ, {}, dict)

    with_principal, without = (it.headers for it in server.requests)
    assert with_principal["dh-user-principal"] == "ada"
    assert "dh-user-principal" not in without
    assert with_principal["user-agent"].startswith("mlflow-oci-store/")
    assert " mlflow/" in with_principal["user-agent"]
    assert with_principal["accept"] == "application/json"


@pytest.mark.parametrize("first", [CLOSED, RESET, oci_error(500, "InternalServerError")])
def test_a_write_whose_retry_meets_its_own_token_has_succeeded(
    client: DataPlatformClient, server: ScriptedServer, first: Step
) -> None:
    server.script += [first, oci_error(409, "InvalidatedRetryToken")]

    assert client.call(WRITE, {"key": "loss"}, dict) == {}
    assert len(server.requests) == 2


@pytest.mark.parametrize("first", [CLOSED, RESET, oci_error(500, "InternalServerError")])
def test_a_creation_whose_retry_meets_its_own_token_says_that_it_took_effect(
    client: DataPlatformClient, server: ScriptedServer, first: Step
) -> None:
    server.script += [first, oci_error(409, "InvalidatedRetryToken", opc_request_id="second")]

    with pytest.raises(RetryTokenInvalidated, match=r"^create_experiment took effect") as caught:
        client.call(CREATE, {"name": "n"}, dict)

    failure = caught.value
    assert failure.error_code == "INTERNAL_ERROR"
    assert (failure.operation, failure.status) == (CREATE, 409)
    assert (failure.oci_code, failure.retries) == ("InvalidatedRetryToken", 1)
    assert failure.request_id == "second"


def test_a_call_without_a_retry_token_cannot_have_met_its_own(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    server.script += [CLOSED, oci_error(409, "InvalidatedRetryToken")]

    with pytest.raises(OciDataPlatformException) as caught:
        client.call(READ, {}, dict)

    assert not isinstance(caught.value, RetryTokenInvalidated)
    assert caught.value.error_code == "RESOURCE_CONFLICT"


def session(api_key: ApiKey, file: Any, subject: str) -> None:
    """Write a session token that is good for an hour."""
    claims = {"sub": subject, "exp": int(time.time()) + 3600}
    file.write_text(jwt.encode(claims, "x" * 32))


@pytest.fixture
def token_file(api_key: ApiKey, tmp_path: Any) -> Any:
    file = tmp_path / "token"
    session(api_key, file, "first")
    return file


@pytest.fixture
def session_client(
    client_for: Callable[..., DataPlatformClient],
    server: ScriptedServer,
    api_key: ApiKey,
    token_file: Any,
) -> DataPlatformClient:
    """A client that signs with a session token."""
    config_file = token_file.with_name("config")
    config_file.write_text(
        f"[DEFAULT]\nkey_file={api_key.key_file}\nsecurity_token_file={token_file}\n"
        "tenancy=ocid1.tenancy.oc1..a\nregion=us-ashburn-1\n"
    )
    return client_for(server.endpoint, config_file=str(config_file), auth="security_token")


def test_a_401_is_repeated_once_with_refreshed_credentials_and_the_same_retry_token(
    session_client: DataPlatformClient,
    server: ScriptedServer,
    clock: Clock,
    api_key: ApiKey,
    token_file: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renewals = []
    refresh = session_client.authenticator.refresh

    def renew(*rejected: Any) -> bool:
        renewals.append(rejected)
        session(api_key, token_file, "second")
        return refresh(*rejected)

    monkeypatch.setattr(session_client.authenticator, "refresh", renew)
    server.script += [oci_error(401, "NotAuthenticated"), answer(200, {"experiment_id": "e"})]

    assert session_client.call(CREATE, {"name": "n"}, dict) == {"experiment_id": "e"}

    first, second = (it.headers for it in server.requests)
    assert first["opc-retry-token"] == second["opc-retry-token"]
    assert first["opc-request-id"] != second["opc-request-id"]
    assert 'keyId="ST$' in first["authorization"]
    assert first["authorization"].split('"')[5] != second["authorization"].split('"')[5]
    assert len(renewals) == 1
    assert clock.pauses == []


def test_a_second_401_is_the_answer(
    session_client: DataPlatformClient,
    server: ScriptedServer,
    api_key: ApiKey,
    token_file: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refresh = session_client.authenticator.refresh

    def renew(*rejected: Any) -> bool:
        session(api_key, token_file, f"after {len(server.requests)}")
        return refresh(*rejected)

    monkeypatch.setattr(session_client.authenticator, "refresh", renew)
    server.script += [oci_error(401, "NotAuthenticated")] * 3

    with pytest.raises(OciDataPlatformException) as caught:
        session_client.call(CREATE, {"name": "n"}, dict)

    assert caught.value.error_code == "UNAUTHENTICATED"
    assert len(server.requests) == 2


def test_a_401_with_credentials_that_cannot_change_is_not_repeated(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    server.script.append(oci_error(401, "NotAuthenticated"))

    with pytest.raises(OciDataPlatformException):
        client.call(CREATE, {"name": "n"}, dict)

    assert len(server.requests) == 1


def test_retries_are_logged_without_secrets(
    client: DataPlatformClient,
    server: ScriptedServer,
    api_key: ApiKey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script += [CLOSED, oci_error(500, "InternalServerError")]

    client.call(CREATE, {"name": "n"}, dict)

    logged = caplog.text
    ours = [it for it in caplog.records if it.name.startswith("mlflow_oci_store")]
    assert [it.levelname for it in ours] == ["WARNING", "DEBUG", "WARNING", "DEBUG"]
    target = server.requests[0].target
    debugged = [it.getMessage() for it in ours if it.levelname == "DEBUG"]
    assert debugged == [f"POST {target}: {status} (opc-request-id: None)" for status in (500, 200)]
    assert "Trying again in 3.0 s (retry 1 of 7)" in ours[0].getMessage()
    signatures = [it.headers["authorization"].split('"')[7] for it in server.requests]
    assert not [it for it in (*api_key.secret_lines, *signatures) if it in logged]
    assert "authorization" not in logged.lower()


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_keeps_its_token_through_a_retry(
    client: DataPlatformClient, server: ScriptedServer, row: Any
) -> None:
    server.script.append(oci_error(503, "ServiceUnavailable"))

    client.call(row.name, {"registeredModelKey": "k"}, dict)

    first, second = (it.headers.get("opc-retry-token") for it in server.requests)
    assert first == second
    assert bool(first) is row.retry_token
    if row.effect is Effect.READ:
        assert first is None


def test_a_query_holds_the_fields_that_are_not_none(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    fields = {"name": "a b/ß&=?", "flag": True, "none": None, "many": ["x", "y"], "number": 3}

    client.call("get_experiment_by_id", fields, dict)

    assert server.request.target.partition("?")[2] == (
        "name=a%20b%2F%C3%9F%26%3D%3F&flag=true&many=x&many=y&number=3"
    )
    assert server.request.body == b""
    assert "content-length" not in server.request.headers


def test_a_body_holds_the_fields_that_are_not_none_or_is_sent_as_it_is(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    client.call(CREATE, {"name": "ß", "tags": None, "zero": 0}, dict)
    client.call(CREATE, b'{"as":"it is"}', dict)

    assert [it.body for it in server.requests] == [
        '{"name":"ß","zero":0}'.encode(),
        b'{"as":"it is"}',
    ]


def test_a_region_that_nobody_names_is_asked_for_before_anything_is_sent(
    settings_for: Callable[..., Settings], api_key: ApiKey, tmp_path: Any
) -> None:
    config_file = tmp_path / "config"
    lines = api_key.config_file.read_text().splitlines()
    config_file.write_text("\n".join(it for it in lines if not it.startswith("region")))
    settings = dataclasses.replace(
        settings_for("http://127.0.0.1:1"),
        endpoint=None,
        region=None,
        config_file=str(config_file),
    )

    with pytest.raises(MlflowException, match="MLFLOW_OCI_DP_REGION") as caught:
        DataPlatformClient(settings).call(READ, {}, dict)

    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
