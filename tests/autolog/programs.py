"""The programs that the suite runs: training scripts, and the one that loads what they logged.

Each is a process of its own that knows nothing but MLFLOW_TRACKING_URI. Its last line of output is
JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
# What would tell a program more than MLFLOW_TRACKING_URI does.
_TELLTALE = ("MLFLOW", "OCI", "AIDP")


class Training(NamedTuple):
    """A training script that ran.

    Attributes:
        tracking_uri: Where it logged to, and nothing else did.
        predictions: What it printed.
    """

    tracking_uri: str
    predictions: Any


def run_script(name: str, tracking_uri: str, folder: Path, *arguments: str) -> Training:
    """Run a training script in a folder."""
    script = HERE / "scripts" / f"{name}.py"
    return Training(tracking_uri, _run(tracking_uri, folder, script, *arguments))


def load_models(script: str, tracking_uri: str, folder: Path, uris: list[str]) -> dict[str, Any]:
    """Load models in a new process; give their predictions for the script's sample, by URI."""
    arguments = (HERE / "load.py", HERE / "scripts" / f"{script}.py", *uris)
    predictions: dict[str, Any] = _run(tracking_uri, folder, *arguments)
    return predictions


def _run(tracking_uri: str, folder: Path, *command: str | Path) -> Any:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_TELLTALE)}
    done = subprocess.run(
        [sys.executable, *command],
        env={**environment, "MLFLOW_TRACKING_URI": tracking_uri},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
