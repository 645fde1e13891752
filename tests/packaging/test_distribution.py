"""The wheel, alone in a new environment, with the lowest and the newest of what it depends on."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mlflow_oci_store import __version__
from mlflow_oci_store.emulator import AidpEmulator

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
JOURNEY = Path(__file__).with_name("journey.py")


def lowest() -> list[str]:
    """The lower bound of every requirement, as pyproject.toml declares it."""
    requirements = [Requirement(text) for text in requires("mlflow-oci-store") or ()]
    return [
        f"{requirement.name}=={bound.version}"
        for requirement in requirements
        if requirement.marker is None
        for bound in requirement.specifier
        if bound.operator == ">="
    ]


LOWEST = lowest()
NEWEST = ["mlflow-skinny<4"]


def run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    return folder


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_and_sdist_pass_the_index_check(distributions: Path) -> None:
    files = sorted(str(path) for path in distributions.iterdir())
    assert len(files) == 2
    run(sys.executable, "-m", "twine", "check", "--strict", *files)


def test_distributions_hold_what_users_need(distributions: Path) -> None:
    with zipfile.ZipFile(wheel_in(distributions)) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(f"mlflow_oci_store-{__version__}.dist-info/METADATA").decode()
    assert "mlflow_oci_store/py.typed" in names
    assert "mlflow_oci_store/emulator/api.json" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    assert "License-Expression: Apache-2.0" in metadata
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert f"mlflow_oci_store-{__version__}/LICENSE" in archive.getnames()


@pytest.mark.parametrize("requirements", [LOWEST, NEWEST], ids=["lowest", "newest"])
def test_a_script_runs_with_the_wheel_alone(
    requirements: list[str], distributions: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment)
    python = str(environment / "bin" / "python")
    # Compiling all modules of oci, of which few are imported, would take a minute.
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    run(*pip, str(wheel_in(distributions)), *requirements)

    with AidpEmulator() as emulator:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "COV"))}
        output = run(
            python,
            *("-W", "ignore", str(JOURNEY)),
            env={**inherited, "MLFLOW_TRACKING_URI": emulator.tracking_uri},
            cwd=tmp_path,
        )
        audit = emulator.audit()

    seen = json.loads(output.splitlines()[-1])
    version = seen.pop("mlflow")
    assert requirements is NEWEST or f"mlflow-skinny=={version}".startswith(requirements[0])
    assert seen == {
        "loaded_at_import": [],
        "status": "FINISHED",
        "params": 150,
        "metrics": 42,
        "later": 3.0,
        "note": "größer",
        "datasets": ["table"],
        "history": 20,
        "children": ["child"],
        "artifacts": ["greeting.txt"],
        "models": {"catalog.schema.model": {"champion": "1"}, "copy": {}},
        "copied": "models:/catalog.schema.model/1",
        "refused": "RESOURCE_DOES_NOT_EXIST",
    }
    tokens = [record.retry_token for record in audit]
    assert len(set(tokens)) == len(tokens)
    assert all(tokens)
