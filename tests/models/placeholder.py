"""What stands for a model in a history, whose id each store chooses for itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """The ``number``-th model that the history made; beyond the last, one that never was."""

    number: int
