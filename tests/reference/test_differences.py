"""The documented differences are those there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mlflow.entities import Metric, Param, RunTag

from .call import Experiment, Run, call
from .differences import DIFFERENCES, REPRESENTATION, Difference, Example, summary
from .histories import OPENING
from .pair import Pair

DOCUMENT = Path(__file__).parents[2] / "docs" / "semantics.md"
EXAMPLES = [
    pytest.param(difference, example, id=f"{difference.name} {number}")
    for difference in DIFFERENCES
    for number, example in enumerate(difference.examples)
]


@pytest.mark.parametrize(("difference", "example"), EXAMPLES)
def test_the_example_differs_as_listed(
    pair: Pair, difference: Difference, example: Example
) -> None:
    for opening in OPENING:
        pair.check(opening)
    expected, actual = pair.ask(example.call)
    assert actual != expected
    assert (summary(expected), summary(actual)) == (example.reference, example.ours)


def test_the_document_lists_these_differences_and_no_others() -> None:
    rows = re.findall(r"^\| ([^|]+?) +\|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    listed = [row for row in rows if row != "Difference" and set(row) != {"-"}]
    assert listed == [*REPRESENTATION, *(difference.name for difference in DIFFERENCES)]


def test_a_name_that_was_looked_up_in_vain_is_created_or_found(pair: Pair) -> None:
    pair.check(call("create_experiment", name="mine"))
    pair.check(call("get_experiment_by_name", experiment_name="theirs"))
    pair.check(call("rename_experiment", experiment_id=Experiment(0), new_name="theirs"))
    expected, actual = pair.ask(call("create_experiment", name="theirs"))
    assert (expected, actual) == ("raised RESOURCE_ALREADY_EXISTS", "experiment 0")


def test_a_large_batch_is_logged_as_several_smaller_ones(pair: Pair) -> None:
    """The reference takes in several calls what ours takes in one."""
    for opening in OPENING:
        pair.check(opening)
    metrics = [Metric("m", float(n), n, n) for n in range(1500)]
    params = [Param(f"p{n}", "v") for n in range(150)]
    tags = [RunTag(f"t{n}", "v") for n in range(150)]
    pair.ask_ours(call("log_batch", run_id=Run(0), metrics=metrics, params=params, tags=tags))
    for n in range(3):
        part = slice(500 * n, 500 * (n + 1)), slice(50 * n, 50 * (n + 1))
        pair.ask_reference(
            call(
                "log_batch",
                run_id=Run(0),
                metrics=metrics[part[0]],
                params=params[part[1]],
                tags=tags[part[1]],
            )
        )
    pair.check(call("get_run", run_id=Run(0)))
    pair.check(call("get_metric_history", run_id=Run(0), metric_key="m"))
