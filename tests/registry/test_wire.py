"""What the service may answer about registered models and versions, read into MLflow's entities."""

from __future__ import annotations

import pytest

from mlflow_oci_store.registry import wire


def test_a_version_with_all_that_the_schema_has() -> None:
    read = wire.model_version(
        {
            "name": "catalog.schema.model",
            "version": "3",
            "creation_timestamp": "1700000000000",
            "last_updated_timestamp": 1700000000001,
            "user_id": "ada",
            "current_stage": "Staging",
            "description": "d",
            "source": "oci://bucket@namespace/model",
            "run_id": "r",
            "status": "PENDING_REGISTRATION",
            "status_message": "copying",
            "tags": [{"key": "k", "value": "v"}, {"key": "mlflow-oci-store.source", "value": "s"}],
            "run_link": "https://host",
            "aliases": ["official"],
            "model_id": "m-1",
            "model_metrics": [{"key": "loss", "value": "NaN", "timestamp": 1, "step": 2}],
            "model_params": [{"name": "p", "value": "1"}],
            "deployment_job_state": {"job_id": "j", "run_state": "RUNNING"},
        }
    )
    assert (read.name, read.version, read.creation_timestamp) == (
        "catalog.schema.model",
        "3",
        1700000000000,
    )
    assert (read.last_updated_timestamp, read.user_id, read.current_stage) == (
        1700000000001,
        "ada",
        "Staging",
    )
    assert (read.description, read.source, read.run_id, read.run_link) == (
        "d",
        "s",
        "r",
        "https://host",
    )
    assert (read.status, read.status_message) == ("PENDING_REGISTRATION", "copying")
    assert (read.tags, read.aliases, read.model_id) == ({"k": "v"}, ["official"], "m-1")
    assert [(param.key, param.value) for param in read.params] == [("p", "1")]
    assert [(metric.key, metric.step, str(metric.value)) for metric in read.metrics] == [
        ("loss", 2, "nan")
    ]
    state = read.deployment_job_state
    assert (state.job_id, state.run_id, state.run_state) == ("j", None, "RUNNING")


def test_a_version_with_as_little_as_can_be() -> None:
    read = wire.model_version({"name": "model", "version": 1})
    assert (read.version, read.status, read.tags, read.aliases) == ("1", "READY", {}, [])
    assert (read.source, read.params, read.metrics, read.deployment_job_state) == (None,) * 4


def test_a_registered_model_with_all_that_the_schema_has() -> None:
    read = wire.registered_model(
        {
            "name": "model",
            "creation_timestamp": 1,
            "last_updated_timestamp": 2,
            "description": "d",
            "latest_versions": [{"name": "model", "version": "1"}],
            "aliases": [{"alias": "official", "version": "1"}],
            "tags": [{"key": "k"}, {"key": "mlflow-oci-store.alias.mine", "value": "1"}],
            "deployment_job_id": "j",
            "deployment_job_state": "CONNECTED",
        }
    )
    assert (read.name, read.description, read.tags) == ("model", "d", {"k": ""})
    assert (read.creation_timestamp, read.last_updated_timestamp) == (1, 2)
    assert [version.version for version in read.latest_versions] == ["1"]
    assert read.aliases == {"mine": "1", "official": "1"}
    assert (read.deployment_job_id, read.deployment_job_state) == ("j", "CONNECTED")


@pytest.mark.parametrize(
    "content",
    [{}, {"name": "model", "version": "1", "creation_timestamp": "soon"}, {"version": "1"}],
)
def test_what_cannot_be_a_version_is_said_to_be_unreadable(content: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        wire.model_version(content)
