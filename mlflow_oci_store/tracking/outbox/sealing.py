"""The next request of a run: as many of its journal's lines as one request can hold.

Metrics, params and tags become a log-batch within the service's limits. A param or tag whose key is
there already begins another one, because the service refuses a key twice in one batch, and because
the last value of a tag must be the last one that is set. Every other change is a line of its own
and a request of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from mlflow_oci_store.client.retry_token import new_retry_token
from mlflow_oci_store.tracking.batch import batches
from mlflow_oci_store.tracking.outbox.journal import KIND_OF_LIST, METRIC, REQUEST, Line
from mlflow_oci_store.tracking.outbox.ledger import Sealed
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.request import Request

_LIST_OF_KIND = {kind: name for name, kind in KIND_OF_LIST.items()}


class Made(NamedTuple):
    """A request that was made of lines.

    Attributes:
        sealed: The request.
        lines: How many of them it holds.
        may_be_sent: Whether somebody may have sent it already.
    """

    sealed: Sealed
    lines: int
    may_be_sent: bool


def seal(run_id: str, lines: Iterable[Line]) -> Made:
    """Make the next request.

    Args:
        run_id: The run.
        lines: Its lines from the first one that is not sealed, at least one, which is whole.
    """
    lines = iter(lines)
    first = next(lines)
    if first.kind == REQUEST:
        request = Request.of_line(first.content)
        sealed = Sealed(
            run_id,
            first.start,
            first.end,
            request.operation,
            request.retry_token or new_retry_token(),
            request.body,
            request.at or Moment.now(),
        )
        return Made(sealed, 1, request.retry_token is not None)
    ends: list[int] = []
    batch = next(batches(run_id, _items(chain([first], lines), ends)))
    sealed = Sealed(
        run_id,
        first.start,
        ends[batch.items - 1],
        "log_experiment_run_batch",
        new_retry_token(),
        batch.body,
        Moment.now(),
    )
    return Made(sealed, batch.items, False)


def _items(lines: Iterable[Line], ends: list[int]) -> Iterator[tuple[str, bytes]]:
    seen = set()
    for line in lines:
        name = _LIST_OF_KIND.get(line.kind)
        if name is None:
            return
        if line.kind != METRIC:
            key = (name, json.loads(line.content)["key"])
            if key in seen:
                return
            seen.add(key)
        ends.append(line.end)
        yield name, line.content
