"""Where the store differs from MLflow's SQL store on purpose.

docs/semantics.md lists the same names with the reason for each, and nothing else may differ. Every
difference has examples, which hold it to what the document says. What changes no state may also
turn up in a generated history, and is recognised there; the generators leave the rest alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlflow.entities import ExperimentTag, Metric, Param, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_USER

from .call import Call, Experiment, Run, call

RETURNED = "returned"
INVALID = "raised INVALID_PARAMETER_VALUE"
MISSING = "raised RESOURCE_DOES_NOT_EXIST"
EXISTS = "raised RESOURCE_ALREADY_EXISTS"
BAD_REQUEST = "raised BAD_REQUEST"
INTERNAL = "raised INTERNAL_ERROR"

# What canonical.py and pair.py make equal on both sides; these need no examples.
REPRESENTATION = (
    "experiment ids",
    "artifact roots",
    "default experiment",
    "page tokens",
    "absent inputs and outputs",
)


@dataclass(frozen=True)
class Example:
    """A call after the opening of a history, with what the reference and what ours make of it."""

    call: Call
    reference: str
    ours: str


@dataclass(frozen=True)
class Difference:
    """One row of the table.

    Args:
        name: Its name there.
        examples: Calls that show it.
        in_histories: Recognises it by call, reference outcome and our outcome.
    """

    name: str
    examples: tuple[Example, ...]
    in_histories: Callable[[Call, Any, Any], bool] = lambda call, expected, actual: False


def as_the_service_takes_it(call: Call) -> Call:
    """Rewrite a call for the reference, so that it means what it means on the service.

    The service has no field for a run's user. It travels as the tag ``mlflow.user``.
    """
    if call.method != "create_run":
        return call
    tags = list(call.arguments["tags"] or [])
    tagged = [tag.value for tag in tags if tag.key == MLFLOW_USER]
    user = tagged[0] if tagged else call.arguments["user_id"]
    if not tagged and user and user != "unknown":
        tags.append(RunTag(MLFLOW_USER, user))
    return Call("create_run", {**call.arguments, "user_id": user, "tags": tags})


def is_listed(call: Call, expected: Any, actual: Any) -> bool:
    """Whether a difference of outcomes is one of the list."""
    return any(each.in_histories(call, expected, actual) for each in DIFFERENCES)


def summary(outcome: Any) -> str:
    """Say in a word what came out of a call."""
    raised = isinstance(outcome, str) and outcome.startswith("raised ")
    return outcome if raised else RETURNED


def _new_run(**changed: Any) -> Call:
    usual = {
        "experiment_id": Experiment(0),
        "user_id": "ada",
        "start_time": 1,
        "tags": [],
        "run_name": None,
    }
    return Call("create_run", {**usual, **changed})


def _metric(*arguments: Any, **more: Any) -> Call:
    return call("log_metric", run_id=Run(0), metric=Metric(*arguments, **more))


def _search(**changed: Any) -> Call:
    usual = {
        "experiment_ids": [Experiment(0)],
        "filter_string": None,
        "run_view_type": ViewType.ACTIVE_ONLY,
    }
    return Call("search_runs", {**usual, **changed})


def _batch(**lists: list[Any]) -> Call:
    return Call("log_batch", {"run_id": Run(0), "metrics": [], "params": [], "tags": [], **lists})


def _is_empty_batch(call: Call) -> bool:
    return call.method == "log_batch" and not any(
        call.arguments[kind] for kind in ("metrics", "params", "tags")
    )


DIFFERENCES = (
    Difference(
        "ids that cannot be",
        (
            Example(call("get_experiment", experiment_id="abc"), INVALID, MISSING),
            Example(call("delete_experiment", experiment_id="1.0"), INVALID, MISSING),
            Example(_search(experiment_ids=["abc"]), INVALID, RETURNED),
        ),
    ),
    Difference(
        "missing arguments",
        (
            Example(call("get_experiment", experiment_id=None), MISSING, INVALID),
            Example(call("get_experiment_by_name", experiment_name=""), RETURNED, INVALID),
            Example(call("get_run", run_id=""), MISSING, INVALID),
            Example(call("delete_tag", run_id=Run(0), key=None), MISSING, INVALID),
            Example(call("get_metric_history", run_id=Run(0), metric_key=None), RETURNED, INVALID),
        ),
    ),
    Difference("unknown user", (Example(_new_run(user_id="unknown"), RETURNED, RETURNED),)),
    Difference("start time", (Example(_new_run(start_time=None), INTERNAL, RETURNED),)),
    Difference(
        "tags of a new run",
        (
            Example(_new_run(tags=[RunTag("", "v")]), RETURNED, INVALID),
            Example(_new_run(tags=[RunTag("k" * 251, "v")]), RETURNED, INVALID),
            Example(_new_run(tags=[RunTag("k", "v" * 8001)]), RETURNED, RETURNED),
        ),
    ),
    Difference(
        "null values",
        (
            Example(_batch(tags=[RunTag("k", None)]), RETURNED, INVALID),
            Example(_new_run(tags=[RunTag("k", None)]), RETURNED, INVALID),
            Example(
                call("create_experiment", name="n", tags=[ExperimentTag("k", None)]),
                RETURNED,
                INVALID,
            ),
        ),
    ),
    Difference(
        "constraints of the database",
        (
            Example(
                call("rename_experiment", experiment_id=Experiment(0), new_name="second"),
                BAD_REQUEST,
                INVALID,
            ),
            Example(_new_run(tags=[RunTag("k", "1"), RunTag("k", "2")]), BAD_REQUEST, INVALID),
            Example(_batch(params=[Param("p", None)]), BAD_REQUEST, INVALID),
        ),
        lambda call, expected, actual: (expected, actual) == (BAD_REQUEST, INVALID),
    ),
    Difference(
        "values of another type",
        (
            Example(_metric("m", 1.0, 1, 2**63), INTERNAL, INVALID),
            Example(_metric("m", 10**400, 1, 1), "raised OverflowError", INVALID),
            Example(_metric("m", 1.0, 1.5, 1), RETURNED, INVALID),
            Example(
                # Two values in Python, one in the database.
                _batch(metrics=[Metric("m", 2**53 + 1, 1, 1), Metric("m", float(2**53), 1, 1)]),
                BAD_REQUEST,
                RETURNED,
            ),
            Example(_metric("m", 1.0, 1, float("inf")), RETURNED, INVALID),
            Example(call("set_tag", run_id=Run(0), tag=RunTag("k", "\ud800")), INTERNAL, INVALID),
            Example(
                call("set_tag", run_id=Run(0), tag=RunTag("k", 5)), INTERNAL, "raised TypeError"
            ),
            Example(_new_run(run_name=5), RETURNED, INVALID),
            Example(_search(max_results=5.5), RETURNED, INVALID),
        ),
    ),
    Difference(
        "unknown numbers",
        (
            Example(_search(run_view_type=0), RETURNED, INVALID),
            Example(
                call("get_metric_history", run_id=Run(0), metric_key="m", max_results=0),
                RETURNED,
                INVALID,
            ),
            Example(
                call("update_run_info", run_id=Run(0), run_status=99, end_time=None, run_name=None),
                INTERNAL,
                INVALID,
            ),
        ),
    ),
    Difference(
        "page size left open",
        (Example(call("search_experiments", max_results=None), INVALID, RETURNED),),
    ),
    Difference(
        "empty batches",
        (
            Example(
                Call("log_batch", {"run_id": Run(9), "metrics": [], "params": [], "tags": []}),
                MISSING,
                RETURNED,
            ),
        ),
        lambda call, expected, actual: _is_empty_batch(call) and actual == [None],
    ),
    Difference(
        "large batches",
        (
            Example(
                _batch(metrics=[Metric("m", float(n), n, n) for n in range(1001)]),
                INVALID,
                RETURNED,
            ),
            Example(_batch(params=[Param(f"p{n}", "v") for n in range(101)]), INVALID, RETURNED),
        ),
    ),
    Difference(
        "get or create",
        (),
        lambda call, expected, actual: (
            call.method == "create_experiment"
            and expected == EXISTS
            and actual.startswith("experiment ")
        ),
    ),
)
