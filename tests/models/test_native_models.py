"""Which of the two ways a model goes, and for how long that is remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from cachetools import TTLCache
from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelParameter, Metric
from mlflow.protos import service_pb2
from mlflow.utils.rest_utils import extract_api_info_for_service

from mlflow_oci_store.client.connection import Answer, Connection
from mlflow_oci_store.client.operations import LOGGED_MODEL_ROUTES
from mlflow_oci_store.emulator import AidpEmulator, Fail, Fault
from mlflow_oci_store.emulator.schema import Api
from mlflow_oci_store.tracking import native_models
from mlflow_oci_store.tracking.model_id import KeptModelId
from mlflow_oci_store.tracking.store import OciDataPlatformStore


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of what is remembered of services."""
    clock = Clock()
    seconds = native_models._REMEMBERED_SECONDS
    monkeypatch.setattr(native_models, "_has_routes", TTLCache(8, seconds, clock))
    return clock


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ends of the paths that are asked for from here on."""
    sent: list[str] = []
    send = Connection.send

    def recording(connection: Connection, method: str, target: str, *rest: object) -> Answer:
        sent.append(f"{method} {target.rpartition('/mlflow/')[2]}")
        return send(connection, method, target, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "send", recording)
    return sent


@pytest.mark.parametrize("emulator", [False], ids=["kept"], indirect=True)
def test_missing_routes_are_asked_for_once_in_ten_minutes_by_all_stores(
    uri: str, clock: Clock, targets: list[str]
) -> None:
    def create() -> None:
        store = OciDataPlatformStore(uri)
        experiment_id = store.create_experiment(f"e{clock.now}{len(targets)}")
        store.create_logged_model(experiment_id, "m")

    for asked in (1, 1, 2, 2):
        create()
        assert targets.count("POST logged-models") == asked
        clock.now += 350


@pytest.mark.parametrize("emulator", [True], ids=["native"], indirect=True)
@pytest.mark.parametrize(("status", "code"), [(404, "NotFound"), (405, "MethodNotAllowed")])
def test_either_answer_of_a_service_without_the_routes_is_remembered(
    emulator: AidpEmulator, uri: str, clock: Clock, targets: list[str], status: int, code: str
) -> None:
    experiment_id = OciDataPlatformStore(uri).create_experiment("e")
    emulator.faults.add(Fault(Fail(status, code), "create_logged_model", times=1))

    kept = [OciDataPlatformStore(uri).create_logged_model(experiment_id, "m") for _ in range(2)]

    assert all(KeptModelId.parse(model.model_id) for model in kept)
    assert targets.count("POST logged-models") == 1


@pytest.mark.parametrize("emulator", [True], ids=["native"], indirect=True)
def test_a_model_that_is_not_there_does_not_mean_that_the_routes_are_not(
    store: OciDataPlatformStore, clock: Clock
) -> None:
    with pytest.raises(Exception, match="not found") as caught:
        store.get_logged_model("m-" + "0" * 32)
    assert getattr(caught.value, "oci_code", None) == "NotAuthorizedOrNotFound"

    model = store.create_logged_model(store.create_experiment("e"), "m")
    assert KeptModelId.parse(model.model_id) is None


@pytest.mark.parametrize("emulator", [True], ids=["native"], indirect=True)
def test_params_are_sent_in_the_portions_that_mlflow_sends(
    store: OciDataPlatformStore, targets: list[str]
) -> None:
    params = {f"param {number}": "v" for number in range(250)}
    model = store.create_logged_model(
        store.create_experiment("e"),
        "m",
        params=[LoggedModelParameter(key, value) for key, value in params.items()],
    )

    assert model.params == store.get_logged_model(model.model_id).params == params
    assert sum(target.endswith("/params") for target in targets) == 2


def test_models_of_both_kinds_live_side_by_side(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("data")
    kept_ids: list[str] = []
    native_ids: list[str] = []
    with AidpEmulator(folder) as emulator:
        store = OciDataPlatformStore(emulator.tracking_uri)
        experiment_id = store.create_experiment("e")
        run_id = store.create_run(experiment_id, "ada", 0, [], None).info.run_id
        kept_ids.append(store.create_logged_model(experiment_id, "old", run_id).model_id)
    # The service learns MLflow's routes; what it was asked before is forgotten in time.
    native_models._has_routes.clear()
    with AidpEmulator(folder, native_logged_models=True) as emulator:
        store = OciDataPlatformStore(emulator.tracking_uri)
        native_ids.append(store.create_logged_model(experiment_id, "new", run_id).model_id)
        ids = kept_ids + native_ids
        store.log_outputs(run_id, [LoggedModelOutput(model_id, 1) for model_id in ids])
        store.log_inputs(run_id, models=[LoggedModelInput(model_id) for model_id in ids])
        for model_id in ids:
            store.log_batch(run_id, [Metric("m", 0.5, 1, 1, model_id, "data", "1")], [], [])

        assert [KeptModelId.parse(model_id) is None for model_id in ids] == [False, True]
        found = store.search_logged_models([experiment_id], order_by=[{"field_name": "name"}])
        assert [model.model_id for model in found] == [*native_ids, *kept_ids]
        run = store.get_run(run_id)
        assert {it.model_id for it in run.outputs.model_outputs} == set(ids)
        assert {it.model_id for it in run.inputs.model_inputs} == set(ids)
        for model_id in ids:
            [metric] = store.get_logged_model(model_id).metrics
            assert (metric.model_id, metric.run_id) == (model_id, run_id)
            assert (metric.value, metric.dataset_name, metric.dataset_digest) == (0.5, "data", "1")
        assert run.data.metrics == {"m": 0.5}
        on_data = [{"dataset_name": "data"}]
        assert len(store.search_logged_models([experiment_id], datasets=on_data)) == 2


ROUTES = {
    "create_logged_model": service_pb2.CreateLoggedModel,
    "get_logged_model": service_pb2.GetLoggedModel,
    "finalize_logged_model": service_pb2.FinalizeLoggedModel,
    "delete_logged_model": service_pb2.DeleteLoggedModel,
    "set_logged_model_tags": service_pb2.SetLoggedModelTags,
    "delete_logged_model_tag": service_pb2.DeleteLoggedModelTag,
    "log_logged_model_params": service_pb2.LogLoggedModelParamsRequest,
    "log_run_outputs": service_pb2.LogOutputs,
}


@pytest.mark.parametrize(
    "table",
    [LOGGED_MODEL_ROUTES, Api("logged_models.json").operations],
    ids=["client", "emulator"],
)
def test_the_routes_are_those_of_mlflows_own_client(table: Mapping[str, Any]) -> None:
    mlflows = extract_api_info_for_service(service_pb2.MlflowService, "")

    assert table.keys() == ROUTES.keys()
    for name, message in ROUTES.items():
        path, method = mlflows[message]
        ours = re.sub(r"{\w+}", "{}", table[name].path)
        assert (f"/mlflow/{ours}", table[name].method) == (re.sub(r"{\w+}", "{}", path), method)
