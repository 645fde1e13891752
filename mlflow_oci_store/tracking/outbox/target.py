"""Where the outboxes for a platform and workspace are, and what processes have left there.

Nothing is opened for that, so that programs which log synchronously can look once and load no more
of the outbox if there is nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from mlflow_oci_store.settings import Settings
from mlflow_oci_store.tracking.outbox.journal import segments_in

LEDGER_FILE = "ledger.sqlite"
_TARGET_DIGITS = 16


def target_folder(settings: Settings) -> Path:
    """Where the processes' folders for a platform and workspace are.

    Args:
        settings: Those of a store. Who signs makes no difference: what was logged to a place is
            sent by whoever logs there next, but never in the name of another user principal.
    """
    place = (
        settings.platform_id,
        settings.workspace_key,
        settings.endpoint or "",
        settings.user_principal or "",
    )
    digest = hashlib.sha256("\n".join(place).encode()).hexdigest()
    return Path(settings.outbox_dir) / digest[:_TARGET_DIGITS]


def spool_folders(target: Path) -> list[Path]:
    """The folders of processes, living or dead, for a target, the oldest first."""
    try:
        return sorted(path for path in target.iterdir() if (path / LEDGER_FILE).exists())
    except OSError:
        # It is not there, or nothing can be there; who wants to write there is told why not.
        return []


def unsent_folders(target: Path) -> list[Path]:
    """Those of them that hold something which the service may not have."""
    return [path for path in spool_folders(target) if segments_in(path)]
