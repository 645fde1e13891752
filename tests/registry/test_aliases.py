"""Aliases, which are tags of the registered model to the service."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator, Fail, Fault
from mlflow_oci_store.emulator.workspaces import SqlRegistryStore
from mlflow_oci_store.registry.aliases import MAX_ALIAS_LENGTH
from mlflow_oci_store.reserved_tags import PREFIX

NAME = "catalog.schema.model"


@pytest.fixture
def model(client: MlflowClient) -> str:
    """A model with three versions."""
    client.create_registered_model(NAME, tags={"team": "a"})
    for number in range(3):
        client.create_model_version(NAME, f"s3://bucket/{number}")
    return NAME


@pytest.fixture
def service(emulator: AidpEmulator, place: tuple[str, str]) -> SqlRegistryStore:
    """What the service keeps, for what is done on its own pages."""
    return emulator._workspaces.platform(place[0]).registry


def test_an_alias_is_shown_wherever_mlflow_shows_it(client: MlflowClient, model: str) -> None:
    client.set_registered_model_alias(model, "champion", 2)
    client.set_registered_model_alias(model, "a-b_c", 2)
    client.set_registered_model_alias(model, "Champion", 1)
    found = client.get_registered_model(model)
    assert found.aliases == {"champion": "2", "a-b_c": "2", "Champion": "1"}
    assert found.tags == {"team": "a"}
    assert client.get_model_version(model, 2).aliases == ["a-b_c", "champion"]
    assert client.get_model_version_by_alias(model, "champion").version == "2"
    assert client.update_model_version(model, 2, "d").aliases == ["a-b_c", "champion"]
    [searched] = client.search_registered_models(f"name = '{model}'")
    assert searched.aliases == found.aliases
    assert searched.tags == {"team": "a"}


def test_an_alias_moves_and_goes(client: MlflowClient, model: str) -> None:
    client.set_registered_model_alias(model, "champion", 1)
    client.set_registered_model_alias(model, "champion", "3")
    assert client.get_model_version(model, 1).aliases == []
    assert client.get_model_version(model, 3).aliases == ["champion"]
    client.delete_registered_model_alias(model, "champion")
    client.delete_registered_model_alias(model, "champion")
    assert client.get_registered_model(model).aliases == {}
    with pytest.raises(MlflowException, match="alias champion not found") as caught:
        client.get_model_version_by_alias(model, "champion")
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_refusal_to_delete_an_alias_is_told(
    client: MlflowClient, model: str, emulator: AidpEmulator
) -> None:
    client.set_registered_model_alias(model, "champion", 1)
    refusal = Fail(404, "NotAuthorizedOrNotFound")
    emulator.faults.add(Fault(refusal, "delete_registered_model_tag", times=1))
    with pytest.raises(MlflowException, match="404 NotAuthorizedOrNotFound"):
        client.delete_registered_model_alias(model, "champion")
    assert client.get_registered_model(model).aliases == {"champion": "1"}


def test_a_deleted_version_takes_its_aliases_along(client: MlflowClient, model: str) -> None:
    for alias, version in {"champion": 1, "old": 1, "new": 3}.items():
        client.set_registered_model_alias(model, alias, version)
    client.delete_model_version(model, 1)
    assert client.get_registered_model(model).aliases == {"new": "3"}


def test_a_renamed_model_keeps_its_aliases(client: MlflowClient, model: str) -> None:
    client.set_registered_model_alias(model, "champion", 1)
    client.rename_registered_model(model, "renamed")
    assert client.get_registered_model("renamed").aliases == {"champion": "1"}
    assert client.get_model_version_by_alias("renamed", "champion").version == "1"


@pytest.mark.filterwarnings("ignore:.*since 2.9.0:FutureWarning")
def test_latest_is_the_highest_version(client: MlflowClient, model: str) -> None:
    client.transition_model_version_stage(model, 2, "Production")
    assert client.get_model_version_by_alias(model, "latest").version == "3"
    client.create_registered_model("empty")
    with pytest.raises(MlflowException, match="no versions"):
        client.get_model_version_by_alias("empty", "latest")


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V12", "", None, "a b", "x" * 256])
def test_names_that_no_alias_may_have_are_refused(
    client: MlflowClient, model: str, alias: str
) -> None:
    with pytest.raises(MlflowException) as caught:
        client.set_registered_model_alias(model, alias, 1)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_the_longest_alias_fits_and_a_longer_one_is_refused(
    client: MlflowClient, model: str
) -> None:
    longest = "x" * MAX_ALIAS_LENGTH
    client.set_registered_model_alias(model, longest, 1)
    assert client.get_registered_model(model).aliases == {longest: "1"}
    with pytest.raises(MlflowException, match=f"room for {MAX_ALIAS_LENGTH} characters"):
        client.set_registered_model_alias(model, longest + "x", 1)


@pytest.mark.parametrize("version", [4, "4"])
def test_an_alias_needs_its_version(client: MlflowClient, model: str, version: int | str) -> None:
    with pytest.raises(MlflowException) as caught:
        client.set_registered_model_alias(model, "champion", version)
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert client.get_registered_model(model).aliases == {}


def test_writers_at_the_same_moment_leave_one_version(client: MlflowClient, model: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: client.set_registered_model_alias(
                    model, f"alias-{number % 5}", number % 3 + 1
                ),
                range(60),
            )
        )
    aliases = client.get_registered_model(model).aliases
    assert sorted(aliases) == [f"alias-{number}" for number in range(5)]
    versions = [client.get_model_version(model, number) for number in (1, 2, 3)]
    shown = [alias for version in versions for alias in version.aliases]
    assert sorted(shown) == sorted(aliases)


def test_the_tags_that_hold_them_are_out_of_reach(client: MlflowClient, model: str) -> None:
    client.set_registered_model_alias(model, "champion", 1)
    key = f"{PREFIX}alias.champion"
    for refused in (
        lambda: client.set_registered_model_tag(model, key, "2"),
        lambda: client.delete_registered_model_tag(model, key),
        lambda: client.set_model_version_tag(model, 1, f"{PREFIX}source", "s3://elsewhere"),
        lambda: client.delete_model_version_tag(model, 1, f"{PREFIX}source"),
        lambda: client.create_registered_model("other", tags={key: "2"}),
        lambda: client.create_model_version(model, "s3://bucket", tags={f"{PREFIX}x": "2"}),
    ):
        with pytest.raises(MlflowException, match="cannot be set or deleted by hand") as caught:
            refused()
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert client.get_registered_model(model).aliases == {"champion": "1"}


def test_the_services_own_aliases_are_shown(
    client: MlflowClient, model: str, service: SqlRegistryStore
) -> None:
    service.set_registered_model_alias(model, "official", 2)
    assert client.get_registered_model(model).aliases == {"official": "2"}
    assert client.get_model_version(model, 2).aliases == ["official"]
    assert client.get_model_version_by_alias(model, "official").version == "2"


def test_an_alias_set_through_mlflow_covers_the_services_own(
    client: MlflowClient, model: str, service: SqlRegistryStore
) -> None:
    service.set_registered_model_alias(model, "champion", 1)
    client.set_registered_model_alias(model, "champion", 2)
    assert client.get_registered_model(model).aliases == {"champion": "2"}
    assert client.get_model_version(model, 1).aliases == []
    with pytest.raises(MlflowException, match="delete it there") as caught:
        client.delete_registered_model_alias(model, "champion")
    assert caught.value.error_code == "NOT_IMPLEMENTED"
    assert client.get_registered_model(model).aliases == {"champion": "1"}
