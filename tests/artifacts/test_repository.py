"""Artifacts as MLflow's programs use them: what is logged is listed, downloaded and deleted."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import (
    get_artifact_repository,
    get_registered_artifact_repositories,
)

from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.emulator import AidpEmulator, Fail, Fault

from .conftest import PART, Storage, files_in, some_bytes

SIZES = [0, 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, 5 * PART, 5 * PART + 1]


@pytest.fixture
def client(aidp_emulator: AidpEmulator, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", aidp_emulator.tracking_uri)
    return MlflowClient()


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return client.create_run(client.create_experiment("mine")).info.run_id


def infos(found: list[Any]) -> list[tuple[str, bool, int | None]]:
    return [(info.path, info.is_dir, info.file_size) for info in found]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_comes_back_as_it_was(
    repository: OciArtifactRepository, tmp_path: Path, size: int
) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(some_bytes(size))
    repository.log_artifact(str(file), "folder")
    there = tmp_path / "there"
    there.mkdir()
    found = repository.download_artifacts("folder/file.bin", str(there))
    assert Path(found) == there / "folder" / "file.bin"
    assert files_in(there) == {"folder/file.bin": some_bytes(size)}


def test_a_folder_comes_back_as_it_was(repository: OciArtifactRepository, tmp_path: Path) -> None:
    content = {
        "a.txt": b"a",
        "b/c.txt": b"c",
        "b/d/e.bin": some_bytes(10_000),
        "b/d/ü ß+%2F&?#.txt": b"odd",
        ".hidden": b"",
    }
    here = tmp_path / "here"
    for name, text in content.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(text)
    repository.log_artifacts(here, "all")
    there = tmp_path / "there"
    there.mkdir()
    repository.download_artifacts("", str(there))
    assert files_in(there) == {f"all/{name}": text for name, text in content.items()}


def test_listing_goes_one_level_at_a_time_and_knows_sizes(
    repository: OciArtifactRepository, storage: Storage
) -> None:
    for name in ("b.txt", "a/1", "a/2", "a/c/3", "a.txt", "empty/"):
        storage.put(name, name.encode())
    storage.put_object("top/runner/x", b"a neighbour")
    assert infos(repository.list_artifacts()) == [
        ("a", True, None),
        ("a.txt", False, 5),
        ("b.txt", False, 5),
        ("empty", True, None),
    ]
    below = [("a/1", False, 3), ("a/2", False, 3), ("a/c", True, None)]
    assert infos(repository.list_artifacts("a")) == below
    assert infos(repository.list_artifacts("a/")) == below
    assert repository.list_artifacts("empty") == []
    assert repository.list_artifacts("a.txt") == []
    assert repository.list_artifacts("nothing") == []


def test_a_folder_of_more_than_one_page_is_listed_whole(
    repository: OciArtifactRepository, storage: Storage
) -> None:
    for number in range(1010):
        storage.put(f"{number:04}", b"")
    found = repository.list_artifacts()
    assert [info.path for info in found] == [f"{number:04}" for number in range(1010)]


def test_files_and_folders_are_deleted(repository: OciArtifactRepository, storage: Storage) -> None:
    for name in ("a/1", "a/b/2", "ab", "c", "d"):
        storage.put(name, b"")
    repository.delete_artifacts("a")
    repository.delete_artifacts("c")
    repository.delete_artifacts("nothing")
    assert storage.names() == ["top/run/ab", "top/run/d"]
    storage.put_object("top/runner", b"a neighbour")
    repository.delete_artifacts()
    assert storage.names() == ["top/runner"]


def test_a_file_is_replaced(
    repository: OciArtifactRepository, storage: Storage, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    for text in (b"old", b"new"):
        file.write_bytes(text)
        repository.log_artifact(file)
        repository.download_artifacts("file", tmp_path)
        assert file.read_bytes() == storage.get("file") == text


def test_what_is_not_there_is_not_found(repository: OciArtifactRepository, tmp_path: Path) -> None:
    with pytest.raises(MlflowException, match="get_object: 404 ObjectNotFound") as caught:
        repository.download_artifacts("nothing", str(tmp_path))
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("local", ["nothing", "folder"])
def test_only_files_are_logged_as_files(
    repository: OciArtifactRepository, tmp_path: Path, local: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(MlflowException, match="is not a file") as caught:
        repository.log_artifact(tmp_path / local)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(MlflowException, match="is not a folder"):
        repository.log_artifacts(tmp_path / "nothing")


def test_a_slash_at_the_end_of_a_path_is_nothing(
    repository: OciArtifactRepository, storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    repository.log_artifact(f"{tmp_path}/file/")
    repository.log_artifacts(f"{tmp_path}/", "folder/")
    assert storage.names() == ["top/run/file", "top/run/folder/file"]
    with pytest.raises(MlflowException, match="is not a file"):
        repository.log_artifact(f"{tmp_path}/")


def test_mlflows_functions_work_on_a_run(
    client: MlflowClient, run_id: str, aidp_emulator: AidpEmulator, tmp_path: Path
) -> None:
    client.log_text(run_id, "hello", "notes/greeting.txt")
    client.log_dict(run_id, {"a": 1}, "d.json")
    uri = client.get_run(run_id).info.artifact_uri
    assert uri.startswith(f"oci://{aidp_emulator.bucket}@{aidp_emulator.namespace}/")
    assert infos(client.list_artifacts(run_id)) == [("d.json", False, 12), ("notes", True, None)]
    assert mlflow.artifacts.load_text(f"{uri}/notes/greeting.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/d.json") == {"a": 1}
    folder = client.download_artifacts(run_id, "notes", str(tmp_path))
    assert files_in(Path(folder)) == {"greeting.txt": b"hello"}


def test_a_table_is_appended_to(client: MlflowClient, run_id: str) -> None:
    for value in (1, 2):
        client.log_table(run_id, {"x": [value]}, "table.json")
    experiment_id = client.get_run(run_id).info.experiment_id
    assert list(client.load_table(experiment_id, "table.json", [run_id])["x"]) == [1, 2]


def test_the_user_chooses_where_an_experiments_artifacts_lie(
    client: MlflowClient, aidp_emulator: AidpEmulator, storage: Storage
) -> None:
    place = f"oci://{aidp_emulator.bucket}@{aidp_emulator.namespace}/chosen"
    run = client.create_run(client.create_experiment("theirs", artifact_location=place))
    assert run.info.artifact_uri.startswith(f"{place}/")
    client.log_text(run.info.run_id, "here", "a.txt")
    assert storage.names() == [f"chosen/{run.info.run_id}/artifacts/a.txt"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("volume://a/b", "no artifact repository for the scheme 'volume' is installed"),
        ("oci://bucket/prefix", "write oci://<bucket>@<namespace>/<prefix>"),
        ("oci://bucket@namespace/a/../b", "a segment '.' or '..'"),
    ],
)
def test_a_place_that_cannot_be_reached_is_refused_when_it_is_chosen(
    client: MlflowClient, aidp_emulator: AidpEmulator, location: str, reason: str
) -> None:
    with pytest.raises(MlflowException, match=reason) as caught:
        client.create_experiment("theirs", artifact_location=location)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert aidp_emulator.audit() == []


def test_another_bucket_is_named_in_the_error(aidp_emulator: AidpEmulator) -> None:
    elsewhere = OciArtifactRepository(
        f"oci://other@{aidp_emulator.namespace}/x", aidp_emulator.tracking_uri
    )
    with pytest.raises(MlflowException, match="object_storage_endpoint") as caught:
        elsewhere.list_artifacts()
    assert "bucket named 'other'" in caught.value.message
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert caught.value.oci_code == "BucketNotFound"
    assert caught.value.operation == "list_objects"
    assert caught.value.request_id in caught.value.message


@pytest.mark.parametrize("status", [403, 404])
def test_the_service_lists_what_storage_does_not_let_the_caller_list(
    client: MlflowClient, run_id: str, aidp_emulator: AidpEmulator, status: int
) -> None:
    client.log_text(run_id, "hello", "model/data/a.txt")
    client.log_text(run_id, "hello", "model/MLmodel")
    uri = client.get_run(run_id).info.artifact_uri
    aidp_emulator.faults.add(Fault(Fail(status, "BucketNotFound"), "list_objects"))
    assert infos(client.list_artifacts(run_id)) == [("model", True, None)]
    assert infos(client.list_artifacts(run_id, "model")) == [
        ("model/MLmodel", False, 5),
        ("model/data", True, None),
    ]
    model = get_artifact_repository(f"{uri}/model")
    assert infos(model.list_artifacts()) == [("MLmodel", False, 5), ("data", True, None)]
    assert infos(model.list_artifacts("data/")) == [("data/a.txt", False, 5)]


def test_a_long_list_of_the_service_is_read_to_its_end(
    client: MlflowClient, run_id: str, aidp_emulator: AidpEmulator, storage: Storage
) -> None:
    uri = client.get_run(run_id).info.artifact_uri
    prefix = uri.split("/", 3)[3]
    for number in range(1005):
        storage.put_object(f"{prefix}/{number:04}", b"")
    aidp_emulator.faults.add(Fault(Fail(404, "BucketNotFound"), "list_objects"))
    assert len(client.list_artifacts(run_id)) == 1005


def test_storages_own_refusal_is_reported_when_the_service_cannot_help(
    repository: OciArtifactRepository, aidp_emulator: AidpEmulator
) -> None:
    aidp_emulator.faults.add(Fault(Fail(404, "BucketNotFound"), "list_objects"))
    in_no_run = OciArtifactRepository(
        f"{repository.artifact_uri}/nobody/artifacts", aidp_emulator.tracking_uri
    )
    for refused in (repository, in_no_run):
        with pytest.raises(MlflowException, match="list_objects: 404 BucketNotFound"):
            refused.list_artifacts()


def test_artifacts_of_another_tracking_server_need_no_platform(
    aidp_emulator: AidpEmulator, root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_OCI_DP_OBJECT_STORAGE_ENDPOINT", aidp_emulator.endpoint)
    monkeypatch.setenv("OCI_CONFIG_FILE", aidp_emulator.config_file)
    monkeypatch.setenv("OCI_CLI_PROFILE", aidp_emulator.profile)
    elsewhere = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = elsewhere.create_run(elsewhere.create_experiment("mine", artifact_location=root))
    elsewhere.log_text(run.info.run_id, "hello", "a.txt")
    assert infos(elsewhere.list_artifacts(run.info.run_id)) == [("a.txt", False, 5)]
    folder = elsewhere.download_artifacts(run.info.run_id, "a.txt", str(tmp_path))
    assert Path(folder).read_text() == "hello"
    aidp_emulator.faults.add(Fault(Fail(404, "BucketNotFound"), "list_objects"))
    with pytest.raises(MlflowException, match="list_objects: 404"):
        elsewhere.list_artifacts(run.info.run_id)


def test_a_registrys_settings_hold_when_only_it_is_an_ai_data_platform(
    aidp_emulator: AidpEmulator, root: str, storage: Storage, tmp_path: Path
) -> None:
    storage.put("a", b"1")
    repository = get_artifact_repository(
        root, f"sqlite:///{tmp_path}/mlflow.db", aidp_emulator.tracking_uri
    )
    assert infos(repository.list_artifacts()) == [("a", False, 1)]


def test_without_a_region_or_an_endpoint_the_error_says_what_to_set(
    aidp_emulator: AidpEmulator, root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = Path(aidp_emulator.config_file).read_text()
    nowhere = tmp_path / "config"
    nowhere.write_text("\n".join(it for it in config.splitlines() if "region" not in it))
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", str(nowhere))
    monkeypatch.setenv("OCI_CLI_PROFILE", aidp_emulator.profile)
    with pytest.raises(MlflowException, match="MLFLOW_OCI_DP_REGION"):
        OciArtifactRepository(root, "file:///somewhere").list_artifacts()


def test_the_default_endpoint_is_that_of_oracles_client(
    aidp_emulator: AidpEmulator, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", aidp_emulator.config_file)
    monkeypatch.setenv("OCI_CLI_PROFILE", aidp_emulator.profile)
    monkeypatch.setenv("OCI_CLI_REGION", "eu-frankfurt-1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException, match="at the proxy") as caught:
        OciArtifactRepository(root, "file:///somewhere").list_artifacts()
    assert "no answer from https://objectstorage.eu-frankfurt-1.oraclecloud.com" in str(
        caught.value
    )
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_an_endpoint_that_depends_on_the_namespace_is_left_to_oracles_client(
    aidp_emulator: AidpEmulator, root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", aidp_emulator.config_file)
    monkeypatch.setenv("OCI_CLI_PROFILE", aidp_emulator.profile)
    monkeypatch.setenv("OCI_CLI_REGION", "us-ashburn-1")
    monkeypatch.setenv("OCI_REALM_SPECIFIC_SERVICE_ENDPOINT_TEMPLATE_ENABLED", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "small").write_text("small")
    with pytest.raises(MlflowException, match=r"put_object: no answer .*customer-oci\.com.* proxy"):
        OciArtifactRepository(root, "file:///somewhere").log_artifact(tmp_path / "small")


def _log_in_child(repository: OciArtifactRepository, folder: str) -> None:
    repository.log_artifacts(folder, "child")
    repository.download_artifacts("child", folder)


def test_a_forked_child_has_threads_and_connections_of_its_own(
    repository: OciArtifactRepository, storage: Storage, tmp_path: Path
) -> None:
    for number in range(40):
        (tmp_path / f"{number}").write_bytes(b"x")
    repository.log_artifacts(tmp_path, "parent")
    child = multiprocessing.get_context("fork").Process(
        target=_log_in_child, args=(repository, str(tmp_path))
    )
    child.start()
    child.join(120)
    assert child.exitcode == 0
    repository.log_artifacts(tmp_path / "child", "parent")
    assert len(storage.names()) == 80


def test_progress_is_shown_as_mlflow_shows_it(
    repository: OciArtifactRepository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_parts: None,
) -> None:
    monkeypatch.setattr("mlflow.utils.file_utils._PROGRESS_BAR_DISPLAY_THRESHOLD", 0)
    (tmp_path / "large").write_bytes(some_bytes(4 * PART))
    repository.log_artifacts(tmp_path)
    repository.download_artifacts("large", str(tmp_path))
    shown = capsys.readouterr().err
    for title in (
        "Uploading artifacts",
        "Uploading /",
        "Downloading artifacts",
        "Downloading top/",
    ):
        assert re.search(rf"{title}[^\r\n]*: 100%", shown), title
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    repository.log_artifacts(tmp_path)
    repository.download_artifacts("large", str(tmp_path))
    assert capsys.readouterr().err == ""


def test_another_package_that_claims_the_scheme_loses_once_the_platform_is_used(
    aidp_emulator: AidpEmulator, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*_: object) -> None:
        raise AssertionError("the other package was asked")

    monkeypatch.setitem(get_registered_artifact_repositories(), "oci", other)
    MlflowClient(aidp_emulator.tracking_uri).search_experiments()
    found = get_artifact_repository(root, tracking_uri=aidp_emulator.tracking_uri)
    assert isinstance(found, OciArtifactRepository)


def test_repositories_of_many_runs_share_connections_and_threads(
    aidp_emulator: AidpEmulator, root: str
) -> None:
    one, other = (
        OciArtifactRepository(f"{root}/{number}", aidp_emulator.tracking_uri) for number in range(2)
    )
    assert one.thread_pool is other.thread_pool
