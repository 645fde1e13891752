"""MLflow's model registry on AI Data Platform.

As in ``tracking/store.py``, a method checks what MLflow's own SQL store checks, names an operation
of the service with its fields, and reads the answer into MLflow's entities. Registered models
belong to the whole platform. Two things the service has no endpoint for are kept in tags: aliases
(``aliases.py``), and what a version's source was called before it was looked up (``wire.py``).

The reference for what a method returns and raises is MLflow's ``SqlAlchemyStore`` of the registry.
docs/registry.md lists where this store differs, and why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelTag,
)
from mlflow.entities.model_registry.model_version_stages import (
    ALL_STAGES,
    DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS,
    get_canonical_stage,
)
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    NOT_IMPLEMENTED,
    RESOURCE_DOES_NOT_EXIST,
)
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.store.artifact.utils.models import get_model_name_and_version
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
)
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.tracking import MlflowClient
from mlflow.tracking.artifact_utils import get_artifact_uri
from mlflow.utils.uri import is_models_uri
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_name,
    _validate_model_renaming,
    _validate_model_version,
    _validate_model_version_tag,
    _validate_registered_model_tag,
    _validate_tag_name,
)

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.client.wire import nothing, page, tags_json
from mlflow_oci_store.errors import RetryTokenInvalidated
from mlflow_oci_store.registry import aliases, wire
from mlflow_oci_store.reserved_tags import refuse_reserved
from mlflow_oci_store.settings import Settings
from mlflow_oci_store.unsupported import Unsupported
from mlflow_oci_store.uri import SCHEME

try:
    from mlflow.utils.validation import _validate_model_alias_name_reserved
except ImportError:  # in MLflow 3.1 the other check of an alias refuses reserved names, too
    _validate_model_alias_name_reserved = _validate_model_alias_name

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import Prompt, PromptVersion

Json = dict[str, Any]

# MLflow's client adds this to every search for registered models.
_NO_PROMPTS = re.compile(rf"(?:^| AND )tag\.`{re.escape(IS_PROMPT_TAG_KEY)}` != 'true'$")
# How a search for prompts names an experiment, and where MLflow notes a prompt's experiments.
_EXPERIMENT_ID = re.compile(r"""experiment_id\s*=\s*(['"])([^'"]+)\1""")
_IN_EXPERIMENT = r"tags._mlflow_experiment_ids LIKE '%,\2,%'"


class OciDataPlatformRegistryStore(Unsupported, AbstractStore):
    """Registered models and their versions in an Oracle AI Data Platform.

    MLflow makes one for every registry URI ``oci-dp://<ai-data-platform-ocid>/<workspace-key>``,
    which is the tracking URI when nobody sets another. Nothing is read or sent before the first
    call. As the tracking store, it may be shared between threads, used on both sides of a fork,
    and pickled.

    Args:
        store_uri: The registry URI; docs/configuration.md has its options.
        tracking_uri: Where the runs and logged models are that versions come from; the same place
            when left out.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, when the URI or a setting cannot be used.
    """

    def __init__(self, store_uri: str | None = None, tracking_uri: str | None = None) -> None:
        store_uri = store_uri or f"{SCHEME}://"
        self._connect(Settings.from_uri(store_uri), tracking_uri or store_uri)

    def _connect(self, settings: Settings, tracking_uri: str) -> None:
        AbstractStore.__init__(self)
        self._client = DataPlatformClient(settings)
        self._tracking_uri = tracking_uri

    def __getstate__(self) -> tuple[Settings, str]:
        return self._client.settings, self._tracking_uri

    def __setstate__(self, state: tuple[Settings, str]) -> None:
        self._connect(*state)

    # --- registered models -----------------------------------------------------------------------

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        """Create a registered model and return it.

        Raises:
            MlflowException: RESOURCE_ALREADY_EXISTS when the name is taken.
        """
        _validate_model_name(name)
        for tag in tags or ():
            _validate_registered_model_tag(tag.key, tag.value)
            refuse_reserved(tag.key)
        return self._changed_model(
            "create_registered_model",
            name,
            {
                "name": name,
                "tags": tags_json(tags),
                "description": description,
                "deployment_job_id": deployment_job_id,
            },
        )

    def get_registered_model(self, name: str) -> RegisteredModel:
        """Get a registered model with its tags, aliases, and latest version of each stage."""
        _validate_model_name(name)
        return self._client.call("get_registered_model", {"name": name}, _model_of)

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_REGISTERED_MODEL_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        """Search registered models; prompts are found only when the filter asks for them."""
        return self._search(
            ("list_registered_models", "registered_models", wire.registered_model),
            filter_string,
            max_results,
            order_by,
            page_token,
        )

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Give a registered model another name; its versions, tags and aliases go along."""
        _validate_model_name(name)
        _validate_model_renaming(new_name)
        fields = {"name": name, "new_name": new_name}
        return self._changed_model("rename_registered_model", new_name, fields)

    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        """Set a registered model's description."""
        _validate_model_name(name)
        fields = {"name": name, "description": description, "deployment_job_id": deployment_job_id}
        return self._changed_model("update_registered_model", name, fields)

    def delete_registered_model(self, name: str) -> None:
        """Delete a registered model with all its versions."""
        _validate_model_name(name)
        self._change("delete_registered_model", name=name)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag of a registered model."""
        _validate_model_name(name)
        _validate_registered_model_tag(tag.key, tag.value)
        refuse_reserved(tag.key)
        self._change("set_registered_model_tag", name=name, key=tag.key, value=tag.value)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of a registered model."""
        _validate_model_name(name)
        _validate_tag_name(key)
        refuse_reserved(key)
        self._change("delete_registered_model_tag", name=name, key=key)

    def get_latest_versions(
        self, name: str, stages: Sequence[str] | None = None
    ) -> list[ModelVersion]:
        """Get the latest version of each of the stages, or of every stage that has one."""
        model = self.get_registered_model(name)
        wanted = {get_canonical_stage(stage) for stage in stages or ALL_STAGES}
        return [
            _with_aliases(version, model)
            for version in model.latest_versions
            if version.current_stage in wanted
        ]

    # --- model versions --------------------------------------------------------------------------

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Create the next version of a registered model and return it.

        The service is told where the model's files lie, whatever the source is called, so that it
        and other clients find them without MLflow's tracking store. A version of a run is created
        through the run's workspace.

        Args:
            name: The registered model, which exists.
            source: A location, or ``models:/<model_id>``, ``models:/<name>/<version>``,
                ``models:/<name>@<alias>`` or ``runs:/<run_id>/<path>``.
            run_id: The run that made the model; that of the logged model if there is one.
            tags: The version's tags.
            run_link: A link to the run, when it is on another server.
            description: The version's description.
            local_model_path: Not used: the files stay where they are. MLflow passes it.
            model_id: The logged model that the version is made of.
        """
        _validate_model_name(name)
        tags = list(tags or ())
        for tag in tags:
            _validate_model_version_tag(tag.key, tag.value)
            refuse_reserved(tag.key)
        location, run_id = self._located(source, run_id, model_id)
        if location != source:
            tags.append(ModelVersionTag(wire.SOURCE_TAG, source))
        fields = {
            "name": name,
            "source": location,
            "run_id": run_id,
            "tags": tags_json(tags),
            "run_link": run_link,
            "description": description,
            "model_id": model_id,
        }
        of_a_run = run_id and self._runs_are_in_this_workspace()
        operation = "create_workspace_model_version" if of_a_run else "create_model_version"
        try:
            return self._client.call(operation, fields, _version_of)
        except RetryTokenInvalidated as error:
            return self._created_version(name, source, run_id, error)

    def _located(
        self, source: str, run_id: str | None, model_id: str | None
    ) -> tuple[str, str | None]:
        """Find where a source's files lie, and the run that they come from."""
        location = source
        if is_models_uri(source):
            name_and_version = get_model_name_and_version(self, source)
            if len(name_and_version) == 1:
                model = self._logged_model(*name_and_version)
                location, run_id = model.artifact_location, run_id or model.source_run_id
            else:
                location = self.get_model_version_download_uri(*name_and_version)
        elif RunsArtifactRepository.is_runs_uri(source):
            run_and_path = RunsArtifactRepository.parse_runs_uri(source)
            location = get_artifact_uri(*run_and_path, self._tracking_uri)
        if model_id and not run_id:
            run_id = self._logged_model(model_id).source_run_id
        return location, run_id

    def _logged_model(self, model_id: str) -> LoggedModel:
        return MlflowClient(self._tracking_uri).get_logged_model(model_id)

    def _runs_are_in_this_workspace(self) -> bool:
        """Whether runs are where this registry's URI points, and not on some other server."""
        if not self._tracks_on_the_platform():
            return False
        here, there = self._client.settings, Settings.from_uri(self._tracking_uri)
        return (here.platform_id, here.workspace_key) == (there.platform_id, there.workspace_key)

    def _tracks_on_the_platform(self) -> bool:
        return self._tracking_uri.startswith(f"{SCHEME}:")

    def _created_version(
        self, name: str, source: str, run_id: str | None, error: RetryTokenInvalidated
    ) -> ModelVersion:
        """Find the version that a creation made whose answer is lost: it has the highest number."""
        versions = self.get_registered_model(name).latest_versions
        newest = max(versions, key=lambda version: int(version.version), default=None)
        if newest and (newest.source, newest.run_id or None) == (source, run_id or None):
            return newest
        error.add(
            f"It is one of the versions of {name!r} with the source {source!r}: search for it, and "
            "delete it if you create another."
        )
        raise error

    def get_model_version(self, name: str, version: int | str) -> ModelVersion:
        """Get a version with its tags and aliases."""
        found = self._version(name, version)
        return _with_aliases(found, self.get_registered_model(name))

    def _version(self, name: str, version: int | str) -> ModelVersion:
        return self._client.call("get_model_version", _key(name, version), _version_of)

    def get_model_version_download_uri(self, name: str, version: int | str) -> str:
        """Get where a version's files lie."""
        return self._client.call(
            "get_model_version",
            _key(name, version),
            lambda answer: str(answer["model_version"]["source"]),
        )

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """Search versions; as in MLflow's own stores, they come without their aliases."""
        return self._search(
            ("list_model_versions", "model_versions", wire.model_version),
            filter_string,
            max_results,
            order_by,
            page_token,
        )

    def update_model_version(
        self, name: str, version: int | str, description: str | None = None
    ) -> ModelVersion:
        """Set a version's description."""
        fields = {**_key(name, version), "description": description}
        return self._changed_version("update_model_version", fields)

    def transition_model_version_stage(
        self, name: str, version: int | str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Move a version to another stage.

        Args:
            name: The registered model.
            version: The version's number.
            stage: ``None``, ``Staging``, ``Production`` or ``Archived``, in any case.
            archive_existing_versions: Move those that are in this stage to ``Archived``, which is
                possible for ``Staging`` and ``Production`` only.
        """
        stage = get_canonical_stage(stage)
        if archive_existing_versions and stage not in DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS:
            raise MlflowException(
                f"Versions that are in the stage {stage!r} cannot be archived: that is possible "
                f"for {' and '.join(DEFAULT_STAGES_FOR_GET_LATEST_VERSIONS)} only.",
                INVALID_PARAMETER_VALUE,
            )
        fields = {
            **_key(name, version),
            "stage": stage,
            "archive_existing_versions": bool(archive_existing_versions),
        }
        return self._changed_version("transition_model_version_stage", fields)

    def delete_model_version(self, name: str, version: int | str) -> None:
        """Delete a version and its aliases."""
        key = _key(name, version)
        self._change("delete_model_version", **key)
        # In this order a failure leaves an alias that leads nowhere, not a version without alias.
        kept = self._client.call(
            "get_registered_model",
            {"name": name},
            lambda answer: aliases.kept_aliases(answer["registered_model"]),
        )
        for alias, number in kept.items():
            if number == key["version"]:
                self._drop_alias(name, alias)

    def set_model_version_tag(self, name: str, version: int | str, tag: ModelVersionTag) -> None:
        """Set a tag of a version."""
        key = _key(name, version)
        _validate_model_version_tag(tag.key, tag.value)
        refuse_reserved(tag.key)
        self._change("set_model_version_tag", **key, key=tag.key, value=tag.value)

    def delete_model_version_tag(self, name: str, version: int | str, key: str) -> None:
        """Delete a tag of a version."""
        fields = _key(name, version)
        _validate_tag_name(key)
        refuse_reserved(key)
        self._change("delete_model_version_tag", **fields, key=key)

    # --- aliases ---------------------------------------------------------------------------------

    def set_registered_model_alias(self, name: str, alias: str, version: int | str) -> None:
        """Point an alias to a version, away from the version it pointed to."""
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        tag = aliases.tag_key(alias)
        # To the service the value is any text: it cannot check that there is such a version.
        number = self._version(name, version).version
        self._change("set_registered_model_tag", name=name, key=tag, value=number)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; one that is not there is none to delete.

        Raises:
            MlflowException: NOT_IMPLEMENTED for an alias that was not set through MLflow.
        """
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        kept, of_the_service = self._client.call(
            "get_registered_model",
            {"name": name},
            lambda answer: (
                aliases.kept_aliases(answer["registered_model"]),
                aliases.service_aliases(answer["registered_model"]),
            ),
        )
        if alias in kept:
            self._drop_alias(name, alias)
        if alias in of_the_service:
            raise MlflowException(
                f"The alias {alias!r} of {name!r} was set on AI Data Platform itself, whose REST "
                "API has no endpoint to delete it: delete it there.",
                NOT_IMPLEMENTED,
            )

    def _drop_alias(self, name: str, alias: str) -> None:
        self._change("delete_registered_model_tag", name=name, key=aliases.tag_key(alias))

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Get the version that an alias points to; ``latest`` is the one with the highest number.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE when there is no such alias, as MLflow has it.
        """
        _validate_model_alias_name(alias)
        model = self.get_registered_model(name)
        if alias.lower() == "latest":
            if not model.latest_versions:
                raise MlflowException(f"{name!r} has no versions.", RESOURCE_DOES_NOT_EXIST)
            newest = max(model.latest_versions, key=lambda version: int(version.version))
            return _with_aliases(newest, model)
        if alias not in model.aliases:
            raise MlflowException(
                f"Registered model alias {alias} not found.", INVALID_PARAMETER_VALUE
            )
        return _with_aliases(self._version(name, model.aliases[alias]), model)

    # --- prompts ---------------------------------------------------------------------------------

    def search_prompts(
        self,
        filter_string: str | None = None,
        max_results: int | None = None,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Prompt]:
        """Search prompts, by experiment too; MLflow expects a number as an experiment's id here."""
        if filter_string:
            filter_string = _EXPERIMENT_ID.sub(_IN_EXPERIMENT, filter_string)
        return super().search_prompts(filter_string, max_results, order_by, page_token)

    def link_prompts_to_trace(self, prompt_versions: list[PromptVersion], trace_id: str) -> None:
        """Note on a trace which prompts it used; where traces are not kept, neither is this.

        MLflow calls it for every traced function that loads a prompt, and would warn every time.
        """
        if not self._tracks_on_the_platform():
            super().link_prompts_to_trace(prompt_versions, trace_id)

    # --- the steps that methods share ------------------------------------------------------------

    def _change(self, operation: str, **fields: Any) -> None:
        self._client.call(operation, fields, nothing)

    def _changed_model(self, operation: str, name: str, fields: Json) -> RegisteredModel:
        """Call an operation that answers with the registered model, which is then called name."""
        try:
            return self._client.call(operation, fields, _model_of)
        except RetryTokenInvalidated:
            return self.get_registered_model(name)

    def _changed_version(self, operation: str, fields: Json) -> ModelVersion:
        try:
            changed = self._client.call(operation, fields, _version_of)
        except RetryTokenInvalidated:
            return self.get_model_version(fields["name"], fields["version"])
        return _with_aliases(changed, self.get_registered_model(fields["name"]))

    def _search(
        self,
        listed: tuple[str, str, Any],
        filter_string: str | None,
        max_results: int,
        order_by: list[str] | None,
        page_token: str | None,
    ) -> PagedList[Any]:
        """Search without prompts, unless the filter speaks of them.

        MLflow's servers take "this tag is not 'true'" for "leave prompts out"; taken by its words,
        it finds nothing, since models have no such tag. So the service is not asked that.
        """
        operation, name, read = listed
        filter_string = _NO_PROMPTS.sub("", filter_string or "")
        fields = {
            "filter": filter_string or None,
            "max_results": max_results,
            "order_by": order_by,
            "page_token": page_token or None,
        }
        found = self._client.call(operation, fields, lambda answer: page(answer, name, read))
        if IS_PROMPT_TAG_KEY in filter_string:
            return found
        # Of a registered model, ``tags`` itself never shows this one.
        models = [item for item in found if item._tags.get(IS_PROMPT_TAG_KEY) != "true"]
        return PagedList(models, found.token)


def _model_of(answer: Json) -> RegisteredModel:
    return wire.registered_model(answer["registered_model"])


def _version_of(answer: Json) -> ModelVersion:
    return wire.model_version(answer["model_version"])


def _key(name: str, version: int | str) -> dict[str, str]:
    """The fields that name a version."""
    _validate_model_name(name)
    _validate_model_version(version)
    return {"name": name, "version": str(int(version))}


def _with_aliases(version: ModelVersion, model: RegisteredModel) -> ModelVersion:
    version.aliases = [
        alias for alias, number in model.aliases.items() if number == version.version
    ]
    return version
