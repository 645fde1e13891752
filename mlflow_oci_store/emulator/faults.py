"""Faults to order, so that a client's retries can be tested.

    emulator.faults.add(Fault(CloseAfter(), probability=0.2))
    emulator.faults.add(Fault(Fail(503, "ServiceUnavailable", retry_after=1), nth=3))
    emulator.faults.add(Fault(Delay(2.0), operation="log_experiment_run_batch", times=1))

``Delay``, ``Fail``, ``RateLimit`` and ``CloseBefore`` act before the service does anything, so the
operation is not applied. ``CloseAfter``, ``Truncate`` and ``Garbage`` spoil the answer to an
operation that was applied; what the service refuses anyway they spoil as well.

For the command line, the same stands in a JSON file, a list of objects:

    [{"action": "close_after", "probability": 0.2},
     {"action": "fail", "status": 503, "code": "ServiceUnavailable", "retry_after": 1, "nth": 3}]
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from mlflow_oci_store.emulator import object_storage, schema
from mlflow_oci_store.emulator.answers import Answer, ConnectionCut, Delivery, Refusal

_logger = logging.getLogger(__name__)


class Action:
    """What a fault does: something before the work, something to its answer, or nothing."""

    name: ClassVar[str]

    def before(self, released: threading.Event) -> None:
        """Act before the service does; raise to keep it from acting, wait only for ``released``."""

    def after(self, answer: Answer) -> Answer:
        """Spoil the answer."""
        return answer


@dataclass(frozen=True)
class Delay(Action):
    """Wait for some seconds, then go on."""

    seconds: float
    name: ClassVar[str] = "delay"

    def before(self, released: threading.Event) -> None:
        released.wait(self.seconds)


@dataclass(frozen=True)
class Fail(Action):
    """Answer with an error.

    ``retry_after`` is what stands in that header: seconds, or an HTTP date.
    """

    status: int
    code: str
    message: str = "This fault was ordered"
    retry_after: float | str | None = None
    name: ClassVar[str] = "fail"

    def before(self, released: threading.Event) -> None:
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        raise Refusal(self.status, self.code, self.message, headers)


@dataclass(frozen=True)
class CloseBefore(Action):
    """Close the connection before anything is done; ``reset`` closes it with a TCP reset."""

    reset: bool = False
    name: ClassVar[str] = "close_before"

    def before(self, released: threading.Event) -> None:
        raise ConnectionCut(Delivery.RESET if self.reset else Delivery.CLOSED)


@dataclass(frozen=True)
class CloseAfter(Action):
    """Do the work, commit it, and close the connection; ``reset`` closes with a TCP reset."""

    reset: bool = False
    name: ClassVar[str] = "close_after"

    def after(self, answer: Answer) -> Answer:
        return replace(answer, delivery=Delivery.RESET if self.reset else Delivery.CLOSED)


@dataclass(frozen=True)
class Truncate(Action):
    """Do the work, send half of the answer's body, and close the connection."""

    name: ClassVar[str] = "truncate"

    def after(self, answer: Answer) -> Answer:
        return replace(answer, delivery=Delivery.TRUNCATED)


@dataclass(frozen=True)
class Garbage(Action):
    """Do the work, and answer with a body that is not JSON."""

    body: str = "<html><body>Bad gateway</body></html>"
    name: ClassVar[str] = "garbage"

    def after(self, answer: Answer) -> Answer:
        return replace(answer, body=self.body.encode())


class RateLimit(Action):
    """Refuse what comes faster than ``per_second`` with 429 TooManyRequests.

    Args:
        per_second: Requests let through in any second.
        clock: Seconds, from any start.
    """

    name: ClassVar[str] = "rate_limit"

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        if per_second <= 0:
            raise ValueError("A rate limit lets at least some requests through: per_second > 0")
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._left = max(1.0, per_second)
        self._counted_at = clock()

    def before(self, released: threading.Event) -> None:
        with self._lock:
            now = self._clock()
            full = max(1.0, self._per_second)
            earned = (now - self._counted_at) * self._per_second
            self._left = min(full, self._left + earned)
            self._counted_at = now
            if self._left >= 1:
                self._left -= 1
                return
        raise Refusal(
            429,
            "TooManyRequests",
            f"More than {self._per_second:g} requests a second",
            {"retry-after": "1"},
        )


@dataclass(frozen=True)
class Fault:
    """An action, and the requests it meets.

    Args:
        action: What happens.
        operation: Meets this operation only, by the SDK's name, such as
            ``log_experiment_run_batch`` or ``put_object``; None meets all.
        probability: Chance, from 0 to 1, that a request is met.
        nth: Meets every nth such request only, counted from 1.
        times: Ends after this many requests were met; None never ends.
    """

    action: Action
    operation: str | None = None
    probability: float = 1.0
    nth: int | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        if self.operation not in {
            None,
            *schema.with_logged_models().operations,
            *object_storage.operations(),
        }:
            raise ValueError(f"There is no operation {self.operation!r}")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability is a number from 0 to 1")
        if self.nth is not None and self.nth < 1:
            raise ValueError("nth counts from 1")


class Faults:
    """The faults in force.

    Args:
        seed: Makes chance repeatable; None leaves it to chance.

    Attributes:
        released: Set when the emulator stops, so that no delay holds it up.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.released = threading.Event()
        self._random = random.Random(seed)  # noqa: S311 - chance, not a secret
        self._lock = threading.Lock()
        self._faults: list[_Counted] = []
        self._from_file: list[_Counted] = []
        self._file: _File | None = None

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        with self._lock:
            self._faults.append(_Counted(fault))

    def clear(self) -> None:
        """Lift all faults, and leave the file alone that was followed."""
        with self._lock:
            self._faults.clear()
            self._from_file.clear()
            self._file = None

    def follow(self, path: Path) -> None:
        """Put the faults of a file in force, and again whenever the file changes.

        Raises:
            ValueError: The file is not as described above.
        """
        with self._lock:
            file = _File(path)
            file.changed()
            self._reread(file)
            self._file = file

    def due(self, operation: str) -> list[Action]:
        """List what happens to the request that has come in, in the order it was added."""
        with self._lock:
            if self._file is not None and self._file.changed():
                try:
                    self._reread(self._file)
                except ValueError as error:
                    _logger.warning("The faults stay as they were: %s", error)
            return [
                counted.fault.action
                for counted in (*self._faults, *self._from_file)
                if counted.meets(operation, self._random)
            ]

    def _reread(self, file: _File) -> None:
        self._from_file = [_Counted(fault) for fault in read_faults(file.path)]


class _File:
    """A file, and whether it has changed since it was last asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            # Editors replace a file by moving a new one in its place.
            return False
        before, self._seen = self._seen, (found.st_mtime_ns, found.st_size, found.st_ino)
        return self._seen != before


class _Counted:
    """A fault with the requests it has seen and met."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._seen = 0
        self._met = 0

    def meets(self, operation: str, chance: random.Random) -> bool:
        fault = self.fault
        if fault.operation not in (None, operation) or self._met == fault.times:
            return False
        self._seen += 1
        if fault.nth is not None and self._seen % fault.nth:
            return False
        if chance.random() >= fault.probability:
            return False
        self._met += 1
        return True


_ACTIONS: Mapping[str, type[Action]] = {
    action.name: action
    for action in (Delay, Fail, CloseBefore, CloseAfter, Truncate, Garbage, RateLimit)
}


def read_faults(path: Path) -> list[Fault]:
    """Read a file of faults.

    Raises:
        ValueError: The file is not as described above; the message says where.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path} must hold a list of faults")
    return [_fault(entry, f"{path}, fault {number}") for number, entry in enumerate(entries, 1)]


def _fault(entry: Any, place: str) -> Fault:
    if not isinstance(entry, dict) or entry.get("action") not in _ACTIONS:
        raise ValueError(f"{place}: write an object with an action out of {', '.join(_ACTIONS)}")
    rest = {name: value for name, value in entry.items() if name != "action"}
    when = {field.name: rest.pop(field.name) for field in fields(Fault) if field.name in rest}
    try:
        return Fault(_ACTIONS[entry["action"]](**rest), **when)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from None
