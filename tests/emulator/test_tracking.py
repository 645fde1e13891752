"""Every operation of a workspace, asked for by Oracle's SDK: what is written is read back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import oci
import pytest
from aidp_python_client.aidataplatform_dp import models as m
from mlflow.entities import LoggedModelParameter, LoggedModelTag
from oci.object_storage import ObjectStorageClient

from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.emulator.entities import experiment_id_in

from .conftest import Sdk

Refused = Callable[..., Any]


@pytest.fixture
def experiment_id(sdk: Sdk) -> str:
    return sdk.create_experiment(m.CreateExperimentDetails(name="mine")).data.experiment_id


@pytest.fixture
def run_id(sdk: Sdk, experiment_id: str) -> str:
    return new_run(sdk, experiment_id)


def new_run(sdk: Sdk, experiment_id: str, **details: Any) -> str:
    created = sdk.create_experiment_run(
        m.CreateExperimentRunDetails(experiment_id=experiment_id, **details)
    )
    return created.data.run.info.run_id


def tags_of(entity: Any) -> dict[str, str]:
    return {tag.key: tag.value for tag in entity.tags}


def run_of(sdk: Sdk, run_id: str) -> Any:
    return sdk.get_experiment_run_by_id(run_id).data.run


def test_a_workspace_starts_without_experiments(sdk: Sdk) -> None:
    found = sdk.list_experiments(m.ListExperimentsDetails(view_type="ALL")).data
    assert found.experiments == []
    assert found.next_page_token is None


def test_an_experiment_is_found_by_id_and_by_name(sdk: Sdk) -> None:
    details = m.CreateExperimentDetails(
        name="größe/2 ü",
        artifact_location="file:///somewhere",
        tags=[m.ExperimentTag(key="a", value="1"), m.ExperimentTag(key="empty", value="")],
    )
    experiment_id = sdk.create_experiment(details).data.experiment_id
    assert not experiment_id.isdecimal()
    by_id = sdk.get_experiment_by_id(experiment_id).data.experiment
    assert by_id == sdk.get_experiment_by_name("größe/2 ü").data.experiment
    assert by_id.experiment_id == experiment_id
    assert by_id.name == "größe/2 ü"
    assert by_id.artifact_location == "file:///somewhere"
    assert by_id.lifecycle_stage == "active"
    assert by_id.creation_time == by_id.last_update_time
    assert tags_of(by_id) == {"a": "1", "empty": ""}


def test_an_unknown_experiment_is_not_found(sdk: Sdk, refused: Refused) -> None:
    for call in (
        lambda: sdk.get_experiment_by_id("0"),
        lambda: sdk.get_experiment_by_id("exp-00000000000f"),
        lambda: sdk.get_experiment_by_name("nobody's"),
        lambda: sdk.delete_experiment(m.DeleteExperimentDetails(experiment_id="1")),
    ):
        error = refused(call)
        assert (error.status, error.code) == (404, "NotAuthorizedOrNotFound")


def test_an_experiment_name_is_taken_once(sdk: Sdk, refused: Refused) -> None:
    details = m.CreateExperimentDetails(name="mine")
    sdk.create_experiment(details)
    error = refused(sdk.create_experiment, details)
    assert (error.status, error.code) == (409, "NotAuthorizedOrResourceAlreadyExists")
    assert "sqlite" not in error.message.lower()


def test_experiments_are_searched_in_order_and_by_page(sdk: Sdk) -> None:
    for name in ("b", "c", "a"):
        sdk.create_experiment(m.CreateExperimentDetails(name=name))
    details = m.ListExperimentsDetails(
        max_results=2, order_by=["name ASC"], filter="name != 'zzz'", view_type="ACTIVE_ONLY"
    )
    first = sdk.list_experiments(details)
    assert first.headers["opc-next-page"] == first.data.next_page_token
    details.page_token = first.data.next_page_token
    second = sdk.list_experiments(details)
    assert "opc-next-page" not in second.headers
    pages = [[each.name for each in page.data.experiments] for page in (first, second)]
    assert pages == [["a", "b"], ["c"]]


def test_experiments_are_filtered_by_the_ids_they_have(sdk: Sdk) -> None:
    ids = [
        sdk.create_experiment(m.CreateExperimentDetails(name=name)).data.experiment_id
        for name in ("a", "b")
    ]

    def found(comparison: str) -> list[str]:
        page = sdk.list_experiments(m.ListExperimentsDetails(filter=comparison)).data
        return sorted(each.experiment_id for each in page.experiments)

    assert found(f"experiment_id = '{ids[0]}'") == ids[:1]
    assert found(f"experiment_id IN ('{ids[0]}', '{ids[1]}', 'no such')") == ids
    assert found(f"name = 'b' AND experiment_id != '{ids[0]}'") == ids[1:]
    assert found("name = 'experiment_id'") == []


def test_an_experiment_is_renamed(sdk: Sdk, experiment_id: str, refused: Refused) -> None:
    sdk.update_experiment(m.UpdateExperimentDetails(experiment_id=experiment_id, new_name="new"))
    sdk.update_experiment(m.UpdateExperimentDetails(experiment_id=experiment_id))
    assert sdk.get_experiment_by_id(experiment_id).data.experiment.name == "new"
    sdk.create_experiment(m.CreateExperimentDetails(name="taken"))
    taken = m.UpdateExperimentDetails(experiment_id=experiment_id, new_name="taken")
    assert refused(sdk.update_experiment, taken).code == "InvalidParameter"


def test_an_experiment_is_deleted_and_restored(
    sdk: Sdk, experiment_id: str, run_id: str, refused: Refused
) -> None:
    sdk.delete_experiment(m.DeleteExperimentDetails(experiment_id=experiment_id))
    assert sdk.get_experiment_by_id(experiment_id).data.experiment.lifecycle_stage == "deleted"
    assert run_of(sdk, run_id).info.lifecycle_stage == "deleted"
    deleted = sdk.list_experiments(m.ListExperimentsDetails(view_type="DELETED_ONLY")).data
    assert [each.experiment_id for each in deleted.experiments] == [experiment_id]
    renaming = m.UpdateExperimentDetails(experiment_id=experiment_id, new_name="new")
    error = refused(sdk.update_experiment, renaming)
    assert (error.status, error.code) == (409, "Conflict")
    sdk.restore_experiment(m.RestoreExperimentDetails(experiment_id=experiment_id))
    assert run_of(sdk, run_id).info.lifecycle_stage == "active"


@pytest.mark.parametrize("deleted_before", [False, True])
def test_an_experiment_is_deleted_for_good(
    sdk: Sdk, experiment_id: str, run_id: str, refused: Refused, deleted_before: bool
) -> None:
    metric = m.LogExperimentRunMetricDetails(run_id=run_id, key="loss", value=1.0, timestamp=1)
    sdk.log_experiment_run_metric(metric)
    if deleted_before:
        sdk.delete_experiment(m.DeleteExperimentDetails(experiment_id=experiment_id))
    sdk.delete_experiment(m.DeleteExperimentDetails(experiment_id=experiment_id, is_permanent=True))
    assert refused(sdk.get_experiment_by_id, experiment_id).status == 404
    assert refused(sdk.get_experiment_run_by_id, run_id).status == 404


def test_experiment_tags_are_set_and_deleted(
    sdk: Sdk, experiment_id: str, refused: Refused
) -> None:
    for key in ("a", "b", "c"):
        sdk.set_experiment_tag(
            m.SetExperimentTagDetails(experiment_id=experiment_id, key=key, value=key)
        )
    sdk.delete_experiment_tag(m.DeleteExperimentTagDetails(experiment_id=experiment_id, key="a"))
    sdk.update_experiment_tags(
        m.UpdateExperimentTagsDetails(
            experiment_id=experiment_id,
            set_tags=[m.ExperimentTag(key="d", value="4"), m.ExperimentTag(key="e")],
            delete_tags=[m.ExperimentTagKey(key="b")],
        )
    )
    refusal = refused(
        sdk.update_experiment_tags,
        m.UpdateExperimentTagsDetails(
            experiment_id=experiment_id,
            set_tags=[m.ExperimentTag(key="f", value="6")],
            delete_tags=[m.ExperimentTagKey(key="never set")],
        ),
    )
    assert (refusal.status, "'never set'" in refusal.message) == (404, True)
    experiment = sdk.get_experiment_by_id(experiment_id).data.experiment
    assert tags_of(experiment) == {"c": "c", "d": "4", "e": ""}


def test_a_run_is_created_with_what_it_was_given(sdk: Sdk, experiment_id: str) -> None:
    created = sdk.create_experiment_run(
        m.CreateExperimentRunDetails(
            experiment_id=experiment_id,
            run_name="first",
            start_time=12,
            tags=[m.ExperimentRunTag(key="k", value="v"), m.ExperimentRunTag(key="empty")],
        )
    ).data.run
    assert created == run_of(sdk, created.info.run_id)
    assert created.info.run_uuid == created.info.run_id
    assert created.info.run_name == "first"
    assert created.info.experiment_id == experiment_id
    assert created.info.status == "RUNNING"
    assert created.info.start_time == 12
    assert created.info.end_time is None
    assert created.info.lifecycle_stage == "active"
    assert tags_of(created.data) == {"k": "v", "empty": "", "mlflow.runName": "first"}


def test_the_user_of_a_run_is_its_tag_or_else_who_signed(
    aidp_emulator: AidpEmulator, sdk: Sdk, experiment_id: str
) -> None:
    tagged = [m.ExperimentRunTag(key="mlflow.user", value="ada")]
    assert run_of(sdk, new_run(sdk, experiment_id, tags=tagged)).info.user_id == "ada"
    run = run_of(sdk, new_run(sdk, experiment_id))
    assert run.info.user_id == aidp_emulator.profile
    assert run.info.start_time > 0


def test_a_run_is_updated(sdk: Sdk, run_id: str, refused: Refused) -> None:
    details = m.UpdateExperimentRunDetails(
        run_id=run_id, status="FINISHED", end_time=2**53 + 1, run_name="renamed"
    )
    info = sdk.update_experiment_run(details).data.run_info
    assert (info.status, info.end_time, info.run_name) == ("FINISHED", 2**53 + 1, "renamed")
    run = run_of(sdk, run_id)
    assert run.info == info
    assert tags_of(run.data)["mlflow.runName"] == "renamed"
    unknown = m.UpdateExperimentRunDetails(run_id=run_id, status="INTERNAL_ERROR")
    assert refused(sdk.update_experiment_run, unknown).code == "InvalidParameter"


def test_a_run_is_deleted_and_restored(sdk: Sdk, run_id: str, refused: Refused) -> None:
    sdk.delete_experiment_run(m.DeleteExperimentRunDetails(run_id=run_id))
    assert run_of(sdk, run_id).info.lifecycle_stage == "deleted"
    tag = m.SetExperimentRunTagDetails(run_id=run_id, key="a", value="1")
    assert refused(sdk.set_experiment_run_tag, tag).code == "InvalidParameter"
    sdk.restore_experiment_run(m.RestoreExperimentRunDetails(run_id=run_id))
    assert run_of(sdk, run_id).info.lifecycle_stage == "active"
    sdk.delete_experiment_run(m.DeleteExperimentRunDetails(run_id=run_id, is_permanent=True))
    assert refused(sdk.get_experiment_run_by_id, run_id).status == 404


def test_a_batch_is_logged(sdk: Sdk, run_id: str) -> None:
    sdk.log_experiment_run_batch(
        m.LogExperimentRunBatchDetails(
            run_id=run_id,
            metrics=[
                m.ExperimentRunMetric(key="größe", value=0.25, timestamp=2**53 + 1, step=-3),
                m.ExperimentRunMetric(key="nan", value=math.nan, timestamp=1),
                m.ExperimentRunMetric(key="whole", value=3, timestamp=1, step=2**40),
            ],
            params=[m.ExperimentRunParam(key="p", value="x"), m.ExperimentRunParam(key="none")],
            tags=[m.ExperimentRunTag(key="t", value="y")],
        )
    )
    data = run_of(sdk, run_id).data
    metrics = {each.key: (each.value, each.timestamp, each.step) for each in data.metrics}
    assert math.isnan(metrics.pop("nan")[0])
    assert metrics == {"größe": (0.25, 2**53 + 1, -3), "whole": (3.0, 1, 2**40)}
    assert {param.key: param.value for param in data.params} == {"p": "x", "none": ""}
    assert tags_of(data)["t"] == "y"


def test_infinities_are_read_back_as_mlflow_keeps_them(sdk: Sdk, run_id: str) -> None:
    for key, value in (("up", math.inf), ("down", -math.inf)):
        sdk.log_experiment_run_metric(
            m.LogExperimentRunMetricDetails(run_id=run_id, key=key, value=value, timestamp=1)
        )
    values = {each.key: each.value for each in run_of(sdk, run_id).data.metrics}
    assert values == {"up": 1.7976931348623157e308, "down": -1.7976931348623157e308}


def test_what_mlflow_refuses_is_an_invalid_parameter(
    sdk: Sdk, run_id: str, refused: Refused
) -> None:
    for details in (
        m.LogExperimentRunBatchDetails(run_id=run_id, metrics=[m.ExperimentRunMetric(key="k")]),
        m.LogExperimentRunBatchDetails(
            run_id=run_id, tags=[m.ExperimentRunTag(key=f"{n}") for n in range(101)]
        ),
        m.LogExperimentRunBatchDetails(
            run_id=run_id, params=[m.ExperimentRunParam(key="k" * 251, value="v")]
        ),
    ):
        error = refused(sdk.log_experiment_run_batch, details)
        assert (error.status, error.code) == (400, "InvalidParameter")


def test_a_batch_of_more_than_a_megabyte_is_too_large(
    sdk: Sdk, run_id: str, refused: Refused
) -> None:
    tags = [m.ExperimentRunTag(key=f"{n}", value="v" * 10_000) for n in range(100)]
    details = m.LogExperimentRunBatchDetails(run_id=run_id, tags=tags)
    error = refused(sdk.log_experiment_run_batch, details)
    assert (error.status, error.code) == (413, "RequestEntityTooLarge")


def test_a_param_keeps_its_first_value(sdk: Sdk, run_id: str, refused: Refused) -> None:
    details = m.LogExperimentRunParamDetails(run_id=run_id, key="p", value="1")
    sdk.log_experiment_run_param(details)
    sdk.log_experiment_run_param(details)
    details.value = "2"
    assert refused(sdk.log_experiment_run_param, details).code == "InvalidParameter"
    [param] = run_of(sdk, run_id).data.params
    assert (param.key, param.value) == ("p", "1")


def test_run_tags_are_set_and_deleted(sdk: Sdk, run_id: str, refused: Refused) -> None:
    for key in ("a", "b"):
        sdk.set_experiment_run_tag(m.SetExperimentRunTagDetails(run_id=run_id, key=key, value=key))
    sdk.delete_experiment_run_tag(m.DeleteExperimentRunTagDetails(run_id=run_id, key="a"))
    update = m.UpdateExperimentRunTagsDetails(
        run_id=run_id,
        set_tags=[m.ExperimentRunTag(key="c", value="3")],
        delete_tags=[m.ExperimentRunTagKey(key="b")],
    )
    sdk.update_experiment_run_tags(update)
    assert refused(sdk.update_experiment_run_tags, update).status == 404
    tags = tags_of(run_of(sdk, run_id).data)
    del tags["mlflow.runName"]
    assert tags == {"c": "3"}


def test_metric_history_is_read_by_page(sdk: Sdk, run_id: str, refused: Refused) -> None:
    for step in range(5):
        sdk.log_experiment_run_metric(
            m.LogExperimentRunMetricDetails(
                run_id=run_id, key="loss", value=step / 2, timestamp=step, step=step
            )
        )
    assert len(sdk.get_experiment_run_metric_history(run_id, "loss").data.metrics) == 5
    steps, token = [], None
    for _ in range(3):
        options = {"page_token": token} if token else {}
        page = sdk.get_experiment_run_metric_history(run_id, "loss", max_results=2, **options)
        steps.append([metric.step for metric in page.data.metrics])
        token = page.headers.get("opc-next-page")
    assert (steps, token) == ([[0, 1], [2, 3], [4]], None)
    error = refused(sdk.get_experiment_run_metric_history, run_id, "loss", max_results=0)
    assert error.code == "InvalidParameter"
    assert sdk.get_experiment_run_metric_history(run_id, "other").data.metrics == []


def test_runs_are_searched_in_the_experiments_asked_for(
    sdk: Sdk, experiment_id: str, refused: Refused
) -> None:
    other = sdk.create_experiment(m.CreateExperimentDetails(name="other")).data.experiment_id
    runs = [new_run(sdk, experiment_id, run_name=name, start_time=1) for name in ("b", "a")]
    new_run(sdk, other)
    sdk.delete_experiment_run(m.DeleteExperimentRunDetails(run_id=runs[0]))

    def found(**details: Any) -> list[str]:
        page = sdk.list_experiment_runs(m.ListExperimentRunsDetails(**details)).data
        return [run.info.run_id for run in page.runs]

    mine = [experiment_id, "no such experiment"]
    assert found(experiment_ids=mine) == [runs[1]]
    assert found(experiment_ids=mine, run_view_type="DELETED_ONLY") == [runs[0]]
    both = {"experiment_ids": mine, "run_view_type": "ALL"}
    assert found(**both, order_by=["attributes.run_name DESC"]) == runs
    assert found(**both, filter="attributes.run_name = 'a'") == [runs[1]]
    assert found() == []
    bad = m.ListExperimentRunsDetails(experiment_ids=mine, filter="nonsense")
    assert refused(sdk.list_experiment_runs, bad).code == "InvalidParameter"


def test_an_unknown_view_type_is_refused(sdk: Sdk, refused: Refused) -> None:
    error = refused(sdk.list_experiments, {"view_type": "SOME"})
    assert (error.code, "ACTIVE_ONLY" in error.message) == ("InvalidParameter", True)


def test_inputs_are_logged(sdk: Sdk, run_id: str) -> None:
    dataset = m.Dataset(
        name="iris", digest="d1", source_type="http", source="{}", schema="{}", profile="{}"
    )
    bare = m.Dataset(name="bare", digest="d2", source_type="local", source="{}")
    inputs = [
        m.DatasetInput(dataset=dataset, tags=[m.InputTag(key="context", value="train")]),
        m.DatasetInput(dataset=bare),
    ]
    sdk.log_experiment_run_inputs(
        m.LogExperimentRunInputsDetails(run_id=run_id, dataset_inputs=inputs)
    )
    logged = {each.dataset.name: each for each in run_of(sdk, run_id).inputs.dataset_inputs}
    assert logged["iris"] == inputs[0]
    assert logged["bare"].dataset == bare


def test_a_logged_model_is_recorded_on_its_run(sdk: Sdk, run_id: str, refused: Refused) -> None:
    model = {
        "artifact_path": "model",
        "flavors": {},
        "utc_time_created": "2026-01-01 00:00:00",
        "run_id": run_id,
    }
    details = m.LogExperimentRunModelDetails(run_id=run_id, model_json=json.dumps(model))
    sdk.log_experiment_run_model(details)
    [recorded] = json.loads(tags_of(run_of(sdk, run_id).data)["mlflow.log-model.history"])
    assert recorded["artifact_path"] == "model"
    for wrong in ("{", "[]", "{}"):
        details.model_json = wrong
        assert refused(sdk.log_experiment_run_model, details).code == "InvalidParameter"


def test_logged_models_are_searched(
    aidp_emulator: AidpEmulator, sdk: Sdk, experiment_id: str, run_id: str
) -> None:
    # No operation creates a logged model, so they are put into the store behind the service.
    store = aidp_emulator._workspaces.workspace(*sdk.place).store
    for name in ("a", "b"):
        store.create_logged_model(
            experiment_id=experiment_id_in(experiment_id),
            name=name,
            source_run_id=run_id,
            tags=[LoggedModelTag("k", "v")],
            params=[LoggedModelParameter("p", "1")],
        )
    order = [m.LoggedModelOrder(field_name="name", ascending=True)]
    details = m.ListLoggedModelsDetails(
        experiment_ids=[experiment_id], max_results=1, order_by=order
    )
    first = sdk.list_logged_models(details).data
    [found] = first.models
    assert (found.info.name, found.info.experiment_id) == ("a", experiment_id)
    assert (found.info.status, found.info.source_run_id) == ("LOGGED_MODEL_PENDING", run_id)
    assert tags_of(found.info) == {"k": "v"}
    details.page_token = first.next_page_token
    assert [each.info.name for each in sdk.list_logged_models(details).data.models] == ["b"]


def test_artifacts_are_listed_from_the_bucket(
    aidp_emulator: AidpEmulator, sdk: Sdk, run_id: str, refused: Refused
) -> None:
    root = run_of(sdk, run_id).info.artifact_uri
    bucket = f"oci://{aidp_emulator.bucket}@{aidp_emulator.namespace}/"
    assert root.startswith(bucket)
    config = oci.config.from_file(aidp_emulator.config_file, aidp_emulator.profile)
    storage = ObjectStorageClient(config, service_endpoint=aidp_emulator.endpoint)
    name = f"{root.removeprefix(bucket)}/plots/a.txt"
    storage.put_object(aidp_emulator.namespace, aidp_emulator.bucket, name, b"four")
    listed = sdk.list_artifacts(run_id).data
    assert (listed.root_uri, [(each.path, each.is_dir) for each in listed.files]) == (
        root,
        [("plots", True)],
    )
    [file] = sdk.list_artifacts(run_id, path="plots").data.files
    assert (file.path, file.is_dir, file.file_size) == ("plots/a.txt", False, 4)
    assert refused(sdk.list_artifacts, run_id, path="../..").code == "InvalidParameter"


def test_artifacts_elsewhere_are_not_listed(sdk: Sdk, refused: Refused) -> None:
    details = m.CreateExperimentDetails(name="there", artifact_location="oci://other@place/x")
    experiment_id = sdk.create_experiment(details).data.experiment_id
    assert refused(sdk.list_artifacts, new_run(sdk, experiment_id)).status == 404


def test_a_model_version_is_created_from_a_workspace(sdk: Sdk, run_id: str) -> None:
    sdk.create_registered_model(m.CreateRegisteredModelDetails(name="model"))
    details = m.CreateModelVersionDetails(
        name="model", source="oci://bucket@namespace/model", run_id=run_id
    )
    created = sdk.create_workspace_model_version(details).data.model_version
    assert (created.version, created.run_id, created.source) == ("1", run_id, details.source)
    assert created == sdk.get_model_version("model", "1").data.model_version
