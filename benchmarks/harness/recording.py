"""The answers that the loopback server replays, written as an MLflow server writes them.

MLflow's own entities, protobuf messages and JSON encoder make them, so the bytes are those of an
MLflow server; everybody gets the same. They are made once and kept: a thousand runs take a while.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.version
from mlflow.entities import (
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    RunTag,
)
from mlflow.protos.service_pb2 import (
    CreateRun,
    GetMetricHistory,
    GetRun,
    SearchRuns,
    UpdateRun,
)
from mlflow.utils.proto_json_utils import message_to_json

# Names of the files say which part of a target they answer.
HISTORY, SEARCH = "metrics.get-history", "runs.search"
HISTORY_POINTS = 100_000
RUNS, METRICS, PARAMS, TAGS = 1000, 50, 30, 10
RUN_ID = "a" * 32
_START = 1_700_000_000_000


def record(folder: Path) -> None:
    """Write the answers, unless they are there.

    Args:
        folder: Where to.
    """
    complete = folder / ".complete"
    if complete.exists() and complete.read_text() == mlflow.version.VERSION:
        return
    folder.mkdir(parents=True, exist_ok=True)
    answers: dict[str, Callable[[], Any]] = {
        HISTORY: _history,
        SEARCH: _search,
        "runs.create": lambda: CreateRun.Response(run=_short_run().to_proto()),
        "runs.get": lambda: GetRun.Response(run=_short_run().to_proto()),
        "runs.update": lambda: UpdateRun.Response(run_info=_short_run().info.to_proto()),
    }
    for name, make in answers.items():
        (folder / f"{name}.json").write_text(message_to_json(make()))
    complete.write_text(mlflow.version.VERSION)


def _history() -> Any:
    chance = random.Random(1)
    answer = GetMetricHistory.Response()
    answer.metrics.extend(
        Metric("loss", chance.random(), _START + 1000 * step, step).to_proto()
        for step in range(HISTORY_POINTS)
    )
    return answer


def _search() -> Any:
    chance = random.Random(2)
    answer = SearchRuns.Response()
    answer.runs.extend(_run(f"{number:032x}", chance).to_proto() for number in range(RUNS))
    return answer


def _run(run_id: str, chance: random.Random) -> Run:
    return Run(
        _info(run_id),
        RunData(
            [Metric(f"metric_{i}", chance.random(), _START + i, i) for i in range(METRICS)],
            [Param(f"param_{i}", f"{chance.random():.6g}") for i in range(PARAMS)],
            [RunTag(f"tag_{i}", f"value {i}") for i in range(TAGS)],
        ),
    )


def _short_run() -> Run:
    return Run(_info(RUN_ID), RunData([], [], [RunTag("mlflow.runName", "benchmark")]))


def _info(run_id: str) -> RunInfo:
    return RunInfo(
        run_id=run_id,
        experiment_id="1",
        user_id="benchmark",
        status=RunStatus.to_string(RunStatus.RUNNING),
        start_time=_START,
        end_time=None,
        lifecycle_stage=LifecycleStage.ACTIVE,
        artifact_uri=f"oci://bucket@namespace/1/{run_id}/artifacts",
        run_name="benchmark",
    )
