"""Cutting a batch of metrics, params and tags into requests that the service takes.

One request holds at most 1000 metrics, 100 params, 100 tags, 1000 items in all, and 1 MB (the
limits of MLflow's REST API, "Request Limits"). Items keep their order, params go first: when a
param is refused, nothing of the batch has been logged yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client import wire

MAX_ITEMS = 1000
MAX_BYTES = 1_000_000
MAX_OF_A_KIND = {"params": 100, "metrics": 1000, "tags": 100}

# ``{"run_id":,"params":[],"metrics":[],"tags":[]}`` without the run id
_FRAME_BYTES = 46


def log_batch_bodies(
    run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
) -> list[bytes]:
    """Check and encode a batch as bodies for ``log_experiment_run_batch``.

    Args:
        run_id: The run that everything is logged to.
        metrics: Metrics in the order in which they were measured.
        params: Params; each fits a request by MLflow's limit on their length.
        tags: Tags; the same.

    Returns:
        Bodies of LogExperimentRunBatchDetails, to be sent in this order; none for an empty batch.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE for an item that MLflow does not allow; nothing
            has been sent then.
    """
    return [batch.body for batch in batches(run_id, encoded(metrics, params, tags))]


def encoded(
    metrics: Iterable[Metric], params: Iterable[Param], tags: Iterable[RunTag]
) -> Iterator[tuple[str, bytes]]:
    """Check and encode a batch's items, in the order in which they are sent.

    Returns:
        ``params``, ``metrics`` or ``tags``, and the item's JSON.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE for an item that MLflow does not allow.
    """
    kinds: Sequence[tuple[str, Callable[..., str], Iterable[Any]]] = (
        ("params", wire.param_text, params),
        ("metrics", wire.metric_text, metrics),
        ("tags", wire.tag_text, tags),
    )
    for kind, text, items in kinds:
        for i, item in enumerate(items):
            try:
                content = text(item)
            except MlflowException:
                # Only what is refused is worth the words for where it stands.
                text(item, f"{kind}[{i}]")
                raise
            yield kind, content.encode()


class Batch(NamedTuple):
    """One request.

    Attributes:
        body: LogExperimentRunBatchDetails.
        items: How many items it holds.
    """

    body: bytes
    items: int


def batches(run_id: str, items: Iterable[tuple[str, bytes]]) -> Iterator[Batch]:
    """Make requests of encoded items, each of as many as it can hold.

    Args:
        run_id: The run that they are of.
        items: ``params``, ``metrics`` or ``tags``, and the item's JSON.
    """
    run = wire.text(run_id, "run_id").encode()
    for part in _parts(items, MAX_BYTES - _FRAME_BYTES - len(run)):
        yield Batch(_body(run, part), sum(map(len, part.values())))


def _parts(items: Iterable[tuple[str, bytes]], room: int) -> Iterator[dict[str, list[bytes]]]:
    part: dict[str, list[bytes]] = {kind: [] for kind in MAX_OF_A_KIND}
    count = size = 0
    for kind, item in items:
        size += len(item) + 1
        if count == MAX_ITEMS or len(part[kind]) == MAX_OF_A_KIND[kind] or size > room:
            yield part
            part = {kind: [] for kind in MAX_OF_A_KIND}
            count, size = 0, len(item) + 1
        part[kind].append(item)
        count += 1
    if count:
        yield part


def _body(run: bytes, part: dict[str, list[bytes]]) -> bytes:
    lists = b"".join(
        b',"%s":[%s]' % (kind.encode(), b",".join(items)) for kind, items in part.items() if items
    )
    return b'{"run_id":%s%s}' % (run, lists)
