"""Ids of kept models: what they name, and where they are used."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
from mlflow.store.artifact.utils.models import _parse_model_uri

from mlflow_oci_store.tracking.model_id import Home, HomeKind, KeptModelId

homes = st.builds(
    Home, st.sampled_from(HomeKind), st.text(st.characters(codec="utf-8"), min_size=1)
)


@given(home=homes)
def test_an_id_names_its_home_whatever_that_is_called(home: Home) -> None:
    model_id = KeptModelId.new(home)

    assert KeptModelId.parse(str(model_id)) == model_id


@given(home=homes)
def test_mlflow_takes_a_models_uri_with_such_an_id_for_that_of_a_logged_model(home: Home) -> None:
    uri = f"models:/{KeptModelId.new(home)}"

    assert _parse_model_uri(uri)[0] == uri.removeprefix("models:/")
    assert ModelsArtifactRepository._is_logged_model_uri(uri)
    # A path within the model belongs to another kind of URI, so no part of an id looks like one.
    assert ModelsArtifactRepository.split_models_uri(uri) == (uri, "")


@given(home=homes)
def test_an_id_is_safe_in_a_path(home: Home) -> None:
    assert not set(str(KeptModelId.new(home))) & set("/\\%?#:@ \t\n")


def test_an_id_for_a_run_is_not_much_longer_than_the_runs() -> None:
    run_id = uuid.uuid4().hex

    assert str(KeptModelId.new(Home(HomeKind.RUN, run_id))).startswith(f"m-r{run_id}-")
    assert len(str(KeptModelId.new(Home(HomeKind.RUN, run_id)))) == 48


@given(numbers=st.uuids())
def test_ids_that_mlflow_makes_are_of_no_kept_model(numbers: uuid.UUID) -> None:
    assert KeptModelId.parse(f"m-{numbers.hex}") is None
    assert KeptModelId.parse(numbers.hex) is None
