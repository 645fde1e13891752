"""Unmodified training scripts, one for each framework: what they leave at the service is what they
leave at MLflow's own store, and their models come back in other processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from .predictions import about, flat
from .programs import Training, load_models
from .record import models_of, record_of, runs_of

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

NEEDS = {"spark_ml": [pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java 17")]}

pytestmark = [
    pytest.mark.autolog,
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
    expected, found = record_of(reference.tracking_uri), record_of(training.tracking_uri)
    assert found.runs == expected.runs
    assert found.models == expected.models
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-3, nan_ok=True)
    assert flat(training.predictions) == about(reference.predictions)


def test_models_predict_in_another_process(
    script: str,
    mode: str,
    train: Callable[[str, str], Training],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = train(script, mode)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", training.tracking_uri)
    client = MlflowClient()
    name = f"{script}-{mode}"
    uris = list(model_uris(client))
    version = mlflow.register_model(uris[0], name)
    client.set_registered_model_alias(name, "champion", version.version)
    uris.append(f"models:/{name}@champion")

    loaded = load_models(script, training.tracking_uri, tmp_path, uris)

    assert loaded.keys() == set(uris)
    for uri, predictions in loaded.items():
        assert flat(predictions) == about(training.predictions), uri


def model_uris(client: MlflowClient) -> Iterator[str]:
    """Every URI that the server's models have without a registry."""
    models = models_of(client)
    for model in models:
        yield f"models:/{model.model_id}"
        yield f"runs:/{model.source_run_id}/{model.name}"
    if not models:
        # Spark's flavor logs as MLflow 2 did: the model is but a folder of its run.
        (run,) = runs_of(client)
        yield f"runs:/{run.info.run_id}/model"
