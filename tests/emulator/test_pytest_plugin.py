"""The fixture in a project of its own, as its users have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TWO_TESTS = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_emulator(aidp_emulator, number):
    assert aidp_emulator.tracking_uri.startswith("oci-dp://ocid1.aidataplatform.")
    assert aidp_emulator.audit() == []
"""


def pytest_in(folder: Path) -> tuple[int, str]:
    # Without other plugins, which may import what they like.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "mlflow_oci_store.pytest_plugin"],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_each_test_gets_a_fresh_emulator(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TWO_TESTS)
    code, output = pytest_in(tmp_path)
    assert (code, "2 passed" in output) == (0, True), output


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TWO_TESTS)
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['trustme'] = None\n")
    code, output = pytest_in(tmp_path)
    assert code == 1
    assert "needs trustme: run pip install 'mlflow-oci-store[emulator]'" in output


def test_the_plugin_imports_nothing_before_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import sys\n"
        "def test_mine():\n"
        "    heavy = {'mlflow', 'oci', 'cryptography', 'sqlalchemy', 'jwt', 'trustme',\n"
        "             'mlflow_oci_store.emulator'}\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    code, output = pytest_in(tmp_path)
    assert code == 0, output
