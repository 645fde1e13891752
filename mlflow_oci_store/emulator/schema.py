"""The emulator's own copy of the MLOps API: its operations, and the fields of every request.

``api.json`` holds the facts. A field's type is written as ``str``, ``int``, ``float``, ``bool``,
``array of <type>`` or the name of another schema; a ``!`` at its end marks a required field.
Paths stand below ``.../mlops/api/2.0/mlflow/`` of a workspace or of a platform (``scope``).
Source: the AIDP REST reference, version 20260430, as published in Oracle's Python SDK.

``logged_models.json`` adds what the service lacks: MLflow's own routes for logged models, and the
fields by which MLflow's requests name them. Source: MLflow's ``service.proto``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mlflow_oci_store.emulator.answers import Refusal, invalid

API_VERSIONS = ("20260430", "20240831")

_BASE = re.compile(
    rf"/(?:{'|'.join(API_VERSIONS)})/aiDataPlatforms/(?P<platform>[^/]+)"
    r"(?:/workspaces/(?P<workspace>[^/]+))?/mlops/api/2\.0/mlflow/(?P<path>.+)"
)
_INT64 = range(-(2**63), 2**63)
_NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Operation:
    """One documented operation.

    ``mutates`` says whether a retry token applies: searches are POST, and change nothing.
    """

    name: str
    method: str
    scope: str
    path: str
    query: Fields
    body: str | None

    @property
    def mutates(self) -> bool:
        return self.method != "GET" and not self.path.endswith("/search")


@dataclass(frozen=True)
class Route:
    """Where a request goes: the operation, and what its path says."""

    operation: Operation
    platform_id: str
    workspace_key: str | None
    path_arguments: Mapping[str, str]


class Api:
    """What the service understands.

    Args:
        documents: Names of the files with the facts; a later one replaces what it names again.

    Attributes:
        operations: All operations by name.
    """

    def __init__(self, *documents: str) -> None:
        folder = files("mlflow_oci_store.emulator")
        operations: dict[str, Any] = {}
        self._schemas: dict[str, Fields] = {}
        for name in documents:
            document = json.loads(folder.joinpath(name).read_text("utf-8"))
            operations |= document["operations"]
            self._schemas |= document["schemas"]
        self.operations: Mapping[str, Operation] = {
            name: Operation(
                name=name,
                method=facts["method"],
                scope=facts["scope"],
                path=facts["path"],
                query=facts.get("query", {}),
                body=facts.get("body"),
            )
            for name, facts in operations.items()
        }
        self._patterns = [
            (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)), operation)
            for operation in self.operations.values()
        ]

    def route(self, method: str, target: str) -> Route:
        """Find the operation a request is for.

        Raises:
            Refusal: 404 NotFound for an unknown path, 405 for a wrong method.
        """
        path = urlsplit(target).path
        base = _BASE.fullmatch(path)
        workspace = base and base["workspace"]
        candidates = (
            self._at("workspace" if workspace else "platform", base["path"]) if base else []
        )
        if base is None or not candidates:
            raise Refusal(404, "NotFound", f"{method} {path} is not an operation of this service")
        for operation, arguments in candidates:
            if operation.method == method:
                return Route(
                    operation,
                    platform_id=unquote(base["platform"]),
                    workspace_key=unquote(workspace) if workspace else None,
                    path_arguments=arguments,
                )
        allowed = ", ".join(sorted(operation.method for operation, _ in candidates))
        raise Refusal(
            405, "MethodNotAllowed", f"{path} takes {allowed}, not {method}", {"allow": allowed}
        )

    def arguments(self, route: Route, target: str, body: bytes) -> dict[str, Any]:
        """Read and check what a request says: path, query and body in one.

        Fields that are null count as absent; ``"NaN"`` and the infinities become floats.

        Raises:
            Refusal: 400 CannotParseRequest, MissingParameter or InvalidParameter.
        """
        operation = route.operation
        said: dict[str, Any] = dict(route.path_arguments)
        said.update(self._query(operation.query, urlsplit(target).query))
        if operation.body is not None:
            try:
                document = json.loads(body)
            except ValueError as error:
                raise Refusal(
                    400, "CannotParseRequest", f"The body of {operation.name} is not JSON: {error}"
                ) from None
            said.update(self._object(operation.body, document, "body"))
        return said

    def _at(self, scope: str, path: str) -> list[tuple[Operation, dict[str, str]]]:
        return [
            (operation, {name: unquote(value) for name, value in match.groupdict().items()})
            for pattern, operation in self._patterns
            if operation.scope == scope and (match := pattern.fullmatch(path))
        ]

    def _query(self, fields: Fields, query: str) -> dict[str, Any]:
        given = parse_qs(query, keep_blank_values=True)
        document: dict[str, Any] = {}
        for name, values in given.items():
            declared = fields.get(name, "").rstrip("!")
            document[name] = (
                values if declared.startswith("array of ") else _scalar(declared, values[-1])
            )
        return self._fields(fields, document, "query")

    def _object(self, schema: str, document: Any, place: str) -> dict[str, Any]:
        if not isinstance(document, dict):
            raise invalid(f"{place} must be an object ({schema})")
        return self._fields(self._schemas[schema], document, place)

    def _fields(self, fields: Fields, document: Mapping[str, Any], place: str) -> dict[str, Any]:
        if unknown := sorted(document.keys() - fields.keys()):
            raise invalid(
                f"{place} has no field {unknown[0]!r}; it has {', '.join(fields) or 'none'}"
            )
        present = {name: value for name, value in document.items() if value is not None}
        for name, declared in fields.items():
            if declared.endswith("!") and name not in present:
                raise Refusal(400, "MissingParameter", f"{place}.{name} is required")
        return {
            name: self._value(fields[name].rstrip("!"), value, f"{place}.{name}")
            for name, value in present.items()
        }

    def _value(  # noqa: PLR0911 - one case per type
        self, declared: str, value: Any, place: str
    ) -> Any:
        if declared.startswith("array of "):
            if not isinstance(value, list):
                raise invalid(f"{place} must be an array")
            item = declared.removeprefix("array of ")
            return [
                self._value(item, each, f"{place}[{index}]") for index, each in enumerate(value)
            ]
        if declared == "str" and isinstance(value, str):
            return value
        if declared == "bool" and isinstance(value, bool):
            return value
        if declared == "int" and type(value) is int and value in _INT64:
            return value
        if declared == "float" and type(value) in (int, float):
            return float(value)
        if declared == "float" and isinstance(value, str) and value in _NON_FINITE:
            return _NON_FINITE[value]
        if declared in self._schemas:
            return self._object(declared, value, place)
        raise invalid(f"{place} must be of type {declared}, not {type(value).__name__}")


@cache
def documented() -> Api:
    """The service as it is documented."""
    return Api("api.json")


@cache
def with_logged_models() -> Api:
    """The service as it would be with MLflow's routes for logged models."""
    return Api("api.json", "logged_models.json")


def _scalar(declared: str, text: str) -> Any:
    if declared == "int" and re.fullmatch(r"-?\d{1,19}", text):
        return int(text)
    if declared == "bool" and text in ("true", "false"):
        return text == "true"
    return text
