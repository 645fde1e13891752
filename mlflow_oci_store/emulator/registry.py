"""The operations of a platform: registered models, their versions, and who may use them.

Each method has the name of an operation and takes that operation's fields; MLflow's model
registry store does the rest. Permissions are the service's own, and are kept beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
)

from mlflow_oci_store.emulator.answers import invalid, not_found
from mlflow_oci_store.emulator.entities import (
    Json,
    model_version_json,
    page_json,
    registered_model_json,
)
from mlflow_oci_store.emulator.workspaces import Platform

_GRANTEE_TYPES = ("USER", "ROLE", "GROUP")
_PERMISSIONS = ("READ", "MANAGE", "ADMIN")
_PERMISSIONS_ON_A_PAGE = 100


class RegistryOperations:
    """The operations of one platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._store = platform.registry

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[Json] = (),
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> Json:
        model = self._store.create_registered_model(
            name, [_model_tag(tag) for tag in tags], description, deployment_job_id
        )
        return {"registered_model": registered_model_json(model)}

    def get_registered_model(self, name: str) -> Json:
        return {"registered_model": registered_model_json(self._store.get_registered_model(name))}

    def list_registered_models(
        self,
        filter: str | None = None,  # noqa: A002 - the service's name for it
        max_results: int = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        page_token: str | None = None,
        order_by: Sequence[str] | None = None,
        is_deployment_summary_enabled: bool = False,
    ) -> Json:
        page = self._store.search_registered_models(filter, max_results, order_by, page_token)
        models = list(map(registered_model_json, page))
        if is_deployment_summary_enabled:
            for model in models:
                model["deployment_summary"] = {"total_deployment": 0, "active_deployment": 0}
        return page_json("registered_models", models, page.token)

    def rename_registered_model(self, name: str, new_name: str | None = None) -> Json:
        model = (
            self._store.get_registered_model(name)
            if new_name is None
            else self._store.rename_registered_model(name, new_name)
        )
        if new_name is not None:
            self._platform.permissions.rename(name, new_name)
        return {"registered_model": registered_model_json(model)}

    def update_registered_model(
        self, name: str, description: str | None = None, deployment_job_id: str | None = None
    ) -> Json:
        model = self._store.update_registered_model(name, description, deployment_job_id)
        return {"registered_model": registered_model_json(model)}

    def delete_registered_model(self, name: str) -> Json:
        self._store.delete_registered_model(name)
        self._platform.permissions.delete(name)
        return {}

    def set_registered_model_tag(self, name: str, key: str, value: str) -> Json:
        self._store.set_registered_model_tag(name, RegisteredModelTag(key, value))
        return {}

    def delete_registered_model_tag(self, name: str, key: str) -> Json:
        self._store.delete_registered_model_tag(name, key)
        return {}

    def update_registered_model_tags(
        self, name: str, set_tags: Sequence[Json] = (), delete_tags: Sequence[Json] = ()
    ) -> Json:
        gone = [tag["key"] for tag in delete_tags]
        require_tags(gone, self._store.get_registered_model(name).tags)
        for tag in set_tags:
            self._store.set_registered_model_tag(name, _model_tag(tag))
        for key in gone:
            self._store.delete_registered_model_tag(name, key)
        return {}

    def create_model_version(
        self,
        name: str,
        source: str,
        description: str | None = None,
        run_id: str | None = None,
        tags: Sequence[Json] = (),
        run_link: str | None = None,
        model_id: str | None = None,  # MLflow's SQL store keeps no model id either
    ) -> Json:
        if re.fullmatch(r"models:/[^/@]+", source):
            raise invalid(
                "body.source names a logged model, of which the service keeps no location: "
                "write the location itself"
            )
        version = self._store.create_model_version(
            name, source, run_id, [_version_tag(tag) for tag in tags], run_link, description
        )
        return {"model_version": model_version_json(version)}

    def get_model_version(self, name: str, version: str) -> Json:
        return {"model_version": model_version_json(self._store.get_model_version(name, version))}

    def list_model_versions(
        self,
        filter: str | None = None,  # noqa: A002 - the service's name for it
        max_results: int = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        page_token: str | None = None,
        order_by: Sequence[str] | None = None,
    ) -> Json:
        page = self._store.search_model_versions(filter, max_results, order_by, page_token)
        return page_json("model_versions", map(model_version_json, page), page.token)

    def update_model_version(self, name: str, version: str, description: str | None = None) -> Json:
        updated = self._store.update_model_version(name, version, description)
        return {"model_version": model_version_json(updated)}

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> Json:
        moved = self._store.transition_model_version_stage(
            name, version, stage, archive_existing_versions
        )
        return {"model_version": model_version_json(moved)}

    def delete_model_version(self, name: str, version: str) -> Json:
        self._store.delete_model_version(name, version)
        return {}

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> Json:
        self._store.set_model_version_tag(name, version, ModelVersionTag(key, value))
        return {}

    def delete_model_version_tag(self, name: str, version: str, key: str) -> Json:
        self._store.delete_model_version_tag(name, version, key)
        return {}

    def update_model_version_tags(
        self,
        name: str,
        version: str,
        set_tags: Sequence[Json] = (),
        delete_tags: Sequence[Json] = (),
    ) -> Json:
        gone = [tag["key"] for tag in delete_tags]
        require_tags(gone, self._store.get_model_version(name, version).tags)
        for tag in set_tags:
            self._store.set_model_version_tag(name, version, _version_tag(tag))
        for key in gone:
            self._store.delete_model_version_tag(name, version, key)
        return {}

    def manage_registered_model_permission(
        self,
        registered_model_key: str,
        assign_registered_model_permission_details: Json | None = None,
        revoke_registered_model_permission_details: Json | None = None,
    ) -> Json:
        self._store.get_registered_model(registered_model_key)
        change = self._platform.permissions
        for details, apply in (
            (assign_registered_model_permission_details, change.assign),
            (revoke_registered_model_permission_details, change.revoke),
        ):
            if details is None:
                continue
            assignees, permissions = details["assignees"], details["permissions"]
            if assignees["type"] not in _GRANTEE_TYPES:
                raise invalid(f"assignees.type must be one of {', '.join(_GRANTEE_TYPES)}")
            if not set(permissions) <= set(_PERMISSIONS):
                raise invalid(f"permissions must be among {', '.join(_PERMISSIONS)}")
            for target in assignees["targets"]:
                for permission in permissions:
                    apply(registered_model_key, target, assignees["type"], permission)
        return {}

    def list_registered_model_permissions(
        self,
        registered_model_key: str,
        limit: int = _PERMISSIONS_ON_A_PAGE,
        page: str = "0",
        sort_order: str = "ASC",
        sort_by: str = "grantee",
    ) -> Json:
        self._store.get_registered_model(registered_model_key)
        if limit < 1 or not page.isdecimal():
            raise invalid("query.limit must be at least 1, and query.page an opc-next-page")
        grants = self._platform.permissions.grants(registered_model_key)
        if sort_order == "DESC":
            grants.reverse()
        end = int(page) + limit
        return page_json("items", grants[int(page) : end], str(end) if end < len(grants) else None)


def require_tags(keys: Sequence[str], tags: dict[str, str]) -> None:
    """Refuse to delete a tag that is not there, before anything is changed.

    Raises:
        Refusal: 404 NotAuthorizedOrNotFound.
    """
    for key in keys:
        if key not in tags:
            raise not_found(f"there is no tag {key!r}")


def _model_tag(tag: Json) -> RegisteredModelTag:
    return RegisteredModelTag(tag.get("key"), tag.get("value", ""))


def _version_tag(tag: Json) -> ModelVersionTag:
    return ModelVersionTag(tag.get("key"), tag.get("value", ""))
