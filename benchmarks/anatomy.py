"""Where the time of one ``mlflow.log_metric`` goes, layer by layer.

    .venv/bin/python benchmarks/anatomy.py

Each layer is called by itself, in turn with all the others, and what a layer costs is the best of
its calls less that of the layers below it. A profiler would charge every function for its own work,
and the layers with the most functions the most.
"""

from __future__ import annotations

import logging
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from mlflow.entities import Metric
from rows.stores import METRIC, PLATFORM, RUN, WORKSPACE, our_uri
from run import stage

from mlflow_oci_store.client import wire
from mlflow_oci_store.client.connection import Connection
from mlflow_oci_store.client.signature import body_headers, sign
from mlflow_oci_store.tracking.store import OciDataPlatformStore

TURNS, CALLS = 300, 5
TARGET = (
    f"/20260430/aiDataPlatforms/{PLATFORM}/workspaces/{WORKSPACE}"
    "/mlops/api/2.0/mlflow/runs/log-metric"
)


def layers(uri: str, endpoint: str) -> dict[str, Callable[[], object]]:
    """Calls that each contain the ones after them, or stand alone."""
    mlflow.set_tracking_uri(uri)
    mlflow.start_run(run_id=RUN, log_system_metrics=False)
    key, value, _, step = METRIC
    metric = Metric(*METRIC)
    store = OciDataPlatformStore(uri)
    client = store._client
    body = wire.metric_text(metric).encode()
    credentials = client.authenticator.credentials()
    hashed = body_headers(body)
    connection = Connection(endpoint, verify=True, client_cert=None)
    signed = sign(credentials, "POST", TARGET, connection.host, hashed)
    headers = {
        "accept": "application/json",
        "user-agent": "x" * 48,
        "opc-retry-token": "x" * 32,
        "opc-request-id": "x" * 32,
        **signed,
    }
    address = urlsplit(endpoint)
    raw = socket.create_connection((address.hostname or "", address.port or 0))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {TARGET} HTTP/1.1\r\n{head}\r\n".encode() + body
    padding, digest = PKCS1v15(), SHA256()

    def exchange() -> None:
        raw.sendall(request)
        raw.recv(1 << 16)

    return {
        "all": lambda: mlflow.log_metric(key, value, step=step),
        "store": lambda: store.log_metric(RUN, metric),
        "call": lambda: client.call("log_experiment_run_metric", body, wire.nothing),
        "signature": lambda: sign(credentials, "POST", TARGET, connection.host, body_headers(body)),
        "RSA": lambda: credentials.private_key.sign(request[:460], padding, digest),
        "HTTP": lambda: connection.send("POST", TARGET, headers, body, 60.0),
        "socket": exchange,
    }


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of each call, the best of the turns: what else the machine does only adds."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(CALLS):
                call()
            taken[name].append((time.perf_counter() - started) / CALLS * 1e6)
    return {name: min(times) for name, times in taken.items()}


def main() -> None:
    """Print the layers."""
    logging.disable()
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder), quick=True) as found:
        of = measure(layers(our_uri(found, found.instant), found.instant))
        mlflow.end_run()
    shares = {
        "MLflow's client above the store": of["all"] - of["store"],
        "checks and JSON (`tracking/store.py`, `client/wire.py`)": of["store"] - of["call"],
        "the call's loop, retry token, parsing the answer (`client/data_platform.py`)": of["call"]
        - of["signature"]
        - of["HTTP"],
        "RSA-2048 signature (`cryptography`, OpenSSL)": of["RSA"],
        "the rest of the signature: date, body hash, header": of["signature"] - of["RSA"],
        "HTTP (connections kept alive, requests and answers)": of["HTTP"] - of["socket"],
        "kernel, loopback and server": of["socket"],
    }
    for name, share in shares.items():
        print(f"| {name} | {share:.0f} µs | {share / of['all']:.0%} |")
    print(f"| all | {of['all']:.0f} µs | 100% |")


if __name__ == "__main__":
    main()
