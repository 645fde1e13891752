"""The end of the benchmark that runs in a peer's virtual environment.

One long-lived process for each peer. Its standard input has a line of JSON for every turn, which
names a module of rows, a row and a piece; its answer is a line with the figure. The first line is
the stage. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from harness.row import Measure, Row, Stage, Storage


def main() -> None:
    """Work until standard input ends."""
    # Nothing that a library prints may stand between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    stage: Stage | None = None
    prepared: dict[tuple[str, str, str], Measure] = {}
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        if "stage" in order:
            stage = _stage(order["stage"])
            continue
        assert stage is not None
        key = (order["module"], order["row"], order["piece"])
        if key not in prepared:
            prepared[key] = _prepare(*key, stage)
        print(json.dumps(prepared[key]()), file=answers)


def _stage(fields: dict[str, Any]) -> Stage:
    storages = {
        name: Storage(*fields[name]) for name in ("storage", "slow_storage") if fields[name]
    }
    return Stage(**{**fields, **storages})


def _prepare(module: str, row_name: str, label: str, stage: Stage) -> Measure:
    rows: list[Row] = importlib.import_module(module).ROWS
    row = next(row for row in rows if row.name == row_name)
    piece = next(piece for piece in row.pieces if piece.label == label)
    return piece.prepare(stage)


if __name__ == "__main__":
    main()
