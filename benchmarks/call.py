"""What one synchronous ``log_batch`` of one metric costs, side by side, as ratios.

    python benchmarks/call.py [--repeat 15] [--calls 100] [--json FILE]

All clients talk to the same loopback server, which answers at once, in turns, so that a slow
moment of the machine hits all of them. Absolute figures move from machine to machine; the ratios
are what to compare. The floor is what nobody can go below with OCI's signatures in Python: one
keep-alive POST of ``http.client`` and one RSA-2048 signature of ``cryptography``.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import oci
from aidp_python_client.aidataplatform_dp import MLOpsClient
from aidp_python_client.aidataplatform_dp.models import (
    ExperimentRunMetric,
    LogExperimentRunBatchDetails,
)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from mlflow.entities import Metric
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.rest_utils import MlflowHostCreds

from mlflow_oci_store.tracking.store import OciDataPlatformStore

PLATFORM, WORKSPACE, RUN = "ocid1.aidataplatform.oc1.iad.benchmark", "benchmark", "a" * 32
GOAL = 0.5
OURS, RIVALS = "mlflow-oci-store", ("MLflow RestStore (unsigned)", "aidp-python-client")


def clients(port: int, folder: Path) -> dict[str, Callable[[], object]]:
    endpoint = f"http://127.0.0.1:{port}"
    key = generate_private_key(65537, 2048)
    config = write_profile(folder, key)
    metric = Metric("loss", 0.5, 1_700_000_000_000, 3)

    store = OciDataPlatformStore(
        f"oci-dp://{PLATFORM}/{WORKSPACE}?endpoint={endpoint}&config_file={config}"
    )
    rest = RestStore(lambda: MlflowHostCreds(endpoint))
    sdk = MLOpsClient(oci.config.from_file(str(config)), service_endpoint=f"{endpoint}/20260430")
    details = LogExperimentRunBatchDetails(
        run_id=RUN,
        metrics=[ExperimentRunMetric(key="loss", value=0.5, timestamp=1_700_000_000_000, step=3)],
    )
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = (
        b'{"run_id":"%s","metrics":[{"key":"loss","value":0.5,"timestamp":1700000000000,"step":3}]}'
        % RUN.encode()
    )
    # As many header bytes as a signed request has.
    headers = {"content-type": "application/json", "authorization": "x" * 700}

    def floor() -> None:
        key.sign(bytes(400), PKCS1v15(), SHA256())
        connection.request("POST", f"/{'x' * 150}", body, headers)
        connection.getresponse().read()

    return {
        "floor": floor,
        OURS: lambda: store.log_batch(RUN, [metric], [], []),
        RIVALS[0]: lambda: rest.log_batch(RUN, [metric], [], []),
        RIVALS[1]: lambda: sdk.log_experiment_run_batch(PLATFORM, WORKSPACE, details),
    }


def write_profile(folder: Path, key: RSAPrivateKey) -> Path:
    key_file, config = folder / "key.pem", folder / "config"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_file.chmod(0o600)
    config.write_text(
        "[DEFAULT]\nuser=ocid1.user.oc1..benchmark\ntenancy=ocid1.tenancy.oc1..benchmark\n"
        f"fingerprint={':'.join(['00'] * 16)}\nregion=us-ashburn-1\nkey_file={key_file}\n"
    )
    config.chmod(0o600)
    return config


def measure(
    calls: dict[str, Callable[[], object]], repeat: int, count: int
) -> dict[str, list[float]]:
    """Microseconds of one call, ``repeat`` times, each the mean over ``count`` calls."""
    for call in calls.values():
        for _ in range(count):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(count):
                call()
            taken[name].append((time.perf_counter() - started) / count * 1e6)
        print(f"\r{turn + 1} of {repeat}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return taken


def ratio(of: list[float], to: list[float]) -> float:
    """The median of the ratios turn by turn: a slow turn slows both."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def report(taken: dict[str, list[float]]) -> None:
    print(f"{'one log_batch of one metric':<32} {'median':>9} {'best':>9} {'ours is':>9}")
    for name, times in taken.items():
        ours = "" if name == OURS else f"{ratio(taken[OURS], times):8.2f}x"
        print(f"{name:<32} {statistics.median(times):6.0f} µs {min(times):6.0f} µs {ours:>9}")
    for rival in RIVALS:
        reached = ratio(taken[OURS], taken[rival])
        verdict = "met" if reached <= GOAL else "not met"
        print(f"goal: at most {GOAL:.2f} of {rival}: {reached:.2f}, {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    # A proxy would be measured instead of the client.
    os.environ["NO_PROXY"] = "127.0.0.1"
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("instant_server.py"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            taken = measure(clients(port, Path(folder)), arguments.repeat, arguments.calls)
    finally:
        server.terminate()
        server.wait()
    report(taken)
    if arguments.json:
        arguments.json.write_text(json.dumps(taken, indent=2) + "\n")


if __name__ == "__main__":
    main()
