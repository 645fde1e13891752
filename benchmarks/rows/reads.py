"""Large answers: what a notebook waits for when it compares runs and draws curves.

Everybody reads the same recorded bytes from a server that sends them at once, so that the time is
that of the client. What was read is counted, since nothing is faster than to skip it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.row import Goal, Measure, Piece, Row, Stage, per_call

from rows.stores import RUN, our_store, rest_store

_POINTS, _RUNS = 100_000, 1000
_OURS, _REST = "mlflow-oci-store", "RestStore (unsigned)"


def _history(store: Any) -> Measure:
    def call() -> None:
        assert len(store.get_metric_history(RUN, "loss")) == _POINTS

    return per_call(call, 1)


def _search(store: Any) -> Measure:
    from mlflow.entities import ViewType

    def call() -> None:
        runs = store.search_runs(["1"], "", ViewType.ACTIVE_ONLY, _RUNS)
        assert len(runs) == _RUNS
        assert len(runs[-1].data.metrics) == 50

    return per_call(call, 1)


def _row(name: str, work: Callable[[Any], Measure]) -> Row:
    def ours(stage: Stage) -> Measure:
        return work(our_store(stage, stage.instant))

    return Row(
        name=name,
        unit="ms",
        pieces=[
            Piece(_OURS, "ours", ours),
            Piece(_REST, "mlflow", lambda it: work(rest_store(it.instant))),
        ],
        goals=[Goal(_OURS, _REST, at_most=0.40)],
        turns=11,
        quick_turns=3,
    )


ROWS: Sequence[Row] = [
    _row("get_metric_history of 100,000 points", _history),
    _row("search_runs of 1,000 runs", _search),
]
