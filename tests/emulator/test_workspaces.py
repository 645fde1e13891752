"""Platforms and workspaces side by side: none sees another's data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aidp_python_client.aidataplatform_dp import models as m

from mlflow_oci_store.emulator import AidpEmulator

from .conftest import Sdk, Wire

ANOTHER_PLATFORM = "ocid1.aidataplatform.oc1.iad.another"


def test_the_first_platform_is_an_ocid(aidp_emulator: AidpEmulator) -> None:
    assert re.fullmatch(r"ocid1\.aidataplatform\.oc1\.iad\.\w{60}", aidp_emulator.platform_id)
    assert re.fullmatch(r"[\w-]+", aidp_emulator.workspace_key)


def test_experiments_are_a_workspaces_own(
    aidp_emulator: AidpEmulator, refused: Callable[..., Any]
) -> None:
    places = [
        (aidp_emulator.platform_id, aidp_emulator.workspace_key),
        aidp_emulator.create_workspace(),
        aidp_emulator.create_workspace(ANOTHER_PLATFORM, aidp_emulator.workspace_key),
    ]
    sdks = [Sdk(aidp_emulator, place) for place in places]
    ids = []
    for number, sdk in enumerate(sdks):
        created = sdk.create_experiment(m.CreateExperimentDetails(name="same")).data
        run = sdk.create_experiment_run(
            m.CreateExperimentRunDetails(experiment_id=created.experiment_id, run_name=f"{number}")
        ).data.run
        ids.append((created.experiment_id, run.info.run_id))
    for number, (sdk, (experiment_id, run_id)) in enumerate(zip(sdks, ids, strict=True)):
        details = m.ListExperimentRunsDetails(experiment_ids=[experiment_id])
        [found] = sdk.list_experiment_runs(details).data.runs
        assert (found.info.run_id, found.info.run_name) == (run_id, f"{number}")
        stranger = sdks[number - 1]
        assert refused(stranger.get_experiment_run_by_id, run_id).status == 404
    audited = [(record.platform_id, record.workspace_key) for record in aidp_emulator.audit()]
    assert audited == [place for place in places for _ in range(2)]


def test_registered_models_are_a_platforms_own(
    aidp_emulator: AidpEmulator, refused: Callable[..., Any]
) -> None:
    sibling = Sdk(aidp_emulator, aidp_emulator.create_workspace())
    stranger = Sdk(aidp_emulator, aidp_emulator.create_workspace(ANOTHER_PLATFORM))
    Sdk(aidp_emulator).create_registered_model(m.CreateRegisteredModelDetails(name="mine"))
    assert sibling.get_registered_model("mine").data.registered_model.name == "mine"
    assert refused(stranger.get_registered_model, "mine").status == 404
    [record] = aidp_emulator.audit()
    assert (record.platform_id, record.workspace_key) == (aidp_emulator.platform_id, None)


def test_an_unknown_place_is_not_found(
    aidp_emulator: AidpEmulator, refused: Callable[..., Any]
) -> None:
    for place in (
        (aidp_emulator.platform_id, "unknown"),
        (ANOTHER_PLATFORM, aidp_emulator.workspace_key),
    ):
        sdk = Sdk(aidp_emulator, place)
        error = refused(sdk.list_experiments, m.ListExperimentsDetails())
        assert (error.status, error.code) == (404, "NotAuthorizedOrNotFound")
    error = refused(Sdk(aidp_emulator, (ANOTHER_PLATFORM, "")).list_registered_models)
    assert (error.status, error.code) == (404, "NotAuthorizedOrNotFound")


@pytest.mark.parametrize("key", ["a/b", "with space", "größe", "100%", "a?b#c"])
def test_a_workspace_key_may_have_any_characters(
    aidp_emulator: AidpEmulator, wire: Wire, key: str
) -> None:
    assert aidp_emulator.create_workspace(workspace_key=key) == (aidp_emulator.platform_id, key)
    base = wire.base.replace(aidp_emulator.workspace_key, quote(key, safe=""))
    assert wire("POST", base + "experiments/create", {"name": "a"}).status_code == 200
    [record] = aidp_emulator.audit()
    assert record.workspace_key == key
    assert f"/{quote(key, safe='')}?" in aidp_emulator.uri_of(
        *aidp_emulator.create_workspace(workspace_key=key)
    )


def test_workspaces_are_kept(tmp_path: Path) -> None:
    with AidpEmulator(tmp_path) as emulator:
        place = emulator.create_workspace(ANOTHER_PLATFORM, "second")
        assert place == emulator.create_workspace(ANOTHER_PLATFORM, "second")
        Sdk(emulator, place).create_experiment(m.CreateExperimentDetails(name="kept"))
    with AidpEmulator(tmp_path) as emulator:
        found = Sdk(emulator, place).get_experiment_by_name("kept").data.experiment
        assert found.name == "kept"
