"""Processes to kill, and the service as a process of its own.

All are forked from a server that has imported everything, so that starting one takes as long as a
fork and not as long as an import of MLflow.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlflow_oci_store.emulator import AidpEmulator

from . import applied

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["mlflow", "mlflow_oci_store.tracking.store", "mlflow_oci_store.emulator"]
)


def start(target: Callable[..., Any], *arguments: Any) -> Any:
    """Start a process that ends with the test's, if not before."""
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def kill(process: Any) -> None:
    """kill -9"""
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


class ServiceProcess:
    """The emulator as a process of its own, which can be stopped and started again.

    Args:
        folder: Keeps its data, and a record of what it applied.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / "applied"
        self._record.touch()
        self._port = 0
        self.start()

    def start(self) -> None:
        """Start it, on the same port as before."""
        here, there = CONTEXT.Pipe()
        self._process = start(_serve, self._folder, self._port, there)
        there.close()
        assert here.poll(60), "the emulator does not start"
        self.tracking_uri: str = here.recv()
        here.close()
        endpoint = self.tracking_uri.partition("endpoint=")[2].partition("&")[0]
        self._port = urlsplit(endpoint.replace("%3A", ":").replace("%2F", "/")).port or 0

    def stop(self) -> None:
        """Stop it; running requests finish, as an emulator that is killed would forget some."""
        self._process.terminate()
        self._process.join(60)
        assert self._process.exitcode == 0

    def applied(self) -> list[applied.Applied]:
        """What it has applied so far, in that order."""
        return applied.read(self._record)


def _serve(folder: Path, port: int, ready: Connection) -> None:
    applied.record_to(pytest.MonkeyPatch(), folder / "applied")
    # A signal that comes before ``sigwait`` waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with AidpEmulator(folder / "data", port=port) as emulator:
        if (folder / "faults.json").exists():
            emulator.faults.follow(folder / "faults.json")
        ready.send(emulator.tracking_uri)
        ready.close()
        signal.sigwait({signal.SIGTERM})


def environment(**variables: str) -> dict[str, str]:
    """The environment of a script that is started."""
    return {**os.environ, **variables}
