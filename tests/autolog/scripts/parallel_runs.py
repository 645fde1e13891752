"""Runs side by side in one program: threads, joblib, or multiprocessing's fork or spawn.

python parallel_runs.py threads|joblib|fork|spawn
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import joblib
import mlflow
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

ALPHAS = (0.1, 1.0, 10.0)

# Left to itself, MLflow loads each model in a further process to see what it imports, and waits so
# many seconds for it.
os.environ["MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"] = "1"


def sample() -> pd.DataFrame:
    return load_diabetes(as_frame=True).data.head(4)


def train_and_autolog(alpha: float) -> tuple[str, list[float]]:
    mlflow.sklearn.autolog()
    features, target = load_diabetes(return_X_y=True, as_frame=True)
    with mlflow.start_run(run_name=f"ridge-{alpha}"):
        for step in range(5):
            mlflow.log_metric("alpha_by_step", alpha * step, step=step)
        model = Ridge(alpha=alpha).fit(features, target)
    return f"ridge-{alpha}", model.predict(sample()).tolist()


def train_and_log(alpha: float) -> tuple[str, list[float]]:
    """For threads: MLflow's autologging follows one training at a time in a process."""
    features, target = load_diabetes(return_X_y=True, as_frame=True)
    with mlflow.start_run(run_name=f"ridge-{alpha}"):
        mlflow.log_param("alpha", alpha)
        for step in range(5):
            mlflow.log_metric("alpha_by_step", alpha * step, step=step)
        model = Ridge(alpha=alpha).fit(features, target)
        requirements = ["scikit-learn"]
        mlflow.sklearn.log_model(
            model, name="model", params={"alpha": alpha}, pip_requirements=requirements
        )
    return f"ridge-{alpha}", model.predict(sample()).tolist()


def in_threads() -> Iterable[tuple[str, list[float]]]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(train_and_log, ALPHAS))


def in_joblib() -> Iterable[tuple[str, list[float]]]:
    return joblib.Parallel(n_jobs=2)(joblib.delayed(train_and_autolog)(it) for it in ALPHAS)


def in_processes() -> Iterable[tuple[str, list[float]]]:
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        return pool.map(train_and_autolog, ALPHAS, chunksize=1)


WAYS: dict[str, Callable[[], Iterable[tuple[str, list[float]]]]] = {
    "threads": in_threads,
    "joblib": in_joblib,
    "fork": in_processes,
    "spawn": in_processes,
}

if __name__ == "__main__":
    mlflow.set_experiment("parallel-runs")
    print(json.dumps(dict(WAYS[sys.argv[1]]())))
