"""What a failed try is to the user: an exception that says what happened and what to do.

Both services that this package calls, AI Data Platform and Object Storage, answer with OCI's
error bodies and fail to be reached for the same reasons, so both are explained here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    DEADLINE_EXCEEDED,
    TEMPORARILY_UNAVAILABLE,
)

from mlflow_oci_store.client.connection import (
    Answer,
    ConnectionFailed,
    ConnectionRefusedForGood,
    ConnectionTimedOut,
)
from mlflow_oci_store.client.http_date import epoch_seconds
from mlflow_oci_store.errors import OciDataPlatformException, error_code_of, hint_for

# OCI refuses a signature whose date is further off than this.
_MAX_CLOCK_SKEW_SECONDS = 300.0
# How much of an unreadable answer an error quotes.
QUOTED_CHARACTERS = 200
# What reading an answer of another shape raises, one that is nested too deeply included.
UNREADABLE = (KeyError, TypeError, ValueError, RecursionError)


def unreachable(
    operation: str, endpoint: str, error: ConnectionFailed, request_id: str, retries: int
) -> OciDataPlatformException:
    """Explain that no answer came.

    Args:
        operation: What was asked for, by the name that the SDK has for it.
        endpoint: Where.
        error: Why none came.
        request_id: ``opc-request-id`` of the last try.
        retries: How many tries there were after the first.
    """
    if isinstance(error, ConnectionTimedOut):
        code = DEADLINE_EXCEEDED
        hint = "Set MLFLOW_HTTP_REQUEST_TIMEOUT (seconds) higher if the network is slow."
    elif isinstance(error, ConnectionRefusedForGood):
        code = BAD_REQUEST
        hint = (
            "If the certificate is your company's own, name its CA bundle in "
            "MLFLOW_TRACKING_SERVER_CERT_PATH; check REQUESTS_CA_BUNDLE, "
            "MLFLOW_TRACKING_CLIENT_CERT_PATH and HTTPS_PROXY, too."
        )
    else:
        code = TEMPORARILY_UNAVAILABLE
        hint = "Check the endpoint, the network and the proxy settings."
    return OciDataPlatformException(
        f"{operation}: no answer from {endpoint}: {error}. {hint} ({facts(request_id, retries)})",
        code,
        operation=operation,
        request_id=request_id,
        retries=retries,
    )


def refused(
    operation: str,
    status: int,
    oci_code: str | None,
    message: str,
    *,
    headers: Mapping[str, str],
    signed_as: str,
    request_id: str,
    retries: int,
) -> OciDataPlatformException:
    """Explain an answer that is an error.

    Args:
        operation: What was asked for, by the name that the SDK has for it.
        status: HTTP status.
        oci_code: ``code`` of OCI's error body; None when it was none.
        message: What the answer says, a sentence.
        headers: The answer's headers, in lower case or without regard to case.
        signed_as: Who signed the request.
        request_id: ``opc-request-id`` of the last try.
        retries: How many tries there were after the first.
    """
    parts = [f"{operation}: {status}{f' {oci_code}' if oci_code else ''}: {message}"]
    parts.append(hint_for(oci_code))
    if status == 401:
        parts.append(f"Signed as {signed_as}.")
        parts.append(_clock_hint(headers.get("date")))
    elif 300 <= status < 400:
        parts.append(
            f"The endpoint redirects to {headers.get('location')!r}, which is not "
            "followed with a signature: set `endpoint` to the service itself."
        )
    parts.append(f"({facts(request_id, retries)})")
    return OciDataPlatformException(
        " ".join(part for part in parts if part),
        error_code_of(status, oci_code),
        operation=operation,
        status=status,
        oci_code=oci_code,
        request_id=request_id,
        retries=retries,
    )


def oci_error(answer: Answer) -> tuple[str | None, str]:
    """Read OCI's error body: its code, and its message as a sentence.

    Args:
        answer: The answer of either service; with another body it has no code, and is quoted.
    """
    try:
        content = json.loads(answer.body)
        code, message = content["code"], content["message"]
    except UNREADABLE:
        code = message = None
    if isinstance(code, str) and isinstance(message, str):
        return code, message.rstrip(".") + "."
    shown = quoted(answer.body) if answer.body else "no explanation"
    return None, f"not an answer of OCI ({shown})."


def quoted(body: bytes) -> str:
    """Quote the beginning of a body that cannot be read."""
    text = body[: 4 * QUOTED_CHARACTERS].decode("utf-8", "replace")
    return repr(text[:QUOTED_CHARACTERS])


def facts(request_id: str, retries: int) -> str:
    """What Oracle support asks for, to end a message with."""
    repeated = f", after {retries} {'retry' if retries == 1 else 'retries'}" if retries else ""
    return f"opc-request-id: {request_id}{repeated}"


def _clock_hint(date: str | None) -> str:
    service_time = epoch_seconds(date) if date else None
    if service_time is None:
        return ""
    skew = time.time() - service_time
    if abs(skew) <= _MAX_CLOCK_SKEW_SECONDS:
        return ""
    return (
        f"This machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the "
        "service's, and OCI refuses signatures more than 300 s off: the clock is the likely cause."
    )
