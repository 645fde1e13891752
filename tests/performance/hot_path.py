"""Counts the function calls of one call of the store, which say how much work it is.

A time says little on a machine that does other things; the number of functions called, Python's and
C's, ours and those of the libraries below, is the same every time. It depends on the version of
Python and of the libraries, so the kept numbers name theirs.

    python -m tests.performance.hot_path            prints the numbers
    python -m tests.performance.hot_path --write    keeps them in call_counts.json
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from mlflow.entities import Metric, ViewType

from mlflow_oci_store.tracking.store import OciDataPlatformStore

from ..client.scripted_server import Step, answer, scripted_server

KEPT = Path(__file__).with_name("call_counts.json")
LIBRARIES = ("mlflow-skinny", "urllib3", "requests", "cryptography", "cachetools")

RUN = "a" * 32
# The first calls connect and fill caches.
WARM_UP, COUNTED = 3, 5


def count(call: Callable[[], object]) -> int:
    """Count the functions that one call calls; the least of a few times, if they differ."""
    counts = []
    for _ in range(COUNTED):
        events = 0

        def on_event(_frame: object, event: str, _argument: object) -> None:
            nonlocal events
            if event in ("call", "c_call"):
                events += 1

        gc.collect()
        gc.disable()
        sys.setprofile(on_event)
        try:
            call()
        finally:
            sys.setprofile(None)
            gc.enable()
        # The call that ended the count is in it.
        counts.append(events - 1)
    return min(counts)


def paths(store: OciDataPlatformStore) -> dict[str, tuple[Callable[[], object], Step]]:
    """What is counted: a call of the store, and what the service answers."""
    metric = Metric("loss", 0.5, 1_700_000_000_000, 3)
    metrics = [Metric(f"metric_{i % 50}", i / 7, 1_700_000_000_000, i // 50) for i in range(1000)]
    values = [
        {"key": "loss", "value": i / 7, "timestamp": 1_700_000_000_000 + i, "step": i}
        for i in range(20)
    ]
    info = {"run_id": RUN, "experiment_id": "1", "status": "RUNNING", "start_time": 1}
    tags = [{"key": f"tag_{i}", "value": f"{i}"} for i in range(10)]
    run = {"info": info, "data": {"metrics": values[:5], "params": tags, "tags": tags}}
    return {
        "log_batch of one metric": (lambda: store.log_batch(RUN, [metric], [], []), answer()),
        "log_metric": (lambda: store.log_metric(RUN, metric), answer()),
        "log_batch of 1,000 metrics": (lambda: store.log_batch(RUN, metrics, [], []), answer()),
        "get_metric_history of 20 points": (
            lambda: store.get_metric_history(RUN, "loss"),
            answer(200, {"metrics": values}),
        ),
        "search_runs of 3 runs": (
            lambda: store.search_runs(["1"], "", ViewType.ACTIVE_ONLY, 3),
            answer(200, {"runs": [run] * 3}),
        ),
    }


def counts() -> dict[str, int]:
    """Count all paths."""
    with tempfile.TemporaryDirectory() as folder, scripted_server() as server:
        store = OciDataPlatformStore(
            "oci-dp://ocid1.aidataplatform.oc1.iad.aaaa/team"
            f"?endpoint={server.endpoint}&config_file={_profile(Path(folder))}"
        )
        found = {}
        for name, (call, step) in paths(store).items():
            server.script += [step] * (WARM_UP + COUNTED)
            for _ in range(WARM_UP):
                call()
            found[name] = count(call)
        return found


def record() -> dict[str, Any]:
    """The numbers, and the versions that they hold for."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "counts": counts(),
    }


def _profile(folder: Path) -> Path:
    key_file, config_file = folder / "key.pem", folder / "config"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    config_file.touch(mode=0o600)
    config_file.write_text(
        "[DEFAULT]\nuser=ocid1.user.oc1..aaaa\ntenancy=ocid1.tenancy.oc1..aaaa\n"
        f"fingerprint={':'.join(['00'] * 16)}\nkey_file={key_file}\n"
    )
    return config_file


def main() -> None:
    """Print the numbers, or keep them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    # What the machine's own configuration says has no part in it.
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "OCI_", "AIDP_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    text = json.dumps(record(), indent=2)
    print(text)
    if arguments.write:
        KEPT.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
