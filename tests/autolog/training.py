"""A training script that ran, and what it left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .programs import run_script
from .record import Record, record_of


class Training(NamedTuple):
    """A training script that ran.

    Attributes:
        tracking_uri: Where it logged to, and nothing else did.
        predictions: What it printed.
        record: What it left there.
    """

    tracking_uri: str
    predictions: Any
    record: Record

    @classmethod
    def by(cls, script: str, tracking_uri: str, folder: Path) -> Training:
        """Run a training script in a folder."""
        predictions = run_script(script, tracking_uri, folder)
        return cls(tracking_uri, predictions, record_of(tracking_uri))
