"""An ordinary MLflow script that logs at every step, asynchronously.

    MLFLOW_TRACKING_URI=... python long_training.py STEPS

It prints the run's id and, as it goes, how many steps it has logged.
"""

import sys
import time

import mlflow

mlflow.config.enable_async_logging()
mlflow.set_experiment("long training")
with mlflow.start_run() as run:
    print(run.info.run_id, flush=True)
    for step in range(int(sys.argv[1])):
        mlflow.log_metric("loss", 1 / (1 + step), step=step)
        print(step + 1, flush=True)
        time.sleep(0.001)
