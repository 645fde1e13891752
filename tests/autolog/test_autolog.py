"""Unmodified training scripts, one for each framework: what they leave at the service is what they
leave at MLflow's own store, and their models come back in other processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .predictions import about, flat
from .programs import needs_java
from .training import Training

SCRIPTS = (
    "sklearn_estimator",
    "sklearn_pipeline",
    "sklearn_grid_search",
    "xgboost_train",
    "lightgbm_train",
    "statsmodels_ols",
    "keras_fit",
    "lightning_fit",
    "transformers_trainer",
    "spark_ml",
    "pyfunc_evaluate",
)

NEEDS = {"spark_ml": [needs_java]}

pytestmark = [
    pytest.mark.autolog,
    pytest.mark.timeout(900),
    # One worker for each script, so that it is trained once at MLflow's store.
    pytest.mark.parametrize(
        "script",
        [
            pytest.param(it, marks=[pytest.mark.xdist_group(it), *NEEDS.get(it, ())])
            for it in SCRIPTS
        ],
    ),
]


def test_the_service_holds_what_mlflow_would(
    script: str, mode: str, train: Callable[[str, str], Training]
) -> None:
    reference, training = train(script, "mlflow"), train(script, mode)
    expected, found = reference.record, training.record
    assert found.runs == expected.runs
    assert found.models == expected.models
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-3, nan_ok=True)
    assert flat(training.predictions) == about(reference.predictions)


def test_models_predict_in_another_process(
    script: str,
    mode: str,
    train: Callable[[str, str], Training],
    load: Callable[[str, str], dict[str, Any]],
) -> None:
    expected = about(train(script, mode).predictions)
    for uri, predictions in load(script, mode).items():
        assert flat(predictions) == expected, uri
