"""What an error means for what was to be sent."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    DEADLINE_EXCEEDED,
    TEMPORARILY_UNAVAILABLE,
)

from mlflow_oci_store.errors import (
    OciDataPlatformException,
    RetryTokenInvalidated,
    error_code_of,
)
from mlflow_oci_store.tracking.outbox.verdict import Verdict, is_outage, verdict_on


def answered(status: int | None, oci_code: str | None = "Some") -> OciDataPlatformException:
    code = TEMPORARILY_UNAVAILABLE if status is None else error_code_of(status, oci_code)
    return OciDataPlatformException(
        "Because.", code, operation="log_experiment_run_batch", status=status, oci_code=oci_code
    )


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (MlflowException("no credentials"), Verdict.OUTAGE),
        (answered(None, None), Verdict.OUTAGE),
        *((answered(status), Verdict.OUTAGE) for status in (401, 429, 502, 503, 504)),
        (answered(404, None), Verdict.OUTAGE),  # a proxy's page
        (answered(200, None), Verdict.OUTAGE),  # a hotel's page
        (answered(500), Verdict.TROUBLE),
        (answered(500, None), Verdict.TROUBLE),
        (answered(409, "IncorrectState"), Verdict.TROUBLE),
        *((answered(status), Verdict.REFUSED) for status in (400, 403, 404, 409, 413, 422, 501)),
    ],
    ids=str,
)
def test_verdicts(error: MlflowException, verdict: Verdict) -> None:
    assert verdict_on(error) is verdict


def test_a_token_that_is_used_up_means_that_the_change_took_effect() -> None:
    error = RetryTokenInvalidated("Because.", operation="update_experiment_run", status=409)
    assert verdict_on(error) is Verdict.APPLIED


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (answered(None), True),
        (OciDataPlatformException("late", DEADLINE_EXCEEDED, operation="o"), True),
        *((answered(status), True) for status in (429, 500, 502, 503, 504)),
        (OciDataPlatformException("certificate", BAD_REQUEST, operation="o"), False),
        (MlflowException("no credentials"), False),
        *((answered(status), False) for status in (400, 401, 403, 404, 409, 413)),
    ],
    ids=str,
)
def test_a_synchronous_call_is_queued_for_an_outage_only(
    error: MlflowException, outage: bool
) -> None:
    assert is_outage(error) is outage
