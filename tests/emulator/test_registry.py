"""Every operation of a platform's model registry, asked for by Oracle's SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aidp_python_client.aidataplatform_dp import models as m

from .conftest import Sdk

Refused = Callable[..., Any]


@pytest.fixture
def model(sdk: Sdk) -> str:
    name = "catalog.schema.model"
    sdk.create_registered_model(
        m.CreateRegisteredModelDetails(
            name=name, description="first", tags=[m.RegisteredModelTag(key="k", value="v")]
        )
    )
    return name


@pytest.fixture
def version(sdk: Sdk, model: str) -> str:
    details = m.CreateModelVersionDetails(
        name=model,
        source="oci://bucket@namespace/model",
        description="first",
        run_link="https://run",
        tags=[m.ModelVersionTag(key="k", value="v")],
    )
    return sdk.create_model_version(details).data.model_version.version


def tags_of(entity: Any) -> dict[str, str]:
    return {tag.key: tag.value for tag in entity.tags}


def test_a_registered_model_is_read_back(sdk: Sdk, model: str, refused: Refused) -> None:
    found = sdk.get_registered_model(model).data.registered_model
    assert (found.name, found.description, tags_of(found)) == (model, "first", {"k": "v"})
    assert found.creation_timestamp == found.last_updated_timestamp
    error = refused(sdk.create_registered_model, m.CreateRegisteredModelDetails(name=model))
    assert (error.status, error.code) == (409, "NotAuthorizedOrResourceAlreadyExists")
    assert refused(sdk.get_registered_model, "other").status == 404


def test_registered_models_are_searched(sdk: Sdk, model: str) -> None:
    sdk.create_registered_model(m.CreateRegisteredModelDetails(name="another"))
    first = sdk.list_registered_models(
        max_results=1, order_by="name ASC", is_deployment_summary_enabled=True
    ).data
    [found] = first.registered_models
    assert found.name == "another"
    assert found.deployment_summary.total_deployment == 0
    second = sdk.list_registered_models(
        max_results=1, order_by="name ASC", page_token=first.next_page_token
    ).data
    assert [each.name for each in second.registered_models] == [model]
    filtered = sdk.list_registered_models(filter=f"name = '{model}'").data
    assert filtered == second


def test_a_registered_model_is_changed_and_deleted(
    sdk: Sdk, model: str, version: str, refused: Refused
) -> None:
    updated = sdk.update_registered_model(
        m.UpdateRegisteredModelDetails(name=model, description="second")
    ).data.registered_model
    assert updated.description == "second"
    unnamed = m.RenameRegisteredModelDetails(name=model)
    assert sdk.rename_registered_model(unnamed).data.registered_model.name == model
    renaming = m.RenameRegisteredModelDetails(name=model, new_name="new")
    assert sdk.rename_registered_model(renaming).data.registered_model.name == "new"
    assert sdk.get_model_version("new", version).data.model_version.name == "new"
    sdk.delete_registered_model(m.DeleteRegisteredModelDetails(name="new"))
    assert refused(sdk.get_registered_model, "new").status == 404


def test_registered_model_tags_are_set_and_deleted(sdk: Sdk, model: str, refused: Refused) -> None:
    sdk.set_registered_model_tag(m.SetRegisteredModelTagDetails(name=model, key="a", value="1"))
    sdk.delete_registered_model_tag(m.DeleteRegisteredModelTagDetails(name=model, key="k"))
    update = m.UpdateRegisteredModelTagsDetails(
        name=model,
        set_tags=[m.RegisteredModelTag(key="b", value="2")],
        delete_tags=[m.RegisteredModelTagKey(key="a")],
    )
    sdk.update_registered_model_tags(update)
    assert refused(sdk.update_registered_model_tags, update).status == 404
    assert tags_of(sdk.get_registered_model(model).data.registered_model) == {"b": "2"}


def test_a_model_version_is_read_back(sdk: Sdk, model: str, version: str) -> None:
    found = sdk.get_model_version(model, version).data.model_version
    assert (found.name, found.version, found.description) == (model, "1", "first")
    assert (found.source, found.run_link) == ("oci://bucket@namespace/model", "https://run")
    assert (found.status, found.current_stage) == ("READY", "None")
    assert tags_of(found) == {"k": "v"}
    [latest] = sdk.get_registered_model(model).data.registered_model.latest_versions
    assert latest == found


def test_a_model_version_needs_a_location(sdk: Sdk, model: str, refused: Refused) -> None:
    details = m.CreateModelVersionDetails(name=model, source="models:/m-0123456789")
    error = refused(sdk.create_model_version, details)
    assert (error.code, "write the location" in error.message) == ("InvalidParameter", True)


def test_model_versions_are_searched(sdk: Sdk, model: str, version: str) -> None:
    again = m.CreateModelVersionDetails(name=model, source=f"models:/{model}/{version}")
    sdk.create_model_version(again)
    first = sdk.list_model_versions(
        filter=f"name = '{model}'", max_results=1, order_by="version_number ASC"
    )
    assert [each.version for each in first.data.model_versions] == ["1"]
    token = first.headers["opc-next-page"]
    second = sdk.list_model_versions(
        filter=f"name = '{model}'", order_by="version_number ASC", page_token=token
    )
    assert [each.version for each in second.data.model_versions] == ["2"]


def test_a_model_version_is_changed_and_deleted(
    sdk: Sdk, model: str, version: str, refused: Refused
) -> None:
    updating = m.UpdateModelVersionDetails(name=model, version=version, description="second")
    assert sdk.update_model_version(updating).data.model_version.description == "second"
    moving = m.TransitionModelVersionStageDetails(
        name=model, version=version, stage="Production", archive_existing_versions=True
    )
    moved = sdk.transition_model_version_stage(moving).data.model_version
    assert moved.current_stage == "Production"
    sdk.delete_model_version(m.DeleteModelVersionDetails(name=model, version=version))
    assert refused(sdk.get_model_version, model, version).status == 404


def test_model_version_tags_are_set_and_deleted(
    sdk: Sdk, model: str, version: str, refused: Refused
) -> None:
    at = {"name": model, "version": version}
    sdk.set_model_version_tag(m.SetModelVersionTagDetails(**at, key="a", value="1"))
    sdk.delete_model_version_tag(m.DeleteModelVersionTagDetails(**at, key="k"))
    update = m.UpdateModelVersionTagsDetails(
        **at,
        set_tags=[m.ModelVersionTag(key="b", value="2")],
        delete_tags=[m.ModelVersionTagKey(key="a")],
    )
    sdk.update_model_version_tags(update)
    assert refused(sdk.update_model_version_tags, update).status == 404
    assert tags_of(sdk.get_model_version(model, version).data.model_version) == {"b": "2"}


def change(sdk: Sdk, model: str, verb: str, *permissions: str, kind: str = "USER") -> None:
    details = {
        "assign": m.AssignRegisteredModelPermissionDetails,
        "revoke": m.RevokeRegisteredModelPermissionDetails,
    }[verb](
        assignees=m.PermissionAssignees(type=kind, targets=["ann", "bob"]),
        permissions=list(permissions),
    )
    sdk.manage_registered_model_permission(
        model,
        m.ManageRegisteredModelPermissionDetails(
            **{f"{verb}_registered_model_permission_details": details}
        ),
    )


def permissions(sdk: Sdk, model: str, **options: Any) -> list[tuple[str, str, list[str]]]:
    page = sdk.list_registered_model_permissions(model, **options)
    return [(each.grantee, each.grantee_type, each.grantee_permissions) for each in page.data.items]


def test_permissions_are_granted_and_revoked(sdk: Sdk, model: str) -> None:
    change(sdk, model, "assign", "READ", "MANAGE")
    change(sdk, model, "assign", "ADMIN", kind="GROUP")
    change(sdk, model, "revoke", "MANAGE")
    granted = [
        ("ann", "GROUP", ["ADMIN"]),
        ("ann", "USER", ["READ"]),
        ("bob", "GROUP", ["ADMIN"]),
        ("bob", "USER", ["READ"]),
    ]
    assert permissions(sdk, model) == granted
    assert permissions(sdk, model, sort_order="DESC") == granted[::-1]


def test_permissions_are_listed_by_page(sdk: Sdk, model: str, refused: Refused) -> None:
    change(sdk, model, "assign", "READ")
    first = sdk.list_registered_model_permissions(model, limit=1)
    assert [each.grantee for each in first.data.items] == ["ann"]
    page = first.headers["opc-next-page"]
    assert permissions(sdk, model, limit=1, page=page) == [("bob", "USER", ["READ"])]
    error = refused(sdk.list_registered_model_permissions, model, page="elsewhere")
    assert error.code == "InvalidParameter"


def test_permissions_follow_their_model(sdk: Sdk, model: str) -> None:
    change(sdk, model, "assign", "READ")
    before = permissions(sdk, model)
    sdk.rename_registered_model(m.RenameRegisteredModelDetails(name=model, new_name="new"))
    assert permissions(sdk, "new") == before
    sdk.delete_registered_model(m.DeleteRegisteredModelDetails(name="new"))
    sdk.create_registered_model(m.CreateRegisteredModelDetails(name="new"))
    assert permissions(sdk, "new") == []


def test_unknown_permissions_are_refused(sdk: Sdk, model: str, refused: Refused) -> None:
    def assign(permission: str, kind: str) -> None:
        # As plain JSON, because the SDK's models would refuse it themselves.
        assignees = {"type": kind, "targets": ["ann"]}
        details = {"assignees": assignees, "permissions": [permission]}
        sdk.manage_registered_model_permission(
            model, {"assignRegisteredModelPermissionDetails": details}
        )

    assert refused(assign, "FLY", "USER").code == "InvalidParameter"
    assert refused(assign, "READ", "CAT").code == "InvalidParameter"
    assert refused(change, sdk, "other", "assign", "READ").status == 404
    assert permissions(sdk, model) == []
