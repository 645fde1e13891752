"""What the service applied, item by item: the emulator's audit counts requests, and a metric that
was applied twice in two different requests would not show there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mlflow_oci_store.emulator.answers import Refusal
from mlflow_oci_store.emulator.service import Service

_ITEMS_OF = {
    "log_experiment_run_metric": "metrics",
    "log_experiment_run_param": "params",
    "set_experiment_run_tag": "tags",
}


class Applied(NamedTuple):
    """A request that took effect."""

    operation: str
    retry_token: str | None
    body: dict[str, Any]

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Its metrics, params or tags."""
        if self.operation == "log_experiment_run_batch":
            return list(self.body.get(kind, ()))
        return [self.body] if _ITEMS_OF.get(self.operation) == kind else []


def record(patch: pytest.MonkeyPatch, note: Callable[[Applied], None]) -> None:
    """Have every emulator of this process tell what it applies from here on."""
    perform = Service._perform

    def performing(service: Service, route: Any, request: Any, *rest: Any) -> Any:
        answer = perform(service, route, request, *rest)
        if route.operation.mutates:
            token = request.headers.get("opc-retry-token")
            note(Applied(route.operation.name, token, json.loads(request.body or b"{}")))
        return answer

    patch.setattr(Service, "_perform", performing)


def record_to(patch: pytest.MonkeyPatch, path: Path) -> None:
    """The same into a file, for a process that another one reads after."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    record(patch, lambda it: os.write(descriptor, json.dumps(it).encode() + b"\n") and None)


def read(path: Path) -> list[Applied]:
    """Read such a file."""
    return [Applied(*json.loads(text)) for text in path.read_bytes().splitlines()]


def items(applied: Iterable[Applied], run_id: str, kind: str) -> Iterator[dict[str, Any]]:
    """The metrics, params or tags that a run was sent, in the order in which they were applied."""
    for one in applied:
        if one.body.get("run_id") == run_id:
            yield from one.items(kind)


def steps(applied: Iterable[Applied], run_id: str, key: str = "m") -> list[int]:
    """The steps of a metric, in the order in which they were applied."""
    return [int(it["step"]) for it in items(applied, run_id, "metrics") if it["key"] == key]


def values(applied: Iterable[Applied], run_id: str, kind: str) -> list[tuple[str, str]]:
    """Params or tags with their values, in the order in which they were applied."""
    return [(it["key"], it["value"]) for it in items(applied, run_id, kind)]


def refuse(
    patch: pytest.MonkeyPatch, status: int, code: str, is_meant: Callable[[dict[str, Any]], bool]
) -> None:
    """Have every emulator of this process refuse changes by their content."""
    perform = Service._perform

    def performing(service: Service, route: Any, request: Any, *rest: Any) -> Any:
        if route.operation.mutates and is_meant(json.loads(request.body or b"{}")):
            raise Refusal(status, code, "This refusal was ordered")
        return perform(service, route, request, *rest)

    patch.setattr(Service, "_perform", performing)
