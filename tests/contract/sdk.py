"""Oracle's SDK, asked what it would send, and what it makes of an answer.

The SDK is the authority on paths, fields and types. Its models say them in Python: what
``swagger_types`` and ``attribute_map`` list may stand in a document, and a property's docstring
says when it must.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

import oci
from aidp_python_client.aidataplatform_dp import MLOpsClient, models
from oci.retry import NoneRetryStrategy

# How protobuf's JSON mapping writes what JSON has no number for. The SDK reads them as floats.
NON_FINITE = ("NaN", "Infinity", "-Infinity")


class Sent(NamedTuple):
    """What the SDK hands to its transport for one call."""

    method: str
    path: str
    query: dict[str, Any]
    body: Any
    response_model: str


def client(config_file: str, profile: str, endpoint: str) -> MLOpsClient:
    """Make a client as its documentation says, with an address of its own."""
    config = oci.config.from_file(config_file, profile)
    return MLOpsClient(config, service_endpoint=f"{endpoint}/20260430")


def arguments_of(sdk: MLOpsClient, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Turn an operation's fields, by their names on the wire, into the SDK method's arguments.

    Raises:
        ValueError, TypeError: A field is unknown to the SDK or not of its type.
    """
    for name in inspect.signature(getattr(sdk, operation)).parameters:
        if name.endswith("_details"):
            return {name: model(_pascal(name), fields)}
    return fields


def request_of(
    sdk: MLOpsClient, operation: str, place: tuple[str, str], fields: dict[str, Any]
) -> Sent:
    """Find out what the SDK would send for an operation, without sending it."""
    captured: dict[str, Any] = {}
    original = sdk.base_client.call_api

    def capture(**given: Any) -> None:
        captured.update(given)

    sdk.base_client.call_api = capture
    try:
        getattr(sdk, operation)(
            *place, **arguments_of(sdk, operation, fields), retry_strategy=NoneRetryStrategy()
        )
    finally:
        sdk.base_client.call_api = original
    path = captured["resource_path"].format_map(captured["path_params"])
    body = captured.get("body")
    return Sent(
        captured["method"],
        path,
        dict(captured.get("query_params") or {}),
        None if body is None else sdk.base_client.sanitize_for_serialization(body),
        captured["response_type"],
    )


def model(name: str, fields: Any) -> Any:
    """Build one of the SDK's models from a JSON document, and refuse what does not belong there."""
    complaints = complaints_about(fields, name)
    if complaints:
        raise ValueError("; ".join(complaints))
    return _build(name, fields)


def complaints_about(value: Any, declared: str, place: str = "") -> list[str]:
    """List what the SDK's models do not allow in a JSON document.

    Args:
        value: The parsed document, or a part of it.
        declared: The name of its model, or of a plain type, as ``swagger_types`` has it.
        place: Where the part stands.
    """
    if listed := re.fullmatch(r"list\[(.+)\]", declared):
        if not isinstance(value, list):
            return [f"{place}: {value!r} is not a list"]
        return [
            complaint
            for index, item in enumerate(value)
            for complaint in complaints_about(item, listed[1], f"{place}[{index}]")
        ]
    if not hasattr(models, declared):
        return [] if _is_plain(value, declared) else [f"{place}: {value!r} is not a {declared}"]
    if not isinstance(value, dict):
        return [f"{place}: {value!r} is not an object"]
    cls = getattr(models, declared)
    types = {wire: cls().swagger_types[name] for name, wire in cls().attribute_map.items()}
    found = [f"{place}.{name}: {declared} has no such field" for name in value.keys() - types]
    for name, wire in cls().attribute_map.items():
        if wire in value:
            found += complaints_about(value[wire], types[wire], f"{place}.{wire}")
        elif "**[Required]**" in (getattr(cls, name).__doc__ or ""):
            found.append(f"{place}.{wire}: {declared} needs it")
    return found


def _is_plain(value: Any, declared: str) -> bool:
    if declared == "str":
        return isinstance(value, str)
    if declared == "bool":
        return isinstance(value, bool)
    if declared == "int":
        return type(value) is int and -(2**63) <= value < 2**63
    return declared == "float" and (type(value) in (int, float) or value in NON_FINITE)


def _build(declared: str, value: Any) -> Any:
    if listed := re.fullmatch(r"list\[(.+)\]", declared):
        return [_build(listed[1], item) for item in value]
    if declared == "float":
        return float(value)
    if not hasattr(models, declared):
        return value
    instance = getattr(models, declared)()
    for name, wire in instance.attribute_map.items():
        if wire in value:
            setattr(instance, name, _build(instance.swagger_types[name], value[wire]))
    return instance


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
