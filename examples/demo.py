"""The whole story on one machine: start the service, train, predict, read back with Oracle's SDK.

    python examples/demo.py        (or: make demo)

The service is the embedded emulator; its data stays in ``.demo`` so that it can be looked at
afterwards. Training and predicting are processes that know nothing but MLFLOW_TRACKING_URI.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from mlflow_oci_store.emulator import AidpEmulator

EXAMPLES = Path(__file__).parent
DATA = Path(os.environ.get("DEMO_DATA", ".demo"))


def main() -> None:
    step(f"Starting AI Data Platform's emulator (data in {DATA})")
    with AidpEmulator(DATA) as emulator:
        print(f"export MLFLOW_TRACKING_URI='{emulator.tracking_uri}'")

        step("Training with examples/train.py, an unmodified MLflow script")
        environment = {**os.environ, "MLFLOW_TRACKING_URI": emulator.tracking_uri}
        python("train.py", environment=environment)

        step("Loading the champion in a fresh process with examples/predict.py")
        python("predict.py", environment=environment)

        step("Reading runs and model back with Oracle's own SDK")
        python(
            "read_back.py",
            *("--config-file", emulator.config_file, "--profile", emulator.profile),
            *("--endpoint", emulator.endpoint, "--platform", emulator.platform_id),
            *("--workspace", emulator.workspace_key),
            *("--experiment", "breast-cancer", "--model", "breast-cancer"),
        )

        applied = [record.operation for record in emulator.audit()]
        step(f"The service applied {len(applied)} signed changes")
        for operation in sorted(set(applied)):
            print(f"{applied.count(operation):>6}  {operation}")

    step("Go on from here")
    command = Path(sys.executable).with_name("mlflow-oci-store")
    print(f"Keep the service running:  {command} emulator --data {DATA}")
    print("It prints the `export` line to paste before your own training script.")


def python(script: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments], env=environment, check=True
    )


def step(title: str) -> None:
    print(f"\n--- {time.strftime('%H:%M:%S')} {title}", flush=True)


if __name__ == "__main__":
    main()
