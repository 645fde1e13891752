"""The programs that the suite runs: training scripts, and the one that loads what they logged.

Each is a process of its own. The scripts know nothing but MLFLOW_TRACKING_URI, the other is told
where to look. The last line of output is JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# Who has no Java may do without Spark, but CI must not pass without having tried it.
needs_java = pytest.mark.skipif(
    not shutil.which("java") and "CI" not in os.environ, reason="Spark needs Java 17 or newer"
)
# What would tell a program more than MLFLOW_TRACKING_URI does, or have its frameworks' imports
# measured for coverage, which takes long and finds nothing that other tests do not.
_TELLTALE = ("MLFLOW", "OCI", "AIDP", "COVERAGE")
# Spark's Java lives for half a minute, most of which it would spend on making itself fast.
_QUICK_START = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


def run_script(name: str, tracking_uri: str, folder: Path, *arguments: str) -> Any:
    """Run a training script in a folder and give what it printed."""
    script = HERE / "scripts" / f"{name}.py"
    return _run(folder, script, *arguments, MLFLOW_TRACKING_URI=tracking_uri)


def load_models(script: str, folder: Path, uris: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Load models in a new process.

    Args:
        script: The script that trained them, for whose sample they predict.
        folder: Where the process works.
        uris: The models' URIs, by tracking URI.

    Returns:
        Their predictions, by tracking URI and URI.
    """
    arguments = (HERE / "load.py", HERE / "scripts" / f"{script}.py", json.dumps(uris))
    predictions: dict[str, dict[str, Any]] = _run(folder, *arguments)
    return predictions


def _run(folder: Path, *command: str | Path, **told: str) -> Any:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_TELLTALE)}
    done = subprocess.run(
        [sys.executable, *command],
        env={**environment, **_QUICK_START, **told},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
