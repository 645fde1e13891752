"""Figures to verdicts, and verdicts to a table and to JSON.

A goal is judged by the median over the turns of what one figure was to the other in the same turn:
a turn in which the machine was busy with something else was slow for both. A few are judged by the
best turns of each.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.row import UNITS, Goal, Row

Figures = Mapping[str, Sequence[float]]
"""The figures of a row's turns, by the label of the piece."""


@dataclass(frozen=True)
class Verdict:
    """What came of a goal.

    Args:
        goal: The goal.
        reached: The ratio; the difference or the figure in the row's unit.
        wanted: What was wanted, in words; empty if the figure is only shown.
        met: Whether that is so.
    """

    goal: Goal
    reached: float
    wanted: str
    met: bool

    def words(self, met: str, not_met: str) -> str:
        """Say whether it is met, if anything was wanted."""
        if not self.wanted:
            return ""
        return met if self.met else not_met


def verdicts(row: Row, figures: Figures) -> list[Verdict]:
    """Judge every goal of a row."""
    return [_verdict(row, goal, figures) for goal in row.goals]


def _verdict(row: Row, goal: Goal, figures: Figures) -> Verdict:
    of = figures[goal.of]
    if goal.to is None:
        return _judged(goal, statistics.median(of) / UNITS[row.unit], row.unit)
    to = figures[goal.to]
    if goal.best:
        of, to = [min(of)], [min(to)]
    if goal.at_most_over is not None:
        reached = statistics.median(map(operator.sub, of, to)) / UNITS[row.unit]
        wanted = f"at most {goal.at_most_over:g} {row.unit} over"
        return Verdict(goal, reached, wanted, reached <= goal.at_most_over)
    return _judged(goal, statistics.median(map(operator.truediv, of, to)), "x")


def _judged(goal: Goal, reached: float, unit: str) -> Verdict:
    if goal.at_least is not None:
        wanted = f"at least {goal.at_least:,g} {unit}"
        return Verdict(goal, reached, wanted, reached >= goal.at_least)
    if goal.at_most is None:
        return Verdict(goal, reached, "", True)
    return Verdict(goal, reached, f"at most {goal.at_most:,g} {unit}", reached <= goal.at_most)


def lines(row: Row, figures: Figures) -> list[str]:
    """Lay a row out: a line for each piece with median and quartiles, and one for each goal."""
    laid_out = [f"{row.name} ({row.unit})"]
    for piece in row.pieces:
        taken = [figure / UNITS[row.unit] for figure in figures[piece.label]]
        low, high = _quartiles(taken)
        median = _number(statistics.median(taken))
        laid_out.append(f"  {piece.label:<36} {median:>10}   {_number(low)} to {_number(high)}")
    for verdict in verdicts(row, figures):
        goal = verdict.goal
        compared = f"{goal.of} to {goal.to}" if goal.to else goal.of
        judged = verdict.words(f", goal {verdict.wanted}: met", f", goal {verdict.wanted}: NOT MET")
        laid_out.append(f"    {compared}: {verdict.reached:,.2f}{judged}")
    return laid_out


def markdown(row: Row, figures: Figures) -> list[str]:
    """Give a row's lines of the table in docs/performance.md."""
    unit = UNITS[row.unit]

    def described(label: str | None) -> str:
        if label is None:
            return ""
        taken = [figure / unit for figure in figures[label]]
        low, high = map(_number, _quartiles(taken))
        return f"{label}: {_number(statistics.median(taken))} {row.unit} ({low} to {high})"

    return [
        f"| {row.name} | {described(verdict.goal.of)} | {described(verdict.goal.to)} "
        f"| {verdict.reached:,.2f} | {verdict.wanted} | {verdict.words('met', '**not met**')} |"
        for verdict in verdicts(row, figures)
    ]


def as_json(row: Row, figures: Figures) -> dict[str, object]:
    """Give a row with its figures in seconds, bytes and numbers per second, and its verdicts."""
    return {
        "row": row.name,
        "figures": {label: list(taken) for label, taken in figures.items()},
        "goals": [
            {
                "of": verdict.goal.of,
                "to": verdict.goal.to,
                "reached": verdict.reached,
                "wanted": verdict.wanted,
                "met": verdict.met,
            }
            for verdict in verdicts(row, figures)
        ],
    }


def _number(figure: float) -> str:
    """Three digits and more, as many as tell figures apart."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _quartiles(taken: Sequence[float]) -> tuple[float, float]:
    if len(taken) < 2:
        return taken[0], taken[0]
    low, _, high = statistics.quantiles(taken, n=4, method="inclusive")
    return low, high
