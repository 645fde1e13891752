"""Tags that this package keeps for itself, because the service has no other place for them.

Their keys begin with one prefix. What they hold is shown where MLflow has a place for it (an alias
as an alias), so they do not show up among an entity's tags, and nobody sets or deletes one by hand.
"""

from __future__ import annotations

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

PREFIX = "mlflow-oci-store."


def is_reserved(key: str) -> bool:
    """Whether a tag is one of these."""
    return key.startswith(PREFIX)


def refuse_reserved(key: str) -> None:
    """Keep a user's hands off them.

    Args:
        key: The key of a tag that somebody wants to set or delete.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE.
    """
    if isinstance(key, str) and is_reserved(key):
        raise MlflowException(
            f"The tag {key!r} cannot be set or deleted by hand: keys that begin with {PREFIX!r} "
            "hold what mlflow-oci-store keeps for itself. Choose another key.",
            INVALID_PARAMETER_VALUE,
        )
