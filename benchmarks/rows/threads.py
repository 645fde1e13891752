"""Threads that log through one store, to a service that takes its time.

While one thread waits for its answer the others must go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.row import Goal, Measure, Piece, Row, Stage

from rows.stores import METRIC, RUN, our_store, rest_store

_CALLS_OF_A_THREAD = 25
_MANY = 8


def _rate(store: object, threads: int) -> Measure:
    from mlflow.entities import Metric

    metric = Metric(*METRIC)
    pool = ThreadPoolExecutor(threads)

    def log(_: int) -> None:
        for _ in range(_CALLS_OF_A_THREAD):
            store.log_batch(RUN, [metric], [], [])  # type: ignore[attr-defined]

    def measure() -> float:
        started = time.perf_counter()
        list(pool.map(log, range(threads)))
        return threads * _CALLS_OF_A_THREAD / (time.perf_counter() - started)

    measure()
    return measure


def _ours(threads: int) -> Piece:
    def prepare(stage: Stage) -> Measure:
        return _rate(our_store(stage, stage.slow), threads)

    return Piece(_label("mlflow-oci-store", threads), "ours", prepare)


def _rest(threads: int) -> Piece:
    return Piece(
        _label("RestStore (unsigned)", threads),
        "mlflow",
        lambda it: _rate(rest_store(it.slow), threads),
    )


def _label(who: str, threads: int) -> str:
    return f"{who}, {threads} thread{'s' if threads > 1 else ''}"


ROWS: Sequence[Row] = [
    Row(
        name="log_batch with 20 ms of latency",
        unit="/s",
        pieces=[_ours(_MANY), _ours(1), _rest(_MANY), _rest(1)],
        goals=[Goal(_label("mlflow-oci-store", _MANY), _label("mlflow-oci-store", 1), at_least=7)],
        turns=7,
        quick_turns=3,
    ),
]
