"""Where the files of models lie, and who finds them how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.models.model import ModelInfo
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import fluent

from mlflow_oci_store.tracking.store import OciDataPlatformStore

kept_only = pytest.mark.parametrize("emulator", [False], ids=["kept"], indirect=True)

LOAD = """
import sys
import mlflow
for uri in sys.argv[1:]:
    print(mlflow.pyfunc.load_model(uri).predict(None))
"""


@pytest.fixture(autouse=True)
def script(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow as a script finds it that is started with ``MLFLOW_TRACKING_URI`` set."""
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")
    del os.environ["MLFLOW_EXPERIMENT_ID"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    yield
    while mlflow.active_run():
        mlflow.end_run()


SAYS = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Says(PythonModel):
    def predict(self, context, model_input):
        return {word!r}

set_model(Says())
"""


def log(word: str, tmp_path: Path, **more: object) -> ModelInfo:
    """Log a model that predicts a word, and has a file of that name beside the usual ones."""
    extra, code = tmp_path / f"{word}.txt", tmp_path / f"{word}.py"
    extra.write_text(word)
    code.write_text(SAYS.format(word=word))
    return mlflow.pyfunc.log_model(
        name="model",
        python_model=str(code),
        artifacts={"extra": str(extra)},
        pip_requirements=[],
        **more,
    )


def files(folder: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_models_of_one_name_keep_their_own_files_and_are_found_by_every_uri(
    tmp_path: Path,
) -> None:
    with mlflow.start_run() as run:
        first = log("first", tmp_path, step=1)
        second = log("second", tmp_path, step=2)
    uris = [
        f"models:/{first.model_id}",
        f"models:/{second.model_id}",
        f"runs:/{run.info.run_id}/model",
        second.artifact_path,
    ]

    words = subprocess.run(
        [sys.executable, "-c", LOAD, *uris], capture_output=True, text=True, check=True
    ).stdout.split()

    assert words == ["first", "second", "second", "second"]


def test_a_runs_uri_shows_each_file_of_the_newest_model_once(tmp_path: Path) -> None:
    with mlflow.start_run() as run:
        for word in ("first", "second"):
            log(word, tmp_path)
            mlflow.log_text("mine", "notes/mine.txt")
            listed = [
                item.path
                for item in mlflow.artifacts.list_artifacts(
                    run_id=run.info.run_id, artifact_path="model/artifacts"
                )
            ]
            downloaded = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/model")

            assert listed == [f"model/artifacts/{word}.txt"]
            assert f"artifacts/{word}.txt" in files(downloaded)
            assert "artifacts/first.txt" not in files(downloaded) or word == "first"
        assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/mine.txt") == "mine"
    assert [
        item.path for item in mlflow.artifacts.list_artifacts(f"runs:/{run.info.run_id}/notes")
    ] == ["notes/mine.txt"]


@kept_only
def test_the_first_model_of_a_name_is_where_mlflow_2_looks_for_it(tmp_path: Path) -> None:
    with mlflow.start_run() as run:
        first, second = log("first", tmp_path), log("second", tmp_path)
    root = get_artifact_repository(run.info.artifact_uri)

    assert {item.path for item in root.list_artifacts()} == {
        "model",
        f"model-{second.model_id[-12:]}",
    }
    assert "artifacts/first.txt" in files(root.download_artifacts("model", str(tmp_path)))
    assert first.artifact_path == f"{run.info.artifact_uri}/model"


@kept_only
def test_the_run_lists_its_models_as_mlflow_2_did(
    tmp_path: Path, store: OciDataPlatformStore
) -> None:
    with mlflow.start_run() as run:
        models = [log("first", tmp_path), log("second", tmp_path)]

    history = json.loads(store.get_run(run.info.run_id).data.tags["mlflow.log-model.history"])

    assert [entry["model_uuid"] for entry in history] == [model.model_id for model in models]
    assert [entry["artifact_path"] for entry in history] == [
        "model",
        f"model-{models[1].model_id[-12:]}",
    ]
    for entry in history:
        assert entry["run_id"] == run.info.run_id
        assert (
            entry["flavors"]["python_function"]["loader_module"]
            == "mlflow.pyfunc.loaders.code_model"
        )


@kept_only
def test_more_models_than_the_runs_list_has_room_for_are_logged_all_the_same(
    tmp_path: Path, store: OciDataPlatformStore
) -> None:
    with mlflow.start_run() as run:
        models = [log("word", tmp_path) for _ in range(20)]

    outputs = store.get_run(run.info.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id for model in models]
    assert all(str(mlflow.get_logged_model(it.model_id).status) == "READY" for it in models)


def test_a_model_without_a_run_is_found_in_another_process(tmp_path: Path) -> None:
    experiment_id = mlflow.set_experiment("e").experiment_id
    model = mlflow.initialize_logged_model("model")
    info = log("alone", tmp_path, model_id=model.model_id)
    assert mlflow.get_logged_model(info.model_id).experiment_id == experiment_id

    printed = subprocess.run(
        [sys.executable, "-c", LOAD, f"models:/{info.model_id}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert printed == ["alone"]


def test_a_model_that_fails_to_be_saved_is_marked_so(tmp_path: Path) -> None:
    with mlflow.start_run() as run, pytest.raises(Exception, match="no-such-code"):
        mlflow.pyfunc.log_model(
            name="model", python_model=str(tmp_path / "no-such-code.py"), pip_requirements=[]
        )
    [output] = mlflow.get_run(run.info.run_id).outputs.model_outputs
    assert str(mlflow.get_logged_model(output.model_id).status) == "FAILED"


def test_the_runs_of_other_servers_are_left_to_mlflow(tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("e")
    mlflow.create_experiment("f", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("f")
    with mlflow.start_run() as run:
        log("word", tmp_path)
    mlflow.end_run()

    assert mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").predict(None) == "word"
    repository = get_artifact_repository(f"runs:/{run.info.run_id}")
    assert type(repository).__module__.startswith("mlflow.")
