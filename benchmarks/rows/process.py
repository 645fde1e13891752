"""What a process pays once: the import, the first call, the memory of a store.

Each turn is a fresh interpreter in the environment of its peer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from harness.row import Goal, Measure, Piece, Row

from rows.stores import RUN, our_uri

# Processor time, as an import waits for nothing. A hundredth of it or two is chance, which is more
# than a plugin may cost. So what a plugin adds to is measured by itself: looking for entry points,
# loading those that are wanted, and packages that MLflow's libraries use where they are installed.
_IMPORT = """
import time
started = time.process_time()
import mlflow
print(time.process_time() - started)
"""

_PLUGINS = """
import importlib, importlib.metadata, sys, time
spent, depth = 0.0, 0

def timed(function, counts=lambda *_: True):
    def call(*args, **kwargs):
        global spent, depth
        if depth or not counts(*args):
            return function(*args, **kwargs)
        depth, started = 1, time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            depth, spent = 0, spent + time.process_time() - started
    return call

metadata = importlib.metadata
metadata.entry_points = timed(metadata.entry_points)
metadata.EntryPoint.load = timed(metadata.EntryPoint.load)
importlib.import_module = timed(importlib.import_module, lambda name, *_: name in sys.argv)
import mlflow
print(spent)
"""

_FIRST_CALL = """
import sys, time
import mlflow
uri, run = sys.argv[1:]
started = time.perf_counter()
mlflow.MlflowClient(uri).get_run(run)
print(time.perf_counter() - started)
"""

_MEMORY = """
import gc, os, sys
import mlflow
from mlflow.tracking._tracking_service.utils import _get_store
uri, run = sys.argv[1:]
store = _get_store(uri)
store.get_run(run)
gc.collect()
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""

# It comes with oci, and pandas uses it.
_BROUGHT_ALONG = ("pytz",)

_WITH, _WITHOUT = "mlflow-oci-store installed", "MLflow alone"
_OURS, _REST = "mlflow-oci-store", "RestStore (unsigned)"


def _in_a_process(program: str, *arguments: str) -> Measure:
    def measure() -> float:
        finished = subprocess.run(
            [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
        )
        return float(finished.stdout)

    return measure


def _installed_or_not(program: str, *arguments: str) -> list[Piece]:
    return [
        Piece(_WITH, "ours", lambda _: _in_a_process(program, *arguments)),
        Piece(_WITHOUT, "mlflow", lambda _: _in_a_process(program, *arguments)),
    ]


def _ours(program: str) -> Piece:
    return Piece(_OURS, "ours", lambda it: _in_a_process(program, our_uri(it, it.instant), RUN))


def _rest(peer: str, program: str) -> Piece:
    return Piece(_REST, peer, lambda it: _in_a_process(program, it.instant, RUN))


ROWS: Sequence[Row] = [
    Row(
        name="import mlflow (processor time)",
        unit="ms",
        pieces=_installed_or_not(_IMPORT),
        goals=[Goal(_WITH, _WITHOUT, at_most_over=10, best=True)],
        quick_turns=3,
        starts_anew=True,
    ),
    Row(
        name="import mlflow, as far as plugins matter (processor time)",
        unit="ms",
        pieces=_installed_or_not(_PLUGINS, *_BROUGHT_ALONG),
        goals=[Goal(_WITH, _WITHOUT, at_most_over=10)],
        turns=11,
        quick_turns=1,
        starts_anew=True,
    ),
    Row(
        name="first call of a process",
        unit="ms",
        pieces=[_ours(_FIRST_CALL), _rest("mlflow", _FIRST_CALL)],
        goals=[Goal(_OURS, _REST, at_most_over=350)],
        turns=11,
        quick_turns=1,
        starts_anew=True,
    ),
    Row(
        name="memory of an idle store",
        unit="MB",
        # In one environment: how much of a library's file is counted depends on how much of it is
        # in the system's cache, which makes three megabytes between two copies of MLflow.
        pieces=[_ours(_MEMORY), _rest("ours", _MEMORY)],
        goals=[Goal(_OURS, _REST, at_most_over=25)],
        turns=9,
        quick_turns=1,
        starts_anew=True,
    ),
]
