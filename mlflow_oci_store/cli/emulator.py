"""``mlflow-oci-store emulator``: the emulated AI Data Platform as a server of its own.

It prints what to paste into another terminal, and runs until Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import logging
import shlex
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlflow_oci_store.emulator import AidpEmulator


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; a free one if 0.")
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps keys and data. Without it they are gone when the emulator stops.",
)
@click.option(
    "--backend-store-uri",
    metavar="URI",
    help="postgresql:// database for MLflow's data. Without it, SQLite files in --data.",
)
@click.option("--tls", is_flag=True, help="Serve https, with a certificate authority of its own.")
@click.option(
    "--workspace", "workspaces", metavar="KEY", multiple=True, help="Another workspace; repeatable."
)
@click.option(
    "--native-logged-models",
    is_flag=True,
    help="Serve MLflow's own routes for logged models, which the service does not have.",
)
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of faults to inject; read again whenever it changes.",
)
def emulator(
    port: int,
    data_dir: Path | None,
    backend_store_uri: str | None,
    tls: bool,
    workspaces: tuple[str, ...],
    native_logged_models: bool,
    faults_file: Path | None,
) -> None:
    """Run an emulated AI Data Platform on this machine, on a loopback address."""
    try:
        from mlflow_oci_store.emulator import AidpEmulator
    except ImportError as error:
        raise click.ClickException(
            f"The emulator needs {error.name}: run pip install 'mlflow-oci-store[emulator]'"
        ) from error
    # MLflow reports the making of its tables; here that would stand between the lines to paste.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        running = AidpEmulator(
            data_dir,
            port=port,
            tls=tls,
            backend_store_uri=backend_store_uri,
            native_logged_models=native_logged_models,
        )
    except (OSError, ValueError) as error:
        raise click.ClickException(f"The emulator did not start: {error}") from error
    with running:
        if faults_file:
            try:
                running.faults.follow(faults_file)
            except ValueError as error:
                raise click.ClickException(str(error)) from error
        for key in workspaces:
            running.create_workspace(workspace_key=key)
        click.echo(_instructions(running, workspaces, data_dir))
        stopped.wait()
        click.echo("Stopping: requests under way are finished first.")
    click.echo("Stopped.")


def _instructions(running: AidpEmulator, workspaces: tuple[str, ...], data_dir: Path | None) -> str:
    lines = [f"Emulating AI Data Platform at {running.endpoint}, for as long as this runs."]
    lines += ["", "Paste this into another terminal, then run any MLflow script there:", ""]
    lines.append(f"  export MLFLOW_TRACKING_URI={shlex.quote(running.tracking_uri)}")
    if running.ca_file:
        lines.append(f"  export MLFLOW_TRACKING_SERVER_CERT_PATH={shlex.quote(running.ca_file)}")
        lines.append(f"  export REQUESTS_CA_BUNDLE={shlex.quote(running.ca_file)}")
    for key in workspaces:
        uri = running.uri_of(running.platform_id, key)
        lines += ["", f"For workspace {key}:", "", f"  export MLFLOW_TRACKING_URI={uri}"]
    lines += [
        "",
        f"OCI profile {running.profile} in {running.config_file}",
        f"Data is kept in {data_dir}." if data_dir else "Data goes when it stops; --data keeps it.",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)
