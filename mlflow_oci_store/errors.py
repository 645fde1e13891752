"""Every way a call can fail, as one exception that MLflow and its users understand.

    MlflowException                       what MLflow and its users catch
    └── OciDataPlatformException          one failed call: operation, status, OCI code, request id
        └── RetryTokenInvalidated         the call took effect, but its answer is lost

The service answers with OCI's error bodies (``{"code": ..., "message": ...}``). MLflow's own
logic branches on MLflow error codes: ``set_experiment`` needs RESOURCE_ALREADY_EXISTS to survive a
race, ``get_experiment_by_name`` needs RESOURCE_DOES_NOT_EXIST. The tables below translate: the OCI
code decides first, the HTTP status second. Sources: the OCI documentation's page "API Errors" and
``mlflow.protos.databricks_pb2.ErrorCode``.
"""

from __future__ import annotations

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    DEADLINE_EXCEEDED,
    ENDPOINT_NOT_FOUND,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    NOT_IMPLEMENTED,
    PERMISSION_DENIED,
    QUOTA_EXCEEDED,
    REQUEST_LIMIT_EXCEEDED,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_CONFLICT,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
)

__all__ = [
    "OciDataPlatformException",
    "RetryTokenInvalidated",
    "error_code_of",
    "hint_for",
]

INVALIDATED_RETRY_TOKEN = "InvalidatedRetryToken"  # noqa: S105 - the name of an OCI error code

_BY_OCI_CODE: dict[str, int] = {
    "CannotParseRequest": INVALID_PARAMETER_VALUE,
    "InvalidParameter": INVALID_PARAMETER_VALUE,
    "MissingParameter": INVALID_PARAMETER_VALUE,
    "RelatedResourceNotAuthorizedOrNotFound": INVALID_PARAMETER_VALUE,
    "UnprocessableEntity": INVALID_PARAMETER_VALUE,
    "RequestEntityTooLarge": INVALID_PARAMETER_VALUE,
    "LimitExceeded": QUOTA_EXCEEDED,
    "QuotaExceeded": QUOTA_EXCEEDED,
    "NotAuthenticated": UNAUTHENTICATED,
    "SignUpRequired": PERMISSION_DENIED,
    "NotAllowed": PERMISSION_DENIED,
    "NotAuthorized": PERMISSION_DENIED,
    "NotAuthorizedOrNotFound": RESOURCE_DOES_NOT_EXIST,
    "NamespaceNotFound": RESOURCE_DOES_NOT_EXIST,
    "BucketNotFound": RESOURCE_DOES_NOT_EXIST,
    "ObjectNotFound": RESOURCE_DOES_NOT_EXIST,
    "NotFound": ENDPOINT_NOT_FOUND,
    "MethodNotAllowed": ENDPOINT_NOT_FOUND,
    "NotAuthorizedOrResourceAlreadyExists": RESOURCE_ALREADY_EXISTS,
    "Conflict": INVALID_STATE,
    "IncorrectState": INVALID_STATE,
    "ExternalServerIncorrectState": INVALID_STATE,
    INVALIDATED_RETRY_TOKEN: RESOURCE_CONFLICT,
    "NoEtagMatch": RESOURCE_CONFLICT,
    "TooManyRequests": REQUEST_LIMIT_EXCEEDED,
    "InternalServerError": INTERNAL_ERROR,
    "MethodNotImplemented": NOT_IMPLEMENTED,
    "ServiceUnavailable": TEMPORARILY_UNAVAILABLE,
}

_BY_STATUS: dict[int, int] = {
    400: BAD_REQUEST,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: ENDPOINT_NOT_FOUND,  # a 404 without OCI's body comes from a proxy or a wrong host
    405: ENDPOINT_NOT_FOUND,
    408: DEADLINE_EXCEEDED,
    409: RESOURCE_CONFLICT,
    412: RESOURCE_CONFLICT,
    413: INVALID_PARAMETER_VALUE,
    422: INVALID_PARAMETER_VALUE,
    429: REQUEST_LIMIT_EXCEEDED,
    500: INTERNAL_ERROR,
    501: NOT_IMPLEMENTED,
    502: TEMPORARILY_UNAVAILABLE,
    503: TEMPORARILY_UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}

_NO_BUCKET = (
    "Check the artifact location, oci://<bucket>@<namespace>/<prefix>, and the IAM policies. A "
    "bucket is found in its own region only: `object_storage_endpoint` in the tracking URI or "
    "MLFLOW_OCI_DP_OBJECT_STORAGE_ENDPOINT names another."
)

_HINTS: dict[str, str] = {
    "BucketNotFound": _NO_BUCKET,
    "NamespaceNotFound": _NO_BUCKET,
    "UnmatchedContentMD5": (
        "The file changed while it was uploaded, or was damaged on its way: upload it again."
    ),
    "NotAuthorizedOrNotFound": (
        "OCI gives this answer both for what does not exist and for what the caller may not see: "
        "check the id, the platform and workspace in the tracking URI, and the IAM policies."
    ),
    "NotFound": (
        "The service has no such route: check `endpoint` and `api_version` of the tracking URI."
    ),
    "NotAuthenticated": (
        "Check the credentials that the profile names and that the key is still registered with "
        "the user."
    ),
    "RequestEntityTooLarge": "Send less in one call, for instance shorter tag values.",
}


class OciDataPlatformException(MlflowException):
    """A call to AI Data Platform, or to Object Storage for it, that failed.

    Args:
        message: A sentence that a user can act on.
        error_code: MLflow's error code, a number of ``mlflow.protos.databricks_pb2.ErrorCode``.
        operation: The operation as the service's SDK names it, e.g. ``log_experiment_run_batch``.
        status: HTTP status of the last answer; None when there was no answer.
        oci_code: ``code`` of OCI's error body; None when there was none.
        request_id: ``opc-request-id`` of the last try, which Oracle support asks for.
        retries: How many times the call was repeated before it was given up.
        retry_after: Seconds after which the service asked to be called again, or None.
    """

    def __init__(
        self,
        message: str,
        error_code: int = INTERNAL_ERROR,
        *,
        operation: str | None = None,
        status: int | None = None,
        oci_code: str | None = None,
        request_id: str | None = None,
        retries: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, error_code=error_code)
        self.operation = operation
        self.status = status
        self.oci_code = oci_code
        self.request_id = request_id
        self.retries = retries
        self.retry_after = retry_after


class RetryTokenInvalidated(OciDataPlatformException):
    """A creation took effect on a try whose answer was lost, and the service will not repeat it.

    The service answers 409 InvalidatedRetryToken when a token was used before and the first
    answer can no longer be given (API reference, ``opc-retry-token``). A store that can look the
    created thing up catches this; everyone else reports what is known.
    """

    def add(self, sentence: str) -> None:
        """Add what a store knows of the created thing to the message."""
        self.message: str = f"{self.message} {sentence}"
        self.args = (self.message,)


def error_code_of(status: int, oci_code: str | None) -> int:
    """Translate an error answer to MLflow's error code.

    Args:
        status: HTTP status of the answer.
        oci_code: ``code`` of OCI's error body, or None when the body had none.

    Returns:
        A number of ``mlflow.protos.databricks_pb2.ErrorCode``. A status in neither table counts
        as BAD_REQUEST below 500 and as INTERNAL_ERROR from there on.
    """
    if oci_code is not None and (by_code := _BY_OCI_CODE.get(oci_code)) is not None:
        return by_code
    return _BY_STATUS.get(status, BAD_REQUEST if status < 500 else INTERNAL_ERROR)


def hint_for(oci_code: str | None) -> str:
    """Say what to do about an OCI error code; empty where the service's message says it all."""
    return _HINTS.get(oci_code or "", "")
