"""What a caller learns when a call fails: error code, facts, and a sentence to act on."""

from __future__ import annotations

import email.utils
import json
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.errors import (
    OciDataPlatformException,
    RetryTokenInvalidated,
    error_code_of,
    hint_for,
)

from .conftest import ApiKey
from .scripted_server import ScriptedServer, Step, answer, oci_error, raw_answer

# OCI's documentation, "API Errors", and what each row means to MLflow.
ROWS = [
    (400, "CannotParseRequest", "INVALID_PARAMETER_VALUE"),
    (400, "InvalidParameter", "INVALID_PARAMETER_VALUE"),
    (400, "LimitExceeded", "QUOTA_EXCEEDED"),
    (400, "MissingParameter", "INVALID_PARAMETER_VALUE"),
    (400, "QuotaExceeded", "QUOTA_EXCEEDED"),
    (400, "RelatedResourceNotAuthorizedOrNotFound", "INVALID_PARAMETER_VALUE"),
    (401, "NotAuthenticated", "UNAUTHENTICATED"),
    (403, "NotAllowed", "PERMISSION_DENIED"),
    (403, "NotAuthorized", "PERMISSION_DENIED"),
    (403, "SignUpRequired", "PERMISSION_DENIED"),
    (404, "InvalidParameter", "INVALID_PARAMETER_VALUE"),
    (404, "NamespaceNotFound", "RESOURCE_DOES_NOT_EXIST"),
    (404, "NotAuthorizedOrNotFound", "RESOURCE_DOES_NOT_EXIST"),
    (404, "NotFound", "ENDPOINT_NOT_FOUND"),
    (405, "MethodNotAllowed", "ENDPOINT_NOT_FOUND"),
    (409, "Conflict", "INVALID_STATE"),
    (409, "ExternalServerIncorrectState", "INVALID_STATE"),
    (409, "IncorrectState", "INVALID_STATE"),
    (409, "InvalidatedRetryToken", "RESOURCE_CONFLICT"),
    (409, "NotAuthorizedOrResourceAlreadyExists", "RESOURCE_ALREADY_EXISTS"),
    (412, "NoEtagMatch", "RESOURCE_CONFLICT"),
    (413, "RequestEntityTooLarge", "INVALID_PARAMETER_VALUE"),
    (422, "UnprocessableEntity", "INVALID_PARAMETER_VALUE"),
    (429, "TooManyRequests", "REQUEST_LIMIT_EXCEEDED"),
    (500, "InternalServerError", "INTERNAL_ERROR"),
    (501, "MethodNotImplemented", "NOT_IMPLEMENTED"),
    (503, "ServiceUnavailable", "TEMPORARILY_UNAVAILABLE"),
    # A code that nobody has heard of: the status decides.
    (400, "Unheard", "BAD_REQUEST"),
    (401, "Unheard", "UNAUTHENTICATED"),
    (402, "Unheard", "BAD_REQUEST"),
    (403, "Unheard", "PERMISSION_DENIED"),
    (404, "Unheard", "ENDPOINT_NOT_FOUND"),
    (405, "Unheard", "ENDPOINT_NOT_FOUND"),
    (408, "Unheard", "DEADLINE_EXCEEDED"),
    (409, "Unheard", "RESOURCE_CONFLICT"),
    (412, "Unheard", "RESOURCE_CONFLICT"),
    (413, "Unheard", "INVALID_PARAMETER_VALUE"),
    (422, "Unheard", "INVALID_PARAMETER_VALUE"),
    (429, "Unheard", "REQUEST_LIMIT_EXCEEDED"),
    (500, "Unheard", "INTERNAL_ERROR"),
    (501, "Unheard", "NOT_IMPLEMENTED"),
    (502, "Unheard", "TEMPORARILY_UNAVAILABLE"),
    (503, "Unheard", "TEMPORARILY_UNAVAILABLE"),
    (504, "Unheard", "DEADLINE_EXCEEDED"),
    (507, "Unheard", "INTERNAL_ERROR"),
]

each_example = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def once(
    client_for: Callable[..., DataPlatformClient], server: ScriptedServer
) -> DataPlatformClient:
    """A client that does not repeat anything."""
    return client_for(server.endpoint, max_retries=0)


def failure_of(
    client: DataPlatformClient,
    operation: str = "get_experiment_run_by_id",
    parse: Callable[[dict[str, Any]], Any] = dict,
) -> OciDataPlatformException:
    with pytest.raises(OciDataPlatformException) as caught:
        client.call(operation, {"run_id": "r"}, parse)
    return caught.value


@pytest.mark.parametrize(("status", "oci_code", "error_code"), ROWS)
def test_an_error_of_oci_becomes_the_error_of_mlflow_with_all_that_is_known(
    once: DataPlatformClient, server: ScriptedServer, status: int, oci_code: str, error_code: str
) -> None:
    server.script.append(
        oci_error(status, oci_code, "The run is gone", opc_request_id="from-the-service")
    )

    failure = failure_of(once)

    assert failure.error_code == error_code
    assert failure.operation == "get_experiment_run_by_id"
    assert failure.status == status
    assert failure.oci_code == oci_code
    assert failure.request_id == "from-the-service"
    assert failure.retries == 0
    assert failure.message.startswith(
        f"get_experiment_run_by_id: {status} {oci_code}: The run is gone. "
    )
    assert failure.message.endswith("(opc-request-id: from-the-service)")
    assert hint_for(oci_code) in failure.message


def test_an_answer_without_a_request_id_is_known_by_the_id_we_sent(
    once: DataPlatformClient, server: ScriptedServer
) -> None:
    server.script.append(oci_error(404, "NotAuthorizedOrNotFound"))

    failure = failure_of(once)

    assert failure.request_id == server.request.headers["opc-request-id"]
    assert str(failure.request_id) in failure.message


@pytest.mark.parametrize(
    ("status", "oci_code", "hint"),
    [
        (404, "NotAuthorizedOrNotFound", "the caller may not see"),
        (404, "NotFound", "check `endpoint` and `api_version`"),
        (401, "NotAuthenticated", "Signed as api_key (profile DEFAULT in "),
        (413, "RequestEntityTooLarge", "Send less in one call"),
    ],
)
def test_a_hint_says_what_to_do(
    once: DataPlatformClient, server: ScriptedServer, status: int, oci_code: str, hint: str
) -> None:
    server.script.append(oci_error(status, oci_code))

    assert hint in failure_of(once).message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b'{"code": "NotAuthorizedOrNo',
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "as MLflow would say it"}',
        b'{"code": null, "message": null}',
        b'{"code": {"a": 1}, "message": "m"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_an_error_that_is_not_ocis_goes_by_its_status_and_is_quoted(
    once: DataPlatformClient, server: ScriptedServer, body: bytes
) -> None:
    server.script.append(raw_answer(404, body))

    failure = failure_of(once)

    assert failure.error_code == "ENDPOINT_NOT_FOUND"
    assert failure.oci_code is None
    assert "not an answer of OCI" in failure.message
    assert repr(body[:200].decode("utf-8", "replace")) in failure.message or not body


@pytest.mark.parametrize("status", [200, 502])
def test_at_most_200_characters_of_an_unreadable_answer_are_quoted(
    once: DataPlatformClient, server: ScriptedServer, status: int
) -> None:
    server.script.append(raw_answer(status, "ß".encode() * 5000))

    message = failure_of(once).message

    assert "ß" * 200 in message
    assert "ß" * 201 not in message


def a_run(content: dict[str, Any]) -> Any:
    return wire.run(content["run"])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in</html>",
        b'{"run": {"info": ',
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"run": null}',
        b'{"run": {"info": []}}',
        b'{"run": {"info": {"run_id": "r"}}}',
        b'{"run": {"info": {"run_id": "r", "experiment_id": "e", "status": "RUNNING",'
        b' "start_time": 1e999}}}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_good_status_with_a_body_of_another_shape_is_a_clear_error(
    client: DataPlatformClient, server: ScriptedServer, body: bytes
) -> None:
    server.script += [oci_error(503, "ServiceUnavailable"), raw_answer(200, body)]

    failure = failure_of(client, parse=a_run)

    assert failure.error_code == "INTERNAL_ERROR"
    assert failure.status == 200
    assert "the service's answer cannot be read" in failure.message
    assert repr(body[:200].decode("utf-8", "replace")) in failure.message
    assert failure.request_id == server.requests[-1].headers["opc-request-id"]
    assert failure.retries == 1
    assert failure.message.endswith(f"(opc-request-id: {failure.request_id}, after 1 retry)")


@pytest.mark.parametrize("operation", ["list_experiments", "create_experiment"])
def test_an_empty_body_is_no_answer_to_a_question(
    client: DataPlatformClient, server: ScriptedServer, operation: str
) -> None:
    server.script.append(raw_answer(200, b""))

    assert "cannot be read" in failure_of(client, operation).message


@pytest.mark.parametrize("step", [raw_answer(200, b""), raw_answer(204, b"")])
def test_an_empty_body_is_enough_to_confirm_a_change(
    client: DataPlatformClient, server: ScriptedServer, step: Step
) -> None:
    server.script.append(step)

    assert client.call("log_experiment_run_metric", {}, dict) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "run",
                    "info",
                    "data",
                    "metrics",
                    "params",
                    "tags",
                    "inputs",
                    "outputs",
                    "key",
                    "value",
                    "run_id",
                    "experiment_id",
                    "status",
                    "start_time",
                    "end_time",
                    "dataset_inputs",
                    "model_inputs",
                    "model_outputs",
                ]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@each_example
@given(content=JSON, status=st.sampled_from([200, 404, 409, 500]))
def test_whatever_json_comes_is_a_run_or_a_failed_call(
    once: DataPlatformClient, server: ScriptedServer, content: Any, status: int
) -> None:
    server.script.append(raw_answer(status, json.dumps(content).encode()))

    with suppress(OciDataPlatformException):
        assert isinstance(once.call("get_experiment_run_by_id", {"run_id": "r"}, a_run), Run)


@each_example
@given(body=st.binary(), status=st.integers(200, 599).filter(lambda it: it not in (204, 304)))
def test_whatever_bytes_come_is_a_run_or_a_failed_call(
    once: DataPlatformClient, server: ScriptedServer, body: bytes, status: int
) -> None:
    server.script.append(raw_answer(status, body))

    failure = failure_of(once, parse=a_run)

    assert failure.status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_never_followed(
    client: DataPlatformClient, server: ScriptedServer, status: int
) -> None:
    elsewhere = f"{server.endpoint}/elsewhere"
    server.script.append(answer(status, location=elsewhere))

    failure = failure_of(client)

    assert len(server.requests) == 1
    assert failure.status == status
    assert elsewhere in failure.message
    assert "set `endpoint`" in failure.message


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3600, "3600 s ahead of"), (3600, "3600 s behind"), (-200, None), (200, None)],
)
def test_a_clock_that_is_off_is_named_as_the_cause_of_a_401(
    once: DataPlatformClient,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    said: str | None,
) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    date = email.utils.formatdate(now + seconds, usegmt=True)
    server.script.append(oci_error(401, "NotAuthenticated", date=date))

    message = failure_of(once).message

    if said is None:
        assert "clock" not in message
    else:
        assert f"This machine's clock is {said} the service's" in message
        assert "the clock is the likely cause" in message


@pytest.mark.parametrize("date", [None, "yesterday", "Mon, 99 Foo 2026", "-1"])
def test_a_401_without_a_readable_date_says_nothing_of_clocks(
    once: DataPlatformClient, server: ScriptedServer, date: str | None
) -> None:
    headers = {"date": date} if date else {}
    server.script.append(oci_error(401, "NotAuthenticated", **headers))

    failure = failure_of(once)

    assert failure.error_code == "UNAUTHENTICATED"
    assert "clock" not in failure.message


@pytest.mark.parametrize(
    "step", [raw_answer(200, b"not json"), oci_error(404, "NotFound"), raw_answer(502, b"")]
)
def test_no_failure_repeats_a_secret(
    once: DataPlatformClient, server: ScriptedServer, api_key: ApiKey, step: Step
) -> None:
    server.script.append(step)

    failure = failure_of(once)

    told = f"{failure!r} {failure} {failure.serialize_as_json()} {vars(failure)}"
    signature = server.request.headers["authorization"].split('signature="')[1]
    assert not [it for it in (*api_key.secret_lines, signature) if it in told]


@pytest.mark.parametrize("kind", [OciDataPlatformException, RetryTokenInvalidated])
def test_failures_survive_pickling(kind: type[OciDataPlatformException]) -> None:
    failure = kind(
        "said",
        error_code_of(404, "NotAuthorizedOrNotFound"),
        operation="get_experiment_by_id",
        status=404,
        oci_code="NotAuthorizedOrNotFound",
        request_id="id",
        retries=3,
    )

    copy = pickle.loads(pickle.dumps(failure))

    assert type(copy) is kind
    assert isinstance(copy, MlflowException)
    assert str(copy) == "said"
    assert vars(copy) == vars(failure)


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        ("get_experiment_by_name", {"experiment_name": "half \ud800"}),
        ("create_experiment", {"name": "half \ud800"}),
        ("create_experiment", {"name": "n", "tags": [{"key": "k", "value": float("nan")}]}),
        ("create_experiment", {"name": b"bytes"}),
        ("list_registered_model_permissions", {"registeredModelKey": "half \ud800"}),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(
    client: DataPlatformClient, server: ScriptedServer, operation: str, payload: dict[str, Any]
) -> None:
    with pytest.raises(MlflowException) as caught:
        client.call(operation, payload, dict)

    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert operation in caught.value.message
    assert server.requests == []
