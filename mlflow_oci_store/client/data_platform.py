"""The one way to the service: operation and payload in, parsed answer out.

    call ──> encode ──> try ──> sign ──> send ──> judge ──> parse
                         ^                          │
                         └── pause, refresh ────────┘

``call`` makes everything that holds for the whole logical change once (target, body, body hash,
retry token); ``_try_until_answered`` repeats what must be new on every try (request id, date,
signature) and decides what an answer means. Nothing else in the package talks to the service.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
)
from mlflow.version import VERSION as MLFLOW_VERSION

from mlflow_oci_store import __version__
from mlflow_oci_store.client.auth import Authenticator
from mlflow_oci_store.client.connection import (
    Answer,
    Connection,
    ConnectionFailed,
    ConnectionRefusedForGood,
)
from mlflow_oci_store.client.failure import (
    QUOTED_CHARACTERS,
    UNREADABLE,
    facts,
    oci_error,
    quoted,
    refused,
    unreachable,
)
from mlflow_oci_store.client.operations import (
    LOGGED_MODEL_ROUTES,
    OPERATIONS,
    Effect,
    Operation,
    Scope,
)
from mlflow_oci_store.client.retry import Retries, RetryPolicy, is_transient, retry_after_seconds
from mlflow_oci_store.client.retry_token import new_request_id, new_retry_token
from mlflow_oci_store.client.signature import body_headers, sign
from mlflow_oci_store.errors import (
    INVALIDATED_RETRY_TOKEN,
    OciDataPlatformException,
    RetryTokenInvalidated,
)
from mlflow_oci_store.settings import Settings, default_endpoint

T = TypeVar("T")
Json = dict[str, Any]
Payload = Mapping[str, Any]

_WITHOUT_BODY = ("GET", "DELETE")

_USER_AGENT = (
    f"mlflow-oci-store/{__version__} mlflow/{MLFLOW_VERSION} python/{platform.python_version()}"
)


class DataPlatformClient:
    """Signed, retried calls to one workspace of one AI Data Platform.

    Safe to share between threads, to pickle, and to use on both sides of a fork: no lock is held
    while a call is on its way, and connections are made anew in a child.

    Args:
        settings: Where the service is and how to talk to it.
        retry_policy: Replaces what the settings say; for callers with pauses of their own.
    """

    def __init__(self, settings: Settings, retry_policy: RetryPolicy | None = None) -> None:
        self.settings = settings
        self.authenticator = Authenticator(settings)
        self._retry_policy = retry_policy or RetryPolicy.of(settings)
        platform_path = (
            f"/{settings.api_version}/aiDataPlatforms/{quote(settings.platform_id, safe='')}"
        )
        workspace_path = f"{platform_path}/workspaces/{quote(settings.workspace_key, safe='')}"
        self._prefixes = {
            Scope.PLATFORM: f"{platform_path}/mlops/api/2.0/mlflow/",
            Scope.WORKSPACE: f"{workspace_path}/mlops/api/2.0/mlflow/",
        }
        self._connection: Connection | None = None
        self._headers = {"accept": "application/json", "user-agent": _USER_AGENT}
        if settings.user_principal:
            self._headers["dh-user-principal"] = settings.user_principal

    def __reduce__(self) -> tuple[type[DataPlatformClient], tuple[Settings, RetryPolicy]]:
        return type(self), (self.settings, self._retry_policy)

    def call(
        self,
        operation: str,
        payload: Payload | bytes,
        parse: Callable[[Json], T],
        *,
        retry_token: str | None = None,
        repeated: bool = False,
    ) -> T:
        """Call one operation of the service.

        Args:
            operation: Its name in the table of ``client/operations.py``.
            payload: The fields of the query (GET) or of the JSON body (POST); a field that is None
                is left out. Path parameters are taken from here too. Bytes are an encoded body.
            parse: Makes the result out of the answer's JSON object.
            retry_token: The token of a change that was decided on earlier, with these very bytes;
                None makes a new one.
            repeated: Whether the change may have been sent with this token before, by anybody.

        Returns:
            What ``parse`` returned.

        Raises:
            RetryTokenInvalidated: A creation took effect, but its answer is lost.
            OciDataPlatformException: Every other failure, after the retries that made sense.
            MlflowException: The credentials cannot be used.
        """
        row = OPERATIONS.get(operation) or LOGGED_MODEL_ROUTES[operation]
        target, body = self._encode(row, payload)
        headers = dict(self._headers)
        if row.retry_token:
            headers["opc-retry-token"] = retry_token or new_retry_token()
        answer, request_id, retries = self._try_until_answered(row, target, headers, body, repeated)
        return _parsed(row, answer, request_id, retries, parse)

    def body(self, operation: str, payload: Payload | bytes) -> bytes:
        """Encode the body of a change that is to be sent later.

        Args:
            operation: Its name in the table; a POST.
            payload: As for ``call``.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if it cannot be written as JSON in UTF-8.
        """
        _, body = self._encode(OPERATIONS[operation], payload)
        return body or b""

    def _encode(self, row: Operation, payload: Payload | bytes) -> tuple[str, bytes | None]:
        try:
            return self._encoded(row, payload)
        except (TypeError, ValueError) as error:
            # A lone surrogate is a UnicodeEncodeError, which is a ValueError.
            raise MlflowException(
                f"{row.name}: the request cannot be written: {error}.", INVALID_PARAMETER_VALUE
            ) from error

    def _encoded(self, row: Operation, payload: Payload | bytes) -> tuple[str, bytes | None]:
        path = row.path
        if isinstance(payload, bytes):
            return self._prefixes[row.scope] + path, payload
        fields = {name: value for name, value in payload.items() if value is not None}
        if "{" in path:
            in_path = {name: value for name, value in fields.items() if f"{{{name}}}" in path}
            path = path.format_map({name: quote(value, safe="") for name, value in in_path.items()})
            fields = {name: value for name, value in fields.items() if name not in in_path}
        target = self._prefixes[row.scope] + path
        if row.method in _WITHOUT_BODY:
            query = urlencode(
                {
                    name: str(value).lower() if isinstance(value, bool) else value
                    for name, value in fields.items()
                },
                doseq=True,
                quote_via=quote,
            )
            return (f"{target}?{query}" if query else target), None
        return target, _json(fields)

    def _try_until_answered(
        self,
        row: Operation,
        target: str,
        headers: dict[str, str],
        body: bytes | None,
        repeated: bool,
    ) -> tuple[Answer, str, int]:
        connection = self._connection or self._connect()
        hashed = body_headers(body)
        retries = Retries(self._retry_policy)
        may_refresh = True
        while True:
            request_id = new_request_id()
            failure: OciDataPlatformException
            retry_after = None
            credentials = self.authenticator.credentials()
            try:
                answer = connection.send(
                    row.method,
                    target,
                    {
                        **headers,
                        "opc-request-id": request_id,
                        **sign(credentials, row.method, target, connection.host, hashed),
                    },
                    body,
                    min(self.settings.timeout, retries.remaining),
                )
            except ConnectionFailed as error:
                failure = unreachable(
                    row.name, connection.endpoint, error, request_id, retries.count
                )
                worth_a_retry = not isinstance(error, ConnectionRefusedForGood)
                cause: BaseException | None = error
            else:
                if answer.status in (200, 201, 202, 204):
                    return answer, request_id, retries.count
                failure = self._refused(row, answer, request_id, retries.count)
                cause = None
                used = failure.oci_code == INVALIDATED_RETRY_TOKEN
                if used and (repeated or retries.count) and row.retry_token:
                    return self._applied_before(row, failure), request_id, retries.count
                if answer.status == 401 and may_refresh:
                    may_refresh = False
                    if self.authenticator.refresh(credentials):
                        continue
                worth_a_retry = is_transient(answer.status, failure.oci_code)
                if worth_a_retry:
                    retry_after = retry_after_seconds(
                        answer.headers.get("retry-after"), time.time()
                    )
            if not worth_a_retry or not retries.pause(failure.message, retry_after):
                failure.retry_after = retry_after
                raise failure from cause

    def _connect(self) -> Connection:
        settings = self.settings
        region = settings.region or self.authenticator.region
        endpoint = settings.endpoint or (default_endpoint(region) if region else None)
        if endpoint is None:
            raise MlflowException(
                "The region of the AI Data Platform is not known: neither its OCID nor the profile "
                "names one. Add `?region=<region>` to the tracking URI or set "
                "MLFLOW_OCI_DP_REGION, e.g. to us-ashburn-1.",
                INVALID_PARAMETER_VALUE,
            )
        self._connection = Connection(
            endpoint, verify=settings.verify, client_cert=settings.client_cert
        )
        return self._connection

    def _refused(
        self, row: Operation, answer: Answer, request_id: str, retries: int
    ) -> OciDataPlatformException:
        oci_code, message = oci_error(answer)
        return refused(
            row.name,
            answer.status,
            oci_code,
            message,
            headers=answer.headers,
            signed_as=self.authenticator.description,
            request_id=answer.headers.get("opc-request-id") or request_id,
            retries=retries,
        )

    def _applied_before(self, row: Operation, failure: OciDataPlatformException) -> Answer:
        """A retry met its own token as used: an earlier try took effect and its answer is lost."""
        if row.effect is Effect.WRITE:
            return Answer(200, {}, b"{}")
        raise RetryTokenInvalidated(
            f"{row.name} took effect, but the connection failed before its answer arrived and the "
            f"service does not repeat it. ({facts(failure.request_id or '', failure.retries)})",
            INTERNAL_ERROR,
            operation=row.name,
            status=failure.status,
            oci_code=failure.oci_code,
            request_id=failure.request_id,
            retries=failure.retries,
        )


def _json(fields: Payload) -> bytes:
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def _parsed(
    row: Operation, answer: Answer, request_id: str, retries: int, parse: Callable[[Json], T]
) -> T:
    body = answer.body
    try:
        # A change may be confirmed with an empty body; for a read that would mean "nothing there".
        content = {} if not body and row.effect is Effect.WRITE else json.loads(body)
        if not isinstance(content, dict):
            raise TypeError(f"a JSON {type(content).__name__} where an object was expected")
        return parse(content)
    except (*UNREADABLE, AttributeError, OverflowError) as error:
        request_id = answer.headers.get("opc-request-id") or request_id
        reason = f"{type(error).__name__}: {error}"[:QUOTED_CHARACTERS]
        raise OciDataPlatformException(
            f"{row.name}: the service's answer cannot be read ({reason}). It begins: "
            f"{quoted(body)} ({facts(request_id, retries)})",
            INTERNAL_ERROR,
            operation=row.name,
            status=answer.status,
            request_id=request_id,
            retries=retries,
        ) from error
