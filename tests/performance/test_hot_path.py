"""The work of one call does not grow unnoticed; how long it takes is for `make bench` to say."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(__file__).with_name("call_counts.json")
MOST_GROWTH = 1.10
CHECKOUT = Path(__file__).resolve().parents[2]
HOW_TO_KEEP = "python -m tests.performance.hot_path --write"


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """The numbers in the repository, which hold for one version of Python."""
    numbers: dict[str, Any] = json.loads(KEPT.read_text())
    if not platform.python_version().startswith(f"{numbers['python']}."):
        pytest.skip(f"the kept numbers are those of Python {numbers['python']}")
    return numbers


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    """The numbers of today, from a process in which nobody else traces or profiles."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.performance.hot_path"],
        check=True,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=120,
    )
    numbers: dict[str, Any] = json.loads(finished.stdout)
    return numbers


def test_no_path_calls_ten_percent_more_functions_than_the_kept_numbers(
    kept: dict[str, Any], counted: dict[str, Any]
) -> None:
    grown = {
        path: f"{counted['counts'][path]} instead of {number}"
        for path, number in kept["counts"].items()
        if counted["counts"][path] > MOST_GROWTH * number
    }
    newer = {
        name: f"{counted['libraries'][name]} instead of {version}"
        for name, version in kept["libraries"].items()
        if counted["libraries"][name] != version
    }

    assert not grown, f"libraries that changed: {newer}; if the growth is worth it: {HOW_TO_KEEP}"


def test_every_path_is_kept(kept: dict[str, Any], counted: dict[str, Any]) -> None:
    assert set(kept["counts"]) == set(counted["counts"])
