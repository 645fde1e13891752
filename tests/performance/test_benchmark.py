"""The benchmark's rows fit together, and its goals are judged as they are written."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MODULES = sorted(
    f"rows.{file.stem}"
    for file in (BENCHMARKS / "rows").glob("*.py")
    if re.search("^ROWS", file.read_text(), re.MULTILINE)
)


@pytest.fixture
def load() -> Iterator[Any]:
    """Imports modules as the benchmark's own programs do, and forgets them again."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"harness", "rows", "run"}:
            del sys.modules[name]


@pytest.mark.parametrize("module", MODULES)
def test_goals_and_pieces_of_a_row_know_each_other(load: Any, module: str) -> None:
    peers, run = load("harness.peer").PEERS, load("run")

    for row in load(module).ROWS:
        labels = [piece.label for piece in row.pieces]
        assert len(set(labels)) == len(labels)
        assert {piece.peer for piece in row.pieces} <= set(peers)
        for goal in row.goals:
            assert {goal.of, goal.to or goal.of} <= set(labels)
            bounds = (goal.at_most, goal.at_least, goal.at_most_over)
            # A ratio without a bound is only shown.
            bounded = sum(bound is not None for bound in bounds)
            assert bounded == 1 or (bounded == 0 and goal.to)
    assert module in run.MODULES


@pytest.mark.parametrize(
    ("bound", "ours", "theirs", "reached", "met"),
    [
        ({"at_most": 0.5}, [1.0, 9.0, 2.0], [2.0, 18.0, 5.0], 0.5, True),
        ({"at_most": 0.5}, [3.0, 3.0, 3.0], [5.0, 5.0, 5.0], 0.6, False),
        ({"at_least": 7}, [70.0, 80.0, 60.0], [10.0, 10.0, 10.0], 7.0, True),
        ({"at_least": 7}, [60.0, 60.0, 60.0], [10.0, 10.0, 10.0], 6.0, False),
        ({"at_most_over": 10}, [0.020, 0.120, 0.021], [0.010, 0.109, 0.010], 11.0, False),
        ({"at_most_over": 10}, [0.005], [0.010], -5.0, True),
        ({"at_most_over": 10, "best": True}, [0.900, 0.015], [0.010, 0.800], 5.0, True),
    ],
)
def test_a_goal_is_judged_turn_by_turn(
    load: Any, bound: Any, ours: list[float], theirs: list[float], reached: float, met: bool
) -> None:
    rows = load("harness.row")
    row = rows.Row("work", "ms", [], [rows.Goal("ours", "theirs", **bound)])

    (verdict,) = load("harness.table").verdicts(row, {"ours": ours, "theirs": theirs})

    assert verdict.reached == pytest.approx(reached)
    assert verdict.met is met


@pytest.mark.parametrize(
    ("bound", "figures", "reached", "met"),
    [
        ({"at_most": 20}, [0.019, 0.5, 0.018], 19.0, True),
        ({"at_most": 20}, [0.021, 0.021, 0.0], 21.0, False),
        ({"at_least": 20}, [0.021, 0.021, 0.0], 21.0, True),
    ],
)
def test_a_figure_without_a_rival_is_judged_by_its_median(
    load: Any, bound: Any, figures: list[float], reached: float, met: bool
) -> None:
    rows = load("harness.row")
    row = rows.Row("work", "ms", [], [rows.Goal("ours", **bound)])

    (verdict,) = load("harness.table").verdicts(row, {"ours": figures})

    assert verdict.reached == pytest.approx(reached)
    assert verdict.met is met
