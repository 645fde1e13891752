"""Who may use a registered model.

MLflow knows no permissions, so the emulator keeps them in its own database. It lists what was
granted, and enforces nothing: every user it knows may do everything.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from mlflow_oci_store.emulator.state import State


class Permissions:
    """The permissions on the registered models of one platform."""

    def __init__(self, state: State, platform_id: str) -> None:
        self._state = state
        self._platform_id = platform_id

    def assign(self, model: str, grantee: str, grantee_type: str, permission: str) -> None:
        """Grant a permission; granting it twice is granting it once."""
        self._state.execute(
            "INSERT OR IGNORE INTO permissions VALUES (?, ?, ?, ?, ?)",
            (self._platform_id, model, grantee, grantee_type, permission),
        )

    def revoke(self, model: str, grantee: str, grantee_type: str, permission: str) -> None:
        """Take a permission away, if it was granted."""
        self._state.execute(
            "DELETE FROM permissions WHERE platform_id = ? AND model = ? AND grantee = ?"
            " AND grantee_type = ? AND permission = ?",
            (self._platform_id, model, grantee, grantee_type, permission),
        )

    def rename(self, model: str, new_name: str) -> None:
        """Let permissions follow a model to its new name."""
        self._state.execute(
            "UPDATE permissions SET model = ? WHERE platform_id = ? AND model = ?",
            (new_name, self._platform_id, model),
        )

    def delete(self, model: str) -> None:
        """Forget all permissions on a model."""
        self._state.execute(
            "DELETE FROM permissions WHERE platform_id = ? AND model = ?",
            (self._platform_id, model),
        )

    def grants(self, model: str) -> list[dict[str, Any]]:
        """List the permissions on a model, one item for each grantee, in order of grantee."""
        rows = self._state.execute(
            "SELECT grantee, grantee_type, permission FROM permissions"
            " WHERE platform_id = ? AND model = ? ORDER BY grantee, grantee_type, permission",
            (self._platform_id, model),
        )
        return [
            {
                "grantee": grantee,
                "granteeType": grantee_type,
                "granteePermissions": [permission for _, _, permission in granted],
                "isInherited": False,
                "resourceName": model,
            }
            for (grantee, grantee_type), granted in groupby(rows, key=lambda row: row[:2])
        ]
