"""What it costs other programs that this package is installed: next to nothing.

MLflow loads the entry points in every program that imports it, and pytest loads the fixture in
every run of every project. Each test looks at a fresh interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# Puts MLflow's entry points of this package out of sight.
WITHOUT_THE_PLUGIN = """
import importlib.metadata
installed = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **selected: [
    entry for entry in installed(**selected) if not entry.value.startswith("mlflow_oci_store")
]
"""
SCHEMES = "list(mlflow.tracking._tracking_service.utils._tracking_store_registry._registry)"


def in_a_fresh_interpreter(program: str, result: str) -> Any:
    """Run a program, in which no plugin may fail to load, and return what an expression is then."""
    finished = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport json, sys\nprint(json.dumps({result}))"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Failure attempting to register" not in finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_importing_mlflow_imports_nothing_for_the_plugin_but_its_entry_points() -> None:
    plain = set(in_a_fresh_interpreter(f"{WITHOUT_THE_PLUGIN}\nimport mlflow", "list(sys.modules)"))
    modules = set(in_a_fresh_interpreter("import mlflow", "list(sys.modules)"))

    assert not any(it.startswith("mlflow_oci_store") for it in plain)
    assert modules - plain == {"mlflow_oci_store", "mlflow_oci_store.plugin"}
    heavy = {"oci", "cryptography", "sqlalchemy", "hypothesis", "werkzeug", "jwt"}
    assert not modules & heavy


def test_making_a_store_imports_neither_the_emulator_nor_a_database() -> None:
    uri = "oci-dp://ocid1.aidataplatform.oc1.iad.aaaa/team?endpoint=http://127.0.0.1:1"
    program = f"import mlflow\nmlflow.MlflowClient({uri!r})"

    modules = set(in_a_fresh_interpreter(program, "list(sys.modules)"))

    assert "mlflow_oci_store.tracking.store" in modules
    assert not modules & {"sqlalchemy", "werkzeug", "mlflow_oci_store.emulator"}


def test_a_run_of_pytest_pays_for_the_fixture_only_when_it_asks_for_it() -> None:
    program = "import mlflow_oci_store.pytest_plugin"

    modules = set(in_a_fresh_interpreter(program, "list(sys.modules)"))

    assert not modules & {"mlflow", "oci", "requests", "mlflow_oci_store.emulator"}


@pytest.mark.parametrize(
    "first",
    [
        "mlflow_oci_store.errors",
        "mlflow_oci_store.settings",
        "mlflow_oci_store.client.data_platform",
        "mlflow_oci_store.tracking.store",
    ],
)
def test_the_scheme_is_known_whatever_is_imported_first(first: str) -> None:
    assert "oci-dp" in in_a_fresh_interpreter(f"import {first}\nimport mlflow", SCHEMES)
