"""Asynchronous calls: what the training loop pays, how fast it all arrives, what an outage costs.

Ours is durable when a call returns. MLflow's queue is in memory, with buffering on, which makes it
as fast as it can be. Weights & Biases runs offline, so that nothing of its ever leaves the machine.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harness.row import Goal, Measure, Piece, Row, Stage

from rows.stores import METRIC, RUN, on_disk, our_outbox_store, our_store_at, our_uri, rest_store

_CALLS, _QUICK_CALLS = 50_000, 10_000
_BATCH = 100
_BACKLOG, _QUICK_BACKLOG = 1_000_000, 100_000
_OURS, _MLFLOW, _WANDB = "mlflow-oci-store", "MLflow's queue", "wandb offline"
# Nobody listens there.
_NOWHERE = "http://127.0.0.1:1"
_PERMILLE = 1000


def _count(stage: Stage) -> int:
    return _QUICK_CALLS if stage.quick else _CALLS


def _metrics(count: int) -> list[Any]:
    from mlflow.entities import Metric

    key, value, timestamp, step = METRIC
    return [Metric(key, value + i / 7, timestamp + i, step + i) for i in range(count)]


def _each_call(log: Callable[[Any], object], items: Sequence[Any]) -> list[float]:
    """The seconds of every single call, in ascending order."""
    taken = []
    for item in items:
        started = time.perf_counter()
        log(item)
        taken.append(time.perf_counter() - started)
    return sorted(taken)


def _one_call(store: Any, count: int, figure: Callable[[list[float]], float]) -> Measure:
    metrics = _metrics(count)

    def measure() -> float:
        taken = _each_call(partial(store.log_metric_async, RUN), metrics)
        store.flush_async_logging()
        return figure(taken)

    return measure


def _rate(store: Any, count: int, batch: int) -> Measure:
    metrics = _metrics(count)
    batches = [metrics[at : at + batch] for at in range(0, count, batch)]

    def measure() -> float:
        started = time.perf_counter()
        if batch == 1:
            for metric in metrics:
                store.log_metric_async(RUN, metric)
        else:
            for part in batches:
                store.log_batch_async(RUN, part, [], [])
        store.flush_async_logging()
        return count / (time.perf_counter() - started)

    return measure


def _wandb(stage: Stage, figure: Callable[[list[float], float], float]) -> Measure:
    import wandb

    count = _count(stage)
    key, value, *_ = METRIC
    folder = on_disk("wandb")

    def measure() -> float:
        started = time.perf_counter()
        run = wandb.init(dir=folder, project="benchmark")
        taken = _each_call(run.log, [{key: value + i / 7} for i in range(count)])
        run.finish()
        return figure(taken, count / (time.perf_counter() - started))

    return measure


def _late(taken: list[float]) -> float:
    """The call that is longer than 99.9 percent."""
    return taken[len(taken) - 1 - len(taken) // _PERMILLE]


def _during_an_outage(stage: Stage) -> Measure:
    # It would be said, correctly, that the service is out of reach.
    logging.getLogger("mlflow_oci_store").setLevel(logging.ERROR)
    store = our_outbox_store(stage, _NOWHERE, "late")
    metrics = _metrics(_count(stage))

    def measure() -> float:
        return _late(_each_call(partial(store.log_metric_async, RUN), metrics))

    return measure


_MEMORY = """
import logging, os, pathlib, sys, time
from mlflow.entities import Metric
kind, uri, run, folder, count = sys.argv[1:]

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if kind == "ours":
    logging.getLogger("mlflow_oci_store").setLevel(logging.ERROR)
    from mlflow_oci_store.tracking.store import OciDataPlatformStore
    store = OciDataPlatformStore(uri)
else:
    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.utils.rest_utils import MlflowHostCreds
    store = RestStore(lambda: MlflowHostCreds(uri))
store.log_metric_async(run, Metric("loss", 0.5, 1_700_000_000_000, 0))
time.sleep(1)
before = resident()
for i in range(int(count)):
    store.log_metric_async(run, Metric("loss", i / 7, 1_700_000_000_000 + i, i))
disk = sum(it.stat().st_size for it in pathlib.Path(folder).rglob("*") if it.is_file())
print(resident() - before, disk, flush=True)
os._exit(0)
"""


def _backlog(kind: str, figure: int) -> Callable[[Stage], Measure]:
    """Bytes of memory (0) or on disk (1) of what is logged during an outage."""

    def prepare(stage: Stage) -> Measure:
        count = _QUICK_BACKLOG if stage.quick else _BACKLOG

        def measure() -> float:
            folder = on_disk(f"backlog-{kind}")
            uri = _NOWHERE
            if kind == "ours":
                uri = f"{our_uri(stage, _NOWHERE)}&outbox_dir={folder}"
            finished = subprocess.run(
                [sys.executable, "-c", _MEMORY, kind, uri, RUN, folder, str(count)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            return float(finished.stdout.split()[figure])

        return measure

    return prepare


def _drained(stage: Stage) -> Measure:
    """Bytes on disk once everything has arrived."""
    folder = on_disk("drained")
    store = our_store_at(stage, stage.instant, folder)
    metrics = _metrics(_count(stage))

    def measure() -> float:
        for metric in metrics:
            store.log_metric_async(RUN, metric)
        store.flush_async_logging()
        return float(_size(folder))

    return measure


def _size(folder: str) -> int:
    return sum(
        os.path.getsize(os.path.join(where, name))
        for where, _, names in os.walk(folder)
        for name in names
    )


def _ours(work: Callable[[Any, Stage], Measure], name: str) -> Piece:
    def prepare(stage: Stage) -> Measure:
        return work(our_outbox_store(stage, stage.instant, name), stage)

    return Piece(_OURS, "ours", prepare)


def _mlflow(work: Callable[[Any, Stage], Measure]) -> Piece:
    return Piece(_MLFLOW, "mlflow-queue", lambda it: work(rest_store(it.instant), it))


def _median_call(store: Any, stage: Stage) -> Measure:
    return _one_call(store, _count(stage), statistics.median)


def _late_call(store: Any, stage: Stage) -> Measure:
    return _one_call(store, _count(stage), _late)


def _singly(store: Any, stage: Stage) -> Measure:
    return _rate(store, _count(stage), 1)


def _in_batches(store: Any, stage: Stage) -> Measure:
    return _rate(store, _count(stage), _BATCH)


ROWS: Sequence[Row] = [
    Row(
        name="log_metric_async, one call, durable",
        unit="µs",
        pieces=[
            _ours(_median_call, "call"),
            _mlflow(_median_call),
            Piece(
                _WANDB, "wandb", lambda it: _wandb(it, lambda taken, _: statistics.median(taken))
            ),
        ],
        goals=[
            Goal(_OURS, at_most=20),
            Goal(_OURS, _MLFLOW),
            Goal(_OURS, _WANDB),
        ],
        turns=7,
        quick_turns=3,
    ),
    Row(
        name="single metrics, from call to acknowledged",
        unit="/s",
        pieces=[
            _ours(_singly, "singly"),
            _mlflow(_singly),
            Piece(_WANDB, "wandb", lambda it: _wandb(it, lambda _, rate: rate)),
        ],
        goals=[
            Goal(_OURS, at_least=35_000),
            Goal(_OURS, _MLFLOW),
            Goal(_OURS, _WANDB),
        ],
        turns=7,
        quick_turns=3,
    ),
    Row(
        name="metrics in batches of 100, from call to acknowledged",
        unit="/s",
        pieces=[_ours(_in_batches, "batches"), _mlflow(_in_batches)],
        goals=[Goal(_OURS, at_least=150_000), Goal(_OURS, _MLFLOW)],
        turns=7,
        quick_turns=3,
    ),
    Row(
        name="longest wait in a call, 99.9th percentile",
        unit="ms",
        pieces=[
            _ours(_late_call, "late-call"),
            Piece(f"{_OURS}, service down", "ours", _during_an_outage),
            _mlflow(_late_call),
        ],
        goals=[
            Goal(_OURS, at_most=5),
            Goal(f"{_OURS}, service down", at_most=5),
            Goal(_OURS, _MLFLOW),
        ],
        turns=7,
        quick_turns=3,
    ),
    Row(
        name="memory of a million metrics during an outage",
        unit="MB",
        pieces=[
            Piece(_OURS, "ours", _backlog("ours", 0)),
            Piece(_MLFLOW, "mlflow-queue", _backlog("mlflow", 0)),
        ],
        goals=[Goal(_OURS, at_most=64), Goal(_OURS, _MLFLOW)],
        turns=1,
        quick_turns=1,
        starts_anew=True,
    ),
    Row(
        name="disk of a million metrics during an outage, and once all is sent",
        unit="MB",
        pieces=[
            Piece(_OURS, "ours", _backlog("ours", 1)),
            Piece(f"{_OURS}, sent", "ours", _drained),
        ],
        goals=[Goal(_OURS, at_most=150), Goal(f"{_OURS}, sent", at_most=5)],
        turns=1,
        quick_turns=1,
    ),
]
