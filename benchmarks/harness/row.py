"""A row of the benchmark: a piece of work, who does it, and how they are to compare.

A row is data. The driver reads what it is called and what its goals are; the workers, each in the
virtual environment of its peer, call the piece that is theirs. So a module of rows is imported in
every environment, and imports at its top nothing that only some of them have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Units of figures, which are kept in seconds, bytes and numbers per second.
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "MB": 1e6, "/s": 1.0}

Measure = Callable[[], float]
"""Does the work once and returns the figure of this turn."""


class Storage(NamedTuple):
    """An emulator, for its Object Storage.

    Attributes:
        tracking_uri: Its tracking URI.
        endpoint: Its address.
        config_file: An OCI configuration file with one of its users.
        profile: The profile in there.
        bucket: ``oci://<bucket>@<namespace>``, where it keeps artifacts.
    """

    tracking_uri: str
    endpoint: str
    config_file: str
    profile: str
    bucket: str


class Stage(NamedTuple):
    """What pieces of work find around them.

    Attributes:
        instant: Address of the loopback server that answers at once, ``http://host:port``.
        slow: Address of the one that answers 20 ms later.
        folder: A folder for files, which goes when the benchmark ends.
        config_file: An OCI configuration file whose default profile has an API key.
        quick: Whether less is to be done than the row says.
        storage: An emulator; None unless a row asks for it, as the next.
        slow_storage: One that puts an object 20 ms later.
    """

    instant: str
    slow: str
    folder: str
    config_file: str
    quick: bool
    storage: Storage | None = None
    slow_storage: Storage | None = None


@dataclass(frozen=True)
class Piece:
    """One way to do a row's work.

    Args:
        label: Its name in the table.
        peer: Whose worker does it, a name of ``harness/peer.py``.
        prepare: Called once in the worker; what it returns is called for every turn.
    """

    label: str
    peer: str
    prepare: Callable[[Stage], Measure]


@dataclass(frozen=True)
class Goal:
    """What two figures of a row must be to each other, or what one of them must be.

    Without any limit the ratio is only shown.

    Args:
        of: Label of the piece that is judged.
        to: Label of the piece that it is compared with; None if the figure itself is judged, in the
            row's unit.
        at_most: The largest ratio or figure that is good, or None.
        at_least: The smallest ratio or figure that is good, or None.
        at_most_over: How much more the figure may be, in the row's unit, or None.
        best: Whether the best turns are compared, not the turns one by one: for a difference that
            is small beside what two turns of the same differ by.
    """

    of: str
    to: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    at_most_over: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        name: What is done.
        unit: A key of ``UNITS``.
        pieces: Who does it; they take turns.
        goals: What is to come out.
        turns: How many turns everybody has.
        quick_turns: The same for a quick run.
        emulator: Whether the row needs the emulators.
        starts_anew: Whether each turn is in a process of its own, so that the first one is as good
            as the others.
    """

    name: str
    unit: str
    pieces: Sequence[Piece]
    goals: Sequence[Goal]
    turns: int = 21
    quick_turns: int = 5
    emulator: bool = False
    starts_anew: bool = False


def per_call(call: Callable[[], object], count: int) -> Measure:
    """Measure a call that takes too little time to be measured alone.

    Args:
        call: The call.
        count: How often it is made in one turn.

    Returns:
        What gives the seconds that one call took, in the mean over a turn.
    """

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - started) / count

    return measure
