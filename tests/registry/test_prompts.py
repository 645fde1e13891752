"""MLflow's prompt registry, which keeps prompts as registered models with tags."""

from __future__ import annotations

import threading
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mlflow_oci_store.registry.store import OciDataPlatformRegistryStore

NAME = "catalog.schema.prompt"
# MLflow 3.1 has these functions elsewhere.
genai = mlflow.genai if hasattr(mlflow.genai, "register_prompt") else mlflow


@pytest.fixture
def prompt(uri: str) -> Any:
    genai.register_prompt(NAME, "Hello {{name}}", commit_message="first", tags={"tone": "warm"})
    wait_for_links()
    return genai.register_prompt(NAME, "Good evening {{name}}", commit_message="second")


def wait_for_links() -> None:
    """MLflow notes a prompt's experiment in a thread of its own."""
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt"):
            thread.join()


def test_prompts_are_registered_and_loaded(prompt: Any) -> None:
    assert (prompt.name, prompt.version) == (NAME, 2)
    assert genai.load_prompt(NAME, version=1).format(name="Ada") == "Hello Ada"
    assert genai.load_prompt(f"prompts:/{NAME}/2").template == "Good evening {{name}}"
    assert genai.load_prompt(f"prompts:/{NAME}/3", allow_missing=True) is None
    assert genai.load_prompt("prompts:/other/1", allow_missing=True) is None


def test_prompts_have_aliases(prompt: Any) -> None:
    genai.set_prompt_alias(NAME, "production", 1)
    assert genai.load_prompt(f"prompts:/{NAME}@production").version == 1
    genai.delete_prompt_alias(NAME, "production")
    with pytest.raises(MlflowException, match="not found"):
        MlflowClient().load_prompt(f"prompts:/{NAME}@production", cache_ttl_seconds=0)


def test_chat_prompts_keep_their_messages(uri: str) -> None:
    template = [{"role": "user", "content": "Grüße, {{name}} 😀"}]
    genai.register_prompt("chat", template, response_format={"type": "object"})
    found = genai.load_prompt("chat", version=1)
    assert (found.template, found.response_format) == (template, {"type": "object"})


def test_prompts_are_searched(prompt: Any, client: MlflowClient) -> None:
    genai.register_prompt("other", "Bye")
    assert {found.name for found in genai.search_prompts()} == {NAME, "other"}
    [found] = genai.search_prompts("name LIKE 'catalog.%'")
    assert (found.name, found.tags["tone"]) == (NAME, "warm")
    versions = client.search_prompt_versions(NAME)
    assert [each.version for each in versions] == [2, 1]


def test_prompts_are_searched_by_the_services_experiment_ids(
    store: OciDataPlatformRegistryStore, client: MlflowClient
) -> None:
    experiment_id = client.create_experiment("prompts")
    store.create_prompt("other")
    store.create_prompt(NAME, tags={"_mlflow_experiment_ids": f",{experiment_id},"})
    for text in (f"experiment_id = '{experiment_id}'", f'experiment_id="{experiment_id}"'):
        assert [found.name for found in genai.search_prompts(text)] == [NAME]


def test_tags_of_prompts_and_their_versions(prompt: Any, client: MlflowClient) -> None:
    client.set_prompt_tag(NAME, "k", "v")
    client.set_prompt_version_tag(NAME, "1", "reviewed", "yes")
    assert client.get_prompt(NAME).tags["k"] == "v"
    assert client.get_prompt_version(NAME, "1").tags["reviewed"] == "yes"
    client.delete_prompt_tag(NAME, "k")
    client.delete_prompt_version_tag(NAME, "1", "reviewed")
    assert "k" not in client.get_prompt(NAME).tags
    assert "reviewed" not in client.get_prompt_version(NAME, "1").tags


def test_prompts_are_deleted(prompt: Any, client: MlflowClient) -> None:
    client.delete_prompt_version(NAME, "1")
    assert [each.version for each in client.search_prompt_versions(NAME)] == [2]
    client.delete_prompt_version(NAME, "2")
    client.delete_prompt(NAME)
    assert client.get_prompt(NAME) is None


def test_prompts_and_models_keep_out_of_each_others_way(prompt: Any, client: MlflowClient) -> None:
    client.create_registered_model("model")
    client.create_model_version("model", "s3://bucket/model")
    assert [found.name for found in mlflow.search_registered_models()] == ["model"]
    assert [found.name for found in client.search_model_versions()] == ["model"]
    assert [found.name for found in client.search_registered_models("name LIKE '%o%'")] == ["model"]
    assert [found.name for found in genai.search_prompts()] == [NAME]
    with pytest.raises(MlflowException, match="same name as an existing model"):
        genai.register_prompt("model", "Hello")
    with pytest.raises(MlflowException) as caught:
        client.create_registered_model(NAME)
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_models_are_found_where_the_service_knows_no_prompts(
    prompt: Any, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tags are tags there: "this tag is not 'true'" holds for no model, and nothing leaves out."""

    def by_its_words(
        store: SqlAlchemyStore, query: Any, tag_filters: Any, dialect: str, *models: Any
    ) -> Any:
        return query

    monkeypatch.setattr(SqlAlchemyStore, "_update_query_to_exclude_prompts", by_its_words)
    client.create_registered_model("model", tags={"k": "v"})
    client.create_model_version("model", "s3://bucket/model")
    assert [found.name for found in client.search_registered_models()] == ["model"]
    assert [found.name for found in client.search_registered_models("tags.k = 'v'")] == ["model"]
    assert [found.name for found in client.search_model_versions()] == ["model"]


def test_a_run_is_linked_to_its_prompt(prompt: Any, client: MlflowClient) -> None:
    with mlflow.start_run() as run:
        loaded = client.load_prompt(f"prompts:/{NAME}/1", cache_ttl_seconds=0)
        client.link_prompt_version_to_run(run.info.run_id, loaded)
    assert NAME in client.get_run(run.info.run_id).data.tags["mlflow.linkedPrompts"]


def test_a_prompt_in_a_traced_function_is_loaded_without_a_word(
    prompt: Any, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    @mlflow.trace
    def greet() -> Any:
        return genai.load_prompt(f"prompts:/{NAME}/1").format(name="Ada")

    assert greet() == "Hello Ada"
    mlflow.flush_trace_async_logging()
    assert "link prompts" not in caplog.text


def test_traces_elsewhere_are_linked_to_their_prompts(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    linking = "link_prompts_to_trace"
    monkeypatch.setattr(AbstractStore, linking, lambda store, *args: asked.append(args))
    OciDataPlatformRegistryStore(uri, "https://mlflow.example.com").link_prompts_to_trace([], "t")
    OciDataPlatformRegistryStore(uri, uri).link_prompts_to_trace([], "t")
    assert asked == [([], "t")]


def test_prompts_are_the_stores_as_well(store: OciDataPlatformRegistryStore) -> None:
    store.create_prompt(NAME, "described", {"k": "v"})
    created = store.create_prompt_version(NAME, "Hello {{name}}", tags={"a": "b"})
    assert (created.version, created.template) == (1, "Hello {{name}}")
    assert store.get_prompt(NAME).tags == {"k": "v"}
    assert store.get_prompt_version(NAME, 1).tags["a"] == "b"
