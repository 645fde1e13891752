"""A bad network, a strict service and a short session change when things arrive, nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import (
    AidpEmulator,
    CloseAfter,
    Fault,
    Garbage,
    RateLimit,
    Truncate,
)
from mlflow_oci_store.emulator.faults import Action
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, refuse, steps, values

LOGGING = "log_experiment_run_batch"


def metric(step: int) -> Metric:
    return Metric("m", float(step), step, step)


@pytest.mark.usefixtures("brisk")
def test_one_answer_in_five_is_lost_and_everything_is_applied_once(
    aidp_emulator: AidpEmulator,
    store: OciDataPlatformStore,
    experiment_id: str,
    applied: list[Applied],
) -> None:
    runs = [store.create_run(experiment_id, "ada", n, [], None).info.run_id for n in range(4)]
    aidp_emulator.faults.add(Fault(CloseAfter(), probability=0.1))
    aidp_emulator.faults.add(Fault(CloseAfter(reset=True), probability=0.1))
    for step in range(120):
        for run_id in runs:
            store.log_metric_async(run_id, metric(step))
            # Tags of one name cannot share a request, so there are many.
            store.set_tag_async(run_id, RunTag("latest", str(step)))
    store.flush_async_logging()
    for run_id in runs:
        assert steps(applied, run_id) == list(range(120))
        assert values(applied, run_id, "tags") == [("latest", str(n)) for n in range(120)]
    tokens = [it.retry_token for it in applied]
    assert len(tokens) == len(set(tokens)) >= 4 * 120


@pytest.mark.parametrize("action", [Truncate(), Garbage(), Garbage('["no", "object"]')], ids=str)
@pytest.mark.usefixtures("brisk")
def test_an_answer_that_is_not_the_services_is_no_refusal(
    aidp_emulator: AidpEmulator,
    store: OciDataPlatformStore,
    run_id: str,
    applied: list[Applied],
    action: Action,
) -> None:
    aidp_emulator.faults.add(Fault(action, LOGGING, times=3))
    store.log_metric_async(run_id, metric(0)).wait()
    assert steps(applied, run_id) == [0]


def test_a_rate_limit_of_five_requests_a_second_is_kept_and_loses_nothing(
    aidp_emulator: AidpEmulator,
    store: OciDataPlatformStore,
    experiment_id: str,
    applied: list[Applied],
) -> None:
    runs = [store.create_run(experiment_id, "ada", n, [], None).info.run_id for n in range(8)]
    aidp_emulator.faults.add(Fault(RateLimit(5), LOGGING))
    for step in range(1500):
        for run_id in runs:
            store.log_metric_async(run_id, metric(step))
    store.flush_async_logging()
    for run_id in runs:
        assert steps(applied, run_id) == list(range(1500))


@pytest.mark.usefixtures("brisk")
def test_a_session_that_expires_holds_things_up_until_it_is_renewed(
    tmp_path: Path, applied: list[Applied]
) -> None:
    ahead = 0.0
    with AidpEmulator(clock=lambda: time.time() + ahead) as emulator:
        session = Session(tmp_path, emulator)
        session.renew()
        store = OciDataPlatformStore(session.tracking_uri)
        run_id = store.create_run(store.create_experiment("e"), "ada", 0, [], None).info.run_id
        store.log_metric_async(run_id, metric(0)).wait()
        # The token has expired for the service, and no other is to be had yet.
        ahead = 150.0
        waiting = store.log_metric_async(run_id, metric(1))
        with pytest.raises(MlflowException, match="401 NotAuthenticated"):
            store._client.outbox.settle(patience=0.2)
        session.renew()
        waiting.wait()
    assert steps(applied, run_id) == [0, 1]


class Session:
    """What `oci session authenticate` writes: a profile, a key, and a token that is soon over."""

    def __init__(self, folder: Path, emulator: AidpEmulator) -> None:
        self._folder = folder
        self._emulator = emulator
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (folder / "config").write_text(
            f"[SESSION]\nsecurity_token_file={folder / 'token'}\nkey_file={folder / 'key.pem'}\n"
            "region=us-ashburn-1\ntenancy=ocid1.tenancy.oc1..a\nfingerprint="
            + ":".join(["00"] * 16)
        )
        self.tracking_uri = (
            f"oci-dp://{emulator.platform_id}/{emulator.workspace_key}?profile=SESSION"
            f"&endpoint={emulator.endpoint}&config_file={folder / 'config'}"
        )

    def renew(self) -> None:
        """Put a new token in the old one's place."""
        renewal = self._folder / "renewal"
        renewal.write_text(self._emulator.issue_token(self._public, lifetime_seconds=100))
        renewal.replace(self._folder / "token")


@pytest.mark.usefixtures("brisk")
def test_trouble_with_one_run_does_not_hold_back_the_others(
    store: OciDataPlatformStore,
    experiment_id: str,
    applied: list[Applied],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ill, *well = (store.create_run(experiment_id, "ada", n, [], None).info.run_id for n in range(4))
    with monkeypatch.context() as patch:
        refuse(patch, 500, "InternalServerError", lambda body: body.get("run_id") == ill)
        kept = store.log_metric_async(ill, metric(0))
        for step in range(10):
            for run_id in well:
                store.log_metric_async(run_id, metric(step)).wait()
        for run_id in well:
            assert store.get_metric_history(run_id, "m")[-1].step == 9
        # What is about no run waits for none.
        assert store.get_experiment(experiment_id).name == "outbox"
        store.create_run(experiment_id, "ada", 9, [], None)
        with pytest.raises(MlflowException, match="This refusal was ordered"):
            store._client.outbox.settle(ill, patience=0.1)
    kept.wait()
    assert steps(applied, ill) == [0]
