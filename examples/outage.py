"""A training that the service's outage does not stop, and whose points no crash takes away.

    python examples/outage.py

The service is the embedded emulator. It is stopped while examples/long_training.py runs; the
training goes on, and is then killed without warning. When the service is back, one command sends
what is missing.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient

from mlflow_oci_store.emulator import AidpEmulator

TRAINING = Path(__file__).with_name("long_training.py")
COMMAND = Path(sys.executable).with_name("mlflow-oci-store")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_OCI_DP_OUTBOX_DIR"] = f"{folder}/outbox"
        data = Path(folder, "service")
        with AidpEmulator(data) as emulator:
            os.environ["MLFLOW_TRACKING_URI"] = emulator.tracking_uri
            port = urlsplit(emulator.endpoint).port or 0
            training = subprocess.Popen(
                [sys.executable, str(TRAINING), "100000"], stdout=subprocess.PIPE, text=True
            )
            assert training.stdout is not None
            run_id = training.stdout.readline().strip()
            steps(training, until=500)
            print("500 steps are logged. Now the service stops.")
        logged = steps(training, until=1500)
        training.kill()
        logged = max([logged, *(int(line) for line in training.stdout if line.endswith("\n"))])
        training.wait()
        print(f"The training went on to step {logged}. Now it is killed.")
        outbox("status")
        with AidpEmulator(data, port=port):
            print("The service is back.")
            outbox("flush")
            points = MlflowClient().get_metric_history(run_id, "loss")
            there = {point.step for point in points}
            missing = set(range(logged)) - there
            print(f"{len(points)} points arrived, {len(points) - len(there)} of them twice;")
            print(f"of the {logged} logged ones {len(missing)} are missing.")


def steps(training: "subprocess.Popen[str]", until: int) -> int:
    """Watch the training until it has logged so many steps."""
    assert training.stdout is not None
    for line in training.stdout:
        if int(line) >= until:
            return int(line)
    raise SystemExit("The training ended early.")


def outbox(command: str) -> None:
    """Run ``mlflow-oci-store outbox``; its exit code says whether something is left."""
    subprocess.run([COMMAND, "outbox", command], check=False)


if __name__ == "__main__":
    main()
