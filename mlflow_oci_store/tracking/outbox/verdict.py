"""What a failed try means for what was to be sent."""

from __future__ import annotations

from enum import Enum

from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.retry import is_transient
from mlflow_oci_store.errors import OciDataPlatformException, RetryTokenInvalidated

# The whole service, or the way to it, is out. The session's token is among the causes because a
# user can mend that while the program runs: `oci session refresh`.
_OUT_OF_REACH = frozenset({401, 429, 502, 503, 504})


class Verdict(Enum):
    """What to do with a request that failed."""

    APPLIED = "applied"  # an earlier try took effect
    OUTAGE = "outage"  # nobody can send anything at the moment
    TROUBLE = "trouble"  # this request may pass later
    REFUSED = "refused"  # however often it is sent, the answer is the same


def verdict_on(error: MlflowException) -> Verdict:
    """Judge a failure.

    Args:
        error: What ``DataPlatformClient.call`` raised.
    """
    if isinstance(error, RetryTokenInvalidated):
        return Verdict.APPLIED
    if not isinstance(error, OciDataPlatformException) or error.status is None:
        # No credentials, or no answer.
        return Verdict.OUTAGE
    if error.status in _OUT_OF_REACH:
        return Verdict.OUTAGE
    if is_transient(error.status, error.oci_code):
        return Verdict.TROUBLE
    if error.oci_code is None:
        # Whoever answered, it was not the service: a proxy, a hotel's Wi-Fi, a wrong endpoint.
        return Verdict.OUTAGE
    return Verdict.REFUSED


def is_outage(error: MlflowException) -> bool:
    """Whether a synchronous call failed because the service was out: no connection, no answer in
    time, throttled, or broken. A user's own mistakes, credentials and certificates included, are
    none."""
    if not isinstance(error, OciDataPlatformException):
        return False
    if error.status is None:
        return error.error_code in ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED")
    return is_transient(error.status, None)
