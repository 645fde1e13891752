"""With a PostgreSQL server, each workspace and each platform's registry is a schema of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from aidp_python_client.aidataplatform_dp import models

from mlflow_oci_store.emulator import AidpEmulator

from .conftest import Sdk


def test_data_is_kept_in_postgresql_apart_for_each_workspace(
    tmp_path: Path, postgresql_uri: str
) -> None:
    with AidpEmulator(tmp_path, backend_store_uri=postgresql_uri) as emulator:
        place = emulator.create_workspace()
        for workspace, name in ((Sdk(emulator), "here"), (Sdk(emulator, place), "there")):
            workspace.create_experiment(models.CreateExperimentDetails(name=name))
        Sdk(emulator).create_registered_model(models.CreateRegisteredModelDetails(name="model"))
    assert not list(tmp_path.glob("tracking*")) + list(tmp_path.glob("registry*"))

    with AidpEmulator(tmp_path, backend_store_uri=postgresql_uri) as emulator:
        found = [
            [
                experiment.name
                for experiment in sdk.list_experiments(
                    models.ListExperimentsDetails()
                ).data.experiments
            ]
            for sdk in (Sdk(emulator), Sdk(emulator, place))
        ]
        assert found == [["here"], ["there"]]
        model = Sdk(emulator).get_registered_model("model").data.registered_model
        assert model.name == "model"


@pytest.mark.parametrize("uri", ["mysql://user:hidden@host/db", "hidden"])
def test_another_kind_of_database_is_refused_without_telling_its_password(uri: str) -> None:
    with pytest.raises(ValueError, match="SQLite files or in PostgreSQL") as caught:
        AidpEmulator(backend_store_uri=uri)
    assert "hidden" not in str(caught.value)
