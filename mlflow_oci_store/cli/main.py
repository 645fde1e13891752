"""The command ``mlflow-oci-store``: a group, to which each module of this folder adds a command.

A command loads what it needs when it runs, so that ``--help`` is quick and works without extras.
"""

from __future__ import annotations

import click

from mlflow_oci_store import __version__
from mlflow_oci_store.cli.emulator import emulator
from mlflow_oci_store.cli.outbox import outbox


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-oci-store")
def main() -> None:
    """MLflow tracking on Oracle AI Data Platform."""


main.add_command(emulator)
main.add_command(outbox)
