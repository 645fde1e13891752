"""Who is compared, and the virtual environment of each.

Everybody has an environment of its own, since MLflow's plugins slow each other down: that of
SageMaker, for one, takes part in every request of ``RestStore``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import mlflow.version

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".bench"
# What everybody has whose work is done through MLflow.
_MLFLOW = f"mlflow=={mlflow.version.VERSION}"


@dataclass(frozen=True)
class Peer:
    """One side of the comparison.

    Args:
        name: What rows call it.
        requirements: What is installed, as pip takes it; peers with the same share an environment.
        distribution: The package that the report names with its version.
        variables: Environment variables of its worker.
    """

    name: str
    requirements: tuple[str, ...]
    distribution: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> Path:
        """The folder of its virtual environment."""
        return FOLDER / "-".join(("venv", self.distribution))

    @property
    def python(self) -> Path:
        """The interpreter of its virtual environment."""
        return self.environment / "bin" / "python"


# Installed, as everybody has it: finding an editable package costs a process a megabyte.
_OURS = (_MLFLOW, str(CHECKOUT))

PEERS = {
    peer.name: peer
    for peer in (
        Peer("ours", _OURS, "mlflow-oci-store"),
        Peer("floor", _OURS, "mlflow-oci-store"),
        Peer("mlflow", (_MLFLOW,), "mlflow"),
        # MLflow's own queue at its best: it gathers what is logged within a second.
        Peer("mlflow-queue", (_MLFLOW,), "mlflow", {"MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS": "1"}),
        Peer("wandb", ("wandb==0.31.0",), "wandb", {"WANDB_MODE": "offline", "WANDB_SILENT": "1"}),
        Peer("aidp", ("aidp-python-client==5.1.1",), "aidp-python-client"),
        Peer(
            "sagemaker",
            (_MLFLOW, "sagemaker-mlflow==0.5.0"),
            "sagemaker-mlflow",
            {
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        ),
        Peer("oci-mlflow", (_MLFLOW, "oci-mlflow==1.0.3"), "oci-mlflow"),
    )
}


def install(peers: Iterable[Peer]) -> None:
    """Make the virtual environments of peers, unless they are there with the same requirements.

    The package of the checkout is installed again if it has changed since.

    Raises:
        subprocess.CalledProcessError: pip failed; it has said why.
    """
    for peer in {peer.distribution: peer for peer in peers}.values():
        complete = peer.environment / ".complete"
        wanted = "\n".join(peer.requirements)
        if str(CHECKOUT) in peer.requirements:
            # Its requirements count, too.
            wanted += (CHECKOUT / "pyproject.toml").read_text()
        if not complete.exists() or complete.read_text() != wanted:
            print(f"--- Setting up {peer.distribution}", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", peer.environment], check=True)
            _pip_install(peer, *peer.requirements)
            complete.write_text(wanted)
        elif str(CHECKOUT) in peer.requirements and _changed_since(complete.stat().st_mtime):
            _pip_install(peer, "--force-reinstall", "--no-deps", str(CHECKOUT))
            complete.touch()


def _changed_since(epoch: float) -> bool:
    return any(
        path.stat().st_mtime > epoch
        for path in (CHECKOUT / "mlflow_oci_store").rglob("*")
        if "__pycache__" not in path.parts
    )


def _pip_install(peer: Peer, *arguments: str) -> None:
    subprocess.run([peer.python, "-m", "pip", "install", "--quiet", *arguments], check=True)


def version(peer: Peer) -> str:
    """The version of a peer's package that is installed in its environment."""
    program = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    finished = subprocess.run(
        [peer.python, "-c", program, peer.distribution],
        check=True,
        capture_output=True,
        text=True,
    )
    return finished.stdout.strip()
