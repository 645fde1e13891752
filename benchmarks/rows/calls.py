"""One synchronous call: what a training loop waits for at every step."""

from __future__ import annotations

import http.client
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from harness.row import Goal, Measure, Piece, Row, Stage, per_call

from rows.stores import (
    METRIC,
    PLATFORM,
    RUN,
    WORKSPACE,
    oracle_client,
    our_store,
    our_uri,
    rest_store,
    sagemaker_store,
)

_CALLS, _FLUENT_CALLS, _LARGE_CALLS = 100, 100, 5
_LARGE = 1000


def _one_metric(store: Any, count: int = _CALLS) -> Measure:
    from mlflow.entities import Metric

    metric = Metric(*METRIC)
    return per_call(lambda: store.log_batch(RUN, [metric], [], []), count)


def _many_metrics(store: Any) -> Measure:
    from mlflow.entities import Metric

    metrics = [
        Metric(f"metric_{i % 50}", math.sin(i), 1_700_000_000_000 + i, i // 50)
        for i in range(_LARGE)
    ]
    return per_call(lambda: store.log_batch(RUN, metrics, [], []), _LARGE_CALLS)


def _oracle(stage: Stage) -> Measure:
    from aidp_python_client.aidataplatform_dp.models import (
        ExperimentRunMetric,
        LogExperimentRunBatchDetails,
    )

    client = oracle_client(stage, stage.instant)
    key, value, timestamp, step = METRIC

    def call() -> None:
        metric = ExperimentRunMetric(key=key, value=value, timestamp=timestamp, step=step)
        details = LogExperimentRunBatchDetails(run_id=RUN, metrics=[metric])
        client.log_experiment_run_batch(PLATFORM, WORKSPACE, details)

    return per_call(call, _CALLS)


def _floor(stage: Stage) -> Measure:
    """What nobody can go below with OCI's signatures in Python."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256

    key = generate_private_key(65537, 2048)
    padding, digest = PKCS1v15(), SHA256()
    address = urlsplit(stage.instant)
    connection = http.client.HTTPConnection(address.netloc)
    body = (
        b'{"run_id":"%s","metrics":'
        b'[{"key":"loss","value":0.5,"timestamp":1700000000000,"step":3}]}' % RUN.encode()
    )
    target = (
        f"/20260430/aiDataPlatforms/{PLATFORM}/workspaces/{WORKSPACE}"
        "/mlops/api/2.0/mlflow/runs/log-batch"
    )
    # As many headers and bytes as a signed request has.
    headers = {
        "accept": "application/json",
        "user-agent": "x" * 48,
        "opc-retry-token": "x" * 32,
        "opc-request-id": "x" * 32,
        "date": "x" * 29,
        "content-type": "application/json",
        "x-content-sha256": "x" * 44,
        "authorization": "x" * 610,
    }

    def call() -> None:
        key.sign(bytes(460), padding, digest)
        connection.request("POST", target, body, headers)
        connection.getresponse().read()

    return per_call(call, _CALLS)


def _fluent(uri: str) -> Measure:
    """``mlflow.log_metric`` in a run that is there, whatever it does on the way to its store."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.start_run(run_id=RUN, log_system_metrics=False)
    key, value, _, step = METRIC
    return per_call(lambda: mlflow.log_metric(key, value, step=step), _FLUENT_CALLS)


_OURS, _REST, _SDK = "mlflow-oci-store", "RestStore (unsigned)", "aidp-python-client"
_SAGEMAKER, _FLOOR = "sagemaker-mlflow", "floor"

ROWS: Sequence[Row] = [
    Row(
        name="log_batch of one metric",
        unit="µs",
        pieces=[
            Piece(_FLOOR, "floor", _floor),
            Piece(_OURS, "ours", lambda it: _one_metric(our_store(it, it.instant))),
            Piece(_REST, "mlflow", lambda it: _one_metric(rest_store(it.instant))),
            Piece(_SDK, "aidp", _oracle),
            Piece(_SAGEMAKER, "sagemaker", lambda it: _one_metric(sagemaker_store(it.instant), 20)),
        ],
        goals=[
            Goal(_OURS, _REST, at_most=0.50),
            Goal(_OURS, _SDK, at_most=0.50),
            Goal(_OURS, _SAGEMAKER, at_most=0.10),
            Goal(_OURS, _FLOOR, at_most=1.35),
        ],
        turns=31,
        quick_turns=11,
    ),
    Row(
        name="mlflow.log_metric",
        unit="µs",
        pieces=[
            Piece(_OURS, "ours", lambda it: _fluent(our_uri(it, it.instant))),
            Piece(_REST, "mlflow", lambda it: _fluent(it.instant)),
        ],
        goals=[Goal(_OURS, _REST, at_most=0.65)],
        turns=31,
        quick_turns=11,
    ),
    Row(
        name="log_batch of 1,000 metrics",
        unit="ms",
        pieces=[
            Piece(_OURS, "ours", lambda it: _many_metrics(our_store(it, it.instant))),
            Piece(_REST, "mlflow", lambda it: _many_metrics(rest_store(it.instant))),
        ],
        goals=[Goal(_OURS, _REST, at_most=0.20)],
    ),
]
