"""Waiting for what comes at its own time, instead of sleeping for as long as it mostly takes."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST_SECONDS = 60.0


def eventually(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds."""
    give_up_at = time.monotonic() + _MOST_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, "it never came to that"
        time.sleep(0.005)
