"""Predictions, compared whatever their shape: a flavor that is loaded with pyfunc may answer with a
list, an array or a data frame where the framework itself answers with another of these."""

from __future__ import annotations

from typing import Any

import pytest


def flat(predictions: list[Any]) -> list[Any]:
    """The single values of predictions, however they are nested."""
    if not isinstance(predictions, list):
        return [predictions]
    return [value for part in predictions for value in flat(part)]


def about(predictions: list[Any]) -> list[Any]:
    """What equals the single values of predictions but for roundings."""
    numbers_and_labels = flat(predictions)
    return [it if isinstance(it, str) else pytest.approx(it, rel=1e-3) for it in numbers_and_labels]
