"""Where logged models kept in tags differ from those of MLflow's SQL store on purpose.

docs/models.md lists the same names with the reason for each, and nothing else may differ.
"""

from __future__ import annotations

from typing import Any

from mlflow.entities import (
    LoggedModelOutput,
    LoggedModelParameter,
    Metric,
)
from reference.call import Call, Experiment, Run, call
from reference.differences import (
    BAD_REQUEST,
    INVALID,
    MISSING,
    RETURNED,
    Difference,
    Example,
)

from .placeholder import Model

# What pair.py makes equal on both sides; these need no examples.
REPRESENTATION = ("model ids", "artifact locations", "absent metrics", "order")


def is_listed(call: Call, expected: Any, actual: Any) -> bool:
    """Whether a difference of outcomes is one of the list."""
    return any(each.in_histories(call, expected, actual) for each in DIFFERENCES)


def _outputs(step: int) -> Call:
    return call("log_outputs", run_id=Run(0), models=[LoggedModelOutput(Model(0), step)])


def _params(value: str) -> Call:
    params = [LoggedModelParameter("depth", value)]
    return call("log_logged_model_params", model_id=Model(1), params=params)


def _metric(model: Model, value: float) -> Call:
    return call("log_metric", run_id=Run(0), metric=Metric("m", value, 1, 1, model))


DIFFERENCES = (
    Difference(
        "logged twice",
        (
            Example(_outputs(0), BAD_REQUEST, RETURNED),
            Example(_outputs(1), BAD_REQUEST, RETURNED),
            Example(_params("3"), BAD_REQUEST, RETURNED),
            Example(_params("4"), BAD_REQUEST, INVALID),
        ),
        lambda call, expected, actual: expected == BAD_REQUEST and actual in (INVALID, [None]),
    ),
    Difference("unknown models", (Example(_metric(Model(9), 1.0), BAD_REQUEST, MISSING),)),
    Difference(
        "missing arguments",
        (
            Example(call("get_logged_model", model_id=""), MISSING, INVALID),
            Example(call("create_logged_model", experiment_id=None), MISSING, INVALID),
        ),
    ),
    Difference(
        "ids that cannot be",
        (
            Example(
                call("search_logged_models", experiment_ids=["abc", Experiment(0)]),
                INVALID,
                RETURNED,
            ),
        ),
    ),
)
