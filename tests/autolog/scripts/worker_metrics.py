"""Workers of joblib or Spark log to the program's run, and wait for nothing.

python worker_metrics.py joblib|spark
"""

import json
import os
import sys
from collections.abc import Callable

import joblib
import mlflow
from pyspark.sql import SparkSession

WORKERS, EACH = 2, 200


def log(run_id: str, worker: int) -> None:
    client = mlflow.MlflowClient()
    for step in range(EACH):
        client.log_metric(run_id, f"worker-{worker}", step / 7, step=step, synchronous=False)


def in_joblib(run_id: str) -> None:
    joblib.Parallel(n_jobs=WORKERS)(joblib.delayed(log)(run_id, it) for it in range(WORKERS))


def in_spark(run_id: str) -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master(f"local[{WORKERS}]")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.parallelize(range(WORKERS), WORKERS).foreach(lambda it: log(run_id, it))
    spark.stop()


WAYS: dict[str, Callable[[str], None]] = {"joblib": in_joblib, "spark": in_spark}

if __name__ == "__main__":
    mlflow.set_experiment("workers")
    with mlflow.start_run() as run:
        WAYS[sys.argv[1]](run.info.run_id)
    print(json.dumps({"run_id": run.info.run_id, "workers": WORKERS, "each": EACH}))
