"""One call of an MLflow tracking store, written so that two stores can be asked the same.

A history is a list of calls. Ids differ between stores, so a call names the n-th experiment or run
that its history made, and each store's side puts its own id there. ``{experiment0}`` and ``{run0}``
inside a string mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """The ``number``-th experiment that the history made; beyond the last, one that never was."""

    number: int


@dataclass(frozen=True)
class Run:
    """The ``number``-th run that the history made; beyond the last, one that never was."""

    number: int


@dataclass(frozen=True)
class Call:
    """A method of ``AbstractStore`` with its arguments by name."""

    method: str
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"call({self.method!r}{', ' if arguments else ''}{arguments})"

    def resolved(self, experiment: Callable[[int], str], run: Callable[[int], str]) -> Call:
        """Put a store's own ids in."""

        def put(value: Any) -> Any:
            if isinstance(value, Experiment):
                return experiment(value.number)
            if isinstance(value, Run):
                return run(value.number)
            if isinstance(value, list):
                return [put(item) for item in value]
            if isinstance(value, str) and "{" in value:
                for number in range(3):
                    value = value.replace(f"{{experiment{number}}}", experiment(number))
                    value = value.replace(f"{{run{number}}}", run(number))
            return value

        return Call(self.method, {name: put(value) for name, value in self.arguments.items()})


def call(method: str, **arguments: Any) -> Call:
    """Write a call down."""
    return Call(method, arguments)
