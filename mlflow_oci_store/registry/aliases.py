"""Aliases of registered models, kept as tags of the model.

The service shows aliases in its answers, and has no endpoint that sets one. So an alias is a tag:
its key names the alias, its value is the version's number. Setting an alias is one request, which
moves it from its old version to the new one at once; two writers cannot leave it on both.

Where the service returns an alias of the same name, the tag counts: it was set through MLflow.
"""

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_oci_store.reserved_tags import PREFIX

Json = dict[str, Any]

_KEY_PREFIX = f"{PREFIX}alias."
# A tag's key has at most 250 characters (``mlflow.utils.validation``).
MAX_ALIAS_LENGTH = 250 - len(_KEY_PREFIX)


def tag_key(alias: str) -> str:
    """The key of the tag that holds an alias.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when the alias does not fit into a tag's key.
    """
    if len(alias) > MAX_ALIAS_LENGTH:
        raise MlflowException(
            f"The alias {alias[:40] + '...'!r} is too long: on AI Data Platform an alias is kept "
            f"in the key of a tag, which has room for {MAX_ALIAS_LENGTH} characters.",
            INVALID_PARAMETER_VALUE,
        )
    return _KEY_PREFIX + alias


def kept_aliases(registered_model: Json) -> dict[str, str]:
    """Read the aliases that tags of the schema RegisteredModel hold: version numbers by alias."""
    return {
        tag["key"].removeprefix(_KEY_PREFIX): tag["value"]
        for tag in registered_model.get("tags") or ()
        if tag["key"].startswith(_KEY_PREFIX)
    }


def service_aliases(registered_model: Json) -> dict[str, str]:
    """Read the aliases that the service itself has: version numbers by alias."""
    return {item["alias"]: item["version"] for item in registered_model.get("aliases") or ()}


def aliases_of(registered_model: Json) -> dict[str, str]:
    """Read all aliases of a registered model: version numbers by alias, in order of the aliases."""
    found = {**service_aliases(registered_model), **kept_aliases(registered_model)}
    return dict(sorted(found.items()))
