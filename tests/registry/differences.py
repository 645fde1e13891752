"""Where the registry differs from MLflow's SQL registry on purpose.

docs/registry.md lists the same names with the reason for each, and nothing else may differ. As in
``tests/reference/differences.py``, every difference has examples; what changes no state may also
turn up in a generated history.
"""

from __future__ import annotations

from typing import Any

from mlflow.entities.model_registry import RegisteredModelTag
from reference.call import Call, call
from reference.differences import INTERNAL, INVALID, MISSING, RETURNED, Difference, Example

from mlflow_oci_store.registry.aliases import MAX_ALIAS_LENGTH
from mlflow_oci_store.reserved_tags import PREFIX

# What pair.py makes equal on both sides; these need no examples.
REPRESENTATION = ("version numbers", "page tokens", "order of aliases and latest versions")


def is_listed(call: Call, expected: Any, actual: Any) -> bool:
    """Whether a difference of outcomes is one of the list."""
    return any(each.in_histories(call, expected, actual) for each in DIFFERENCES)


def _version_of(source: str) -> Call:
    return call("create_model_version", name="model", source=source)


def _is_refused_archiving(call: Call, expected: Any, actual: Any) -> bool:
    return (
        call.method == "transition_model_version_stage"
        and call.arguments["archive_existing_versions"]
        and (expected, actual) == (INTERNAL, INVALID)
    )


def _is_missing_source(call: Call, expected: Any, actual: Any) -> bool:
    return (
        call.method in ("create_model_version", "copy_model_version")
        and expected == INTERNAL
        and actual in (MISSING, INVALID, INTERNAL)
    )


def _is_search_by_source(call: Call, expected: Any, actual: Any) -> bool:
    return call.method == "search_model_versions" and "source_path" in (
        call.arguments.get("filter_string") or ""
    )


DIFFERENCES = (
    Difference(
        "sources by alias, stage or latest",
        (Example(_version_of("models:/model@champion"), INTERNAL, RETURNED),),
    ),
    Difference(
        "sources that are not there",
        (
            Example(_version_of("models:/model/99"), INTERNAL, MISSING),
            Example(_version_of(f"runs:/{'0' * 32}/model"), RETURNED, MISSING),
        ),
        _is_missing_source,
    ),
    Difference(
        "searches by source",
        (
            Example(
                call("search_model_versions", filter_string="source_path = 's3://bucket/é'"),
                RETURNED,
                RETURNED,
            ),
        ),
        _is_search_by_source,
    ),
    Difference(
        "long aliases",
        (
            Example(
                call(
                    "set_registered_model_alias",
                    name="model",
                    alias="x" * (MAX_ALIAS_LENGTH + 1),
                    version=1,
                ),
                RETURNED,
                INVALID,
            ),
        ),
    ),
    Difference(
        "reserved tags",
        (
            Example(
                call(
                    "set_registered_model_tag",
                    name="model",
                    tag=RegisteredModelTag(f"{PREFIX}x", "v"),
                ),
                RETURNED,
                INVALID,
            ),
        ),
    ),
    Difference(
        "stages that cannot be archived",
        (
            Example(
                call(
                    "transition_model_version_stage",
                    name="model",
                    version=1,
                    stage="None",
                    archive_existing_versions=True,
                ),
                INTERNAL,
                INVALID,
            ),
        ),
        _is_refused_archiving,
    ),
)
