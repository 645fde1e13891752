"""The workers, as the driver sees them: processes that are asked for one turn at a time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType

from harness.peer import PEERS
from harness.row import Stage

_WORKER = Path(__file__).resolve().parents[1] / "worker.py"
# What the machine's own configuration would change, such as whether bytecode is kept: a package in
# development is compiled at each start without it, and those of the peers are not.
_NOT_INHERITED = ("MLFLOW_", "OCI_", "AIDP_", "AWS_", "SAGEMAKER_", "WANDB_", "PYTHON")


class Crew:
    """One worker for every peer that is asked for anything.

    Args:
        stage: What the workers find around them.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._workers: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in self._workers.values():
            worker.wait()

    def turn(self, peer: str, module: str, row: str, piece: str) -> float:
        """Have one piece of work done once.

        Args:
            peer: Who does it.
            module: The module that the row is in.
            row: The row's name.
            piece: The piece's label.

        Returns:
            The figure.

        Raises:
            RuntimeError: The worker died; it has said why on standard error.
        """
        worker = self._workers.get(peer) or self._start(peer)
        self._tell(worker, {"module": module, "row": row, "piece": piece})
        assert worker.stdout is not None
        line = worker.stdout.readline()
        if not line:
            raise RuntimeError(f"The worker of {peer} died at {row!r}, {piece!r}.")
        return float(json.loads(line))

    def _start(self, name: str) -> subprocess.Popen[str]:
        peer = PEERS[name]
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(_NOT_INHERITED) and not key.lower().endswith("_proxy")
        }
        home = Path(self._stage.folder, f"home-{name}")
        home.mkdir()
        worker = self._workers[name] = subprocess.Popen(
            [peer.python, _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=home,
            env={
                **inherited,
                "HOME": str(home),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **peer.variables,
            },
        )
        self._tell(worker, {"stage": self._stage._asdict()})
        return worker

    def _tell(self, worker: subprocess.Popen[str], order: object) -> None:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(order) + "\n")
        worker.stdin.flush()
