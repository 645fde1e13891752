"""How models are kept in tags: requests, limits, many writers, and what a user sees of the tags."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from mlflow.entities import (
    ExperimentTag,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.reserved_tags import PREFIX
from mlflow_oci_store.tracking.store import OciDataPlatformStore

pytestmark = pytest.mark.parametrize("emulator", [False], ids=["kept"], indirect=True)


@pytest.fixture
def experiment_id(store: OciDataPlatformStore) -> str:
    return store.create_experiment("e")


@pytest.fixture
def run_id(store: OciDataPlatformStore, experiment_id: str) -> str:
    return str(store.create_run(experiment_id, "ada", 0, [], None).info.run_id)


@pytest.fixture
def model(store: OciDataPlatformStore, experiment_id: str, run_id: str) -> LoggedModel:
    return store.create_logged_model(experiment_id, "model", run_id)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the operations that are called from here on."""
    called: list[str] = []
    call = DataPlatformClient.call

    def recording(
        client: DataPlatformClient, operation: str, *arguments: object, **options: object
    ) -> object:
        called.append(operation)
        return call(client, operation, *arguments, **options)

    monkeypatch.setattr(DataPlatformClient, "call", recording)
    return called


def refusal(call: Callable[..., object], *arguments: object) -> MlflowException:
    with pytest.raises(MlflowException) as caught:
        call(*arguments)
    return caught.value


# --- requests ------------------------------------------------------------------------------------


def test_whoever_knows_only_the_id_gets_the_model_with_one_request_among_many_runs(
    store: OciDataPlatformStore,
    uri: str,
    experiment_id: str,
    model: LoggedModel,
    requests: list[str],
) -> None:
    for _ in range(20):
        run_id = store.create_run(experiment_id, "ada", 0, [], None).info.run_id
        store.create_logged_model(experiment_id, "model", run_id)
    requests.clear()

    assert dict(OciDataPlatformStore(uri).get_logged_model(model.model_id)) == dict(model)
    assert requests == ["get_experiment_run_by_id"]


def test_a_model_takes_few_requests_and_asks_for_missing_routes_only_once(
    store: OciDataPlatformStore, experiment_id: str, run_id: str, requests: list[str]
) -> None:
    first = store.create_logged_model(experiment_id, "a", run_id)
    assert requests == [
        "create_logged_model",
        "get_experiment_run_by_id",
        "log_experiment_run_batch",
    ]
    requests.clear()
    store.create_logged_model(experiment_id, "b", run_id)
    store.log_outputs(run_id, [LoggedModelOutput(first.model_id, 0)])
    store.set_logged_model_tags(first.model_id, [LoggedModelTag("k", "v")])
    store.log_metric(run_id, Metric("m", 1.0, 1, 1, first.model_id))
    assert requests == ["log_experiment_run_batch"] * 4


def test_a_search_takes_one_request_for_a_thousand_runs_and_none_for_its_later_pages(
    store: OciDataPlatformStore, experiment_id: str, run_id: str, requests: list[str]
) -> None:
    for number in range(6):
        store.create_logged_model(experiment_id, f"model {number}", run_id)
    requests.clear()
    page = store.search_logged_models([experiment_id], max_results=2)
    assert requests == ["get_experiment_by_id", "list_experiment_runs", "list_logged_models"]
    found = list(page)
    while page.token:
        page = store.search_logged_models([experiment_id], max_results=2, page_token=page.token)
        found += page
    assert len(requests) == 3
    assert len({model.model_id for model in found}) == len(found) == 6


def test_a_page_is_found_by_a_store_that_did_not_see_the_first(
    store: OciDataPlatformStore, uri: str, experiment_id: str, run_id: str
) -> None:
    models = [store.create_logged_model(experiment_id, f"m{n}", run_id) for n in range(3)]
    order = [{"field_name": "name"}]
    page = store.search_logged_models([experiment_id], max_results=2, order_by=order)
    rest = OciDataPlatformStore(uri).search_logged_models(
        [experiment_id], max_results=2, order_by=order, page_token=page.token
    )
    assert [it.model_id for it in [*page, *rest]] == [it.model_id for it in models]


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_run", [True, False])
def test_thousands_of_params_and_values_of_any_length_come_back(
    store: OciDataPlatformStore, uri: str, experiment_id: str, run_id: str, in_run: bool
) -> None:
    params = {f"param {n} {'k' * 300}": f"value {n} " + "é😀" * 100 for n in range(3000)}
    tags = {"k" * 300: "t" * 30_000, "a//b": "", "..": "x", "Ключ 😀": "😀\u2028"}
    model = store.create_logged_model(
        experiment_id,
        "n" * 400,
        run_id if in_run else None,
        [LoggedModelTag(key, value) for key, value in tags.items()],
        [LoggedModelParameter(key, value) for key, value in params.items()],
        "t" * 10_000,
    )
    found = OciDataPlatformStore(uri).get_logged_model(model.model_id)
    assert (found.params, found.tags, found.model_type) == (params, tags, "t" * 10_000)
    assert found.name == "n" * 400


def test_a_tags_value_can_grow_and_shrink(store: OciDataPlatformStore, model: LoggedModel) -> None:
    for value in ["short", "l" * 50_000, "m" * 30_000, ""]:
        store.set_logged_model_tags(model.model_id, [LoggedModelTag("k", value)])
        assert store.get_logged_model(model.model_id).tags == {"k": value}
    store.delete_logged_model_tag(model.model_id, "k")
    assert store.get_logged_model(model.model_id).tags == {}


# --- many writers --------------------------------------------------------------------------------


def write(uri: str, run_id: str, model_id: str, writer: int) -> None:
    """Log something of every kind to one model, as one of several writers."""
    store = OciDataPlatformStore(uri)
    for number in range(8):
        name = f"{writer} {number}"
        store.set_logged_model_tags(model_id, [LoggedModelTag(name, "v" * 9000)])
        store.log_logged_model_params(model_id, [LoggedModelParameter(name, "v")])
        # The same metric by all writers, each at steps of its own.
        store.log_metric(run_id, Metric("loss", number, 1, 100 * writer + number, model_id))
        store.set_model_versions_tags("registered", name, model_id)


@pytest.mark.parametrize(
    "executor",
    [
        lambda: ThreadPoolExecutor(4),
        lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn")),
    ],
    ids=["threads", "processes"],
)
@pytest.mark.parametrize("in_run", [True, False])
def test_many_writers_lose_nothing_of_each_others(
    store: OciDataPlatformStore,
    uri: str,
    experiment_id: str,
    run_id: str,
    in_run: bool,
    executor: Callable[[], ThreadPoolExecutor | ProcessPoolExecutor],
) -> None:
    model_id = store.create_logged_model(experiment_id, "m", run_id if in_run else None).model_id
    with executor() as pool:
        list(pool.map(write, *zip(*[(uri, run_id, model_id, n) for n in range(4)], strict=True)))
    model = store.get_logged_model(model_id)
    names = {f"{writer} {number}" for writer in range(4) for number in range(8)}
    assert model.tags.keys() - {"mlflow.modelVersions"} == names
    assert model.params.keys() == names
    steps = {100 * writer + number for writer in range(4) for number in range(8)}
    assert {metric.step for metric in model.metrics} == steps
    assert all(f'"{name}"' in model.tags["mlflow.modelVersions"] for name in names)


def test_models_of_one_name_that_are_created_at_once_get_folders_of_their_own(
    store: OciDataPlatformStore, uri: str, experiment_id: str, run_id: str
) -> None:
    stores = [store, OciDataPlatformStore(uri)] * 4

    def create(store: OciDataPlatformStore) -> str:
        return str(store.create_logged_model(experiment_id, "model", run_id).artifact_location)

    with ThreadPoolExecutor(len(stores)) as pool:
        folders = list(pool.map(create, stores))
    root = store.get_run(run_id).info.artifact_uri
    assert len(set(folders)) == len(folders)
    assert folders.count(f"{root}/model") == 1
    assert all(folder.startswith(f"{root}/model") for folder in folders)


# --- homes ---------------------------------------------------------------------------------------


def test_a_model_whose_source_run_cannot_hold_it_is_kept_by_its_experiment(
    store: OciDataPlatformStore, experiment_id: str, run_id: str
) -> None:
    other = store.create_experiment("other")
    store.delete_run(run_id)
    root = store.get_experiment(experiment_id).artifact_location
    for experiment, run in [(experiment_id, run_id), (other, run_id), (experiment_id, "f" * 32)]:
        model = store.create_logged_model(experiment, "m", run)
        assert dict(store.get_logged_model(model.model_id)) == dict(model)
        assert model.source_run_id == run
        assert model.model_id in model.artifact_location
    found = store.search_logged_models([experiment_id])
    assert [model.source_run_id for model in found] == ["f" * 32, run_id]
    assert all(model.artifact_location.startswith(f"{root}/models/m-e") for model in found)


def test_a_model_outlives_its_run_among_the_deleted_ones(
    store: OciDataPlatformStore, experiment_id: str, run_id: str, model: LoggedModel
) -> None:
    store.delete_run(run_id)

    assert store.get_logged_model(model.model_id).name == "model"
    assert [it.model_id for it in store.search_logged_models([experiment_id])] == [model.model_id]


# --- what a user sees ----------------------------------------------------------------------------


def logged(store: OciDataPlatformStore, experiment_id: str, run_id: str) -> None:
    """Leave something of every kind that is kept in tags."""
    for source in (run_id, None):
        model = store.create_logged_model(experiment_id, "m", source)
        store.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])
        store.log_outputs(run_id, [LoggedModelOutput(model.model_id, 3)])
        store.log_metric(run_id, Metric("m", 1.0, 1, 1, model.model_id))
        store.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
    store.set_tag(run_id, RunTag("mine", "1"))
    store.log_param(run_id, Param("mine", "1"))
    store.set_experiment_tag(experiment_id, ExperimentTag("mine", "1"))


def tags_seen(store: OciDataPlatformStore, experiment_id: str, run_id: str) -> list[set[str]]:
    runs, _ = store._search_runs([experiment_id], None, ViewType.ALL, 10, None, None)
    run = store.get_run(run_id)
    return [
        set(run.data.tags) - {"mlflow.user", "mlflow.runName"},
        set(run.data.params),
        set(runs[0].data.tags) - {"mlflow.user", "mlflow.runName"},
        set(runs[0].data.params),
        set(store.get_experiment(experiment_id).tags),
        set(store.get_experiment_by_name("e").tags),
        set(store.search_experiments()[0].tags),
    ]


def test_bookkeeping_does_not_show_among_tags_and_params(
    store: OciDataPlatformStore, uri: str, experiment_id: str, run_id: str
) -> None:
    logged(store, experiment_id, run_id)

    assert tags_seen(store, experiment_id, run_id) == [{"mine"}] * 7
    shown = tags_seen(OciDataPlatformStore(f"{uri}&reserved_tags=shown"), experiment_id, run_id)
    assert all(any(key.startswith(PREFIX) for key in keys) for keys in shown)
    assert all("mine" in keys for keys in shown)


def test_a_run_shows_its_models_as_inputs_and_outputs(
    store: OciDataPlatformStore, experiment_id: str, run_id: str
) -> None:
    logged(store, experiment_id, run_id)

    [run], _ = store._search_runs([experiment_id], None, ViewType.ALL, 10, None, None)
    models = store.search_logged_models([experiment_id], order_by=[{"field_name": "creation_time"}])
    ids = {model.model_id for model in models}
    for seen in (run, store.get_run(run_id)):
        assert {it.model_id for it in seen.inputs.model_inputs} == ids
        assert {(it.model_id, it.step) for it in seen.outputs.model_outputs} == {
            (model_id, 3) for model_id in ids
        }


def changes(experiment_id: str, run_id: str, key: str) -> Sequence[tuple[str, tuple[object, ...]]]:
    return [
        ("set_tag", (run_id, RunTag(key, "v"))),
        ("delete_tag", (run_id, key)),
        ("log_param", (run_id, Param(key, "v"))),
        ("log_batch", (run_id, [], [Param(key, "v")], [])),
        ("log_batch", (run_id, [], [], [RunTag(key, "v")])),
        ("create_run", (experiment_id, "ada", 0, [RunTag(key, "v")], None)),
        ("create_experiment", ("new", None, [ExperimentTag(key, "v")])),
        ("set_experiment_tag", (experiment_id, ExperimentTag(key, "v"))),
        ("delete_experiment_tag", (experiment_id, key)),
    ]


@pytest.mark.parametrize("number", range(9))
def test_bookkeeping_is_not_changed_by_hand(
    store: OciDataPlatformStore, experiment_id: str, run_id: str, number: int
) -> None:
    method, arguments = changes(experiment_id, run_id, f"{PREFIX}models")[number]

    failure = refusal(getattr(store, method), *arguments)

    assert failure.error_code == "INVALID_PARAMETER_VALUE"
    assert f"keys that begin with '{PREFIX}'" in failure.message


@pytest.mark.parametrize(
    "call",
    [
        lambda store, id_: store.get_logged_model(id_),
        lambda store, id_: store.set_logged_model_tags(id_, [LoggedModelTag("k", "v")]),
        lambda store, id_: store.finalize_logged_model(id_, LoggedModelStatus.READY),
        lambda store, id_: store.delete_logged_model(id_),
        lambda store, id_: store.delete_logged_model_tag(id_, "k"),
        lambda store, id_: store.log_logged_model_params(id_, [LoggedModelParameter("k", "v")]),
    ],
)
def test_a_model_that_never_was_is_not_found(
    store: OciDataPlatformStore,
    experiment_id: str,
    run_id: str,
    call: Callable[[OciDataPlatformStore, str], object],
) -> None:
    number = "-" + "0" * 12
    for model_id in (f"m-r{run_id}{number}", f"m-rf{number}", f"m-e{experiment_id}{number}", "m-1"):
        assert refusal(call, store, model_id).error_code == "RESOURCE_DOES_NOT_EXIST"
    assert not [key for key in store.get_run(run_id).data.tags if key.startswith(PREFIX)]
