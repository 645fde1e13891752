"""Paths that could mean another place are refused, and no object's name leads out of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from mlflow_oci_store.artifacts.location import Location, fault_of
from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.emulator import AidpEmulator, CloseBefore, Fault

from .conftest import Storage, files_in

HOSTILE = [
    "..",
    "../up",
    "a/../b",
    "a/..",
    "./a",
    "a/.",
    "/absolute",
    "//host/share",
    "a//b",
    "a\nb",
    "a\x00b",
    "a\x7fb",
    "\x1b[31mred",
    "a\udc80b",
    "..\\up",
    "a\\..\\b",
    "\\absolute",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_is_refused_before_anything_is_sent(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, tmp_path: Path, path: str
) -> None:
    aidp_emulator.faults.add(Fault(CloseBefore()))  # whatever is sent fails otherwise
    file = tmp_path / "file"
    file.write_text("content")
    folder = tmp_path / "folder"
    folder.mkdir()
    for attempt in (
        lambda: repository.log_artifact(file, path),
        lambda: repository.list_artifacts(path),
        lambda: repository.delete_artifacts(path),
        lambda: repository._download_file(path, folder / "x"),
    ):
        with pytest.raises(MlflowException, match=r"artifact path .* cannot be used") as caught:
            attempt()
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert files_in(folder) == {}


def test_one_hostile_name_keeps_a_folder_from_being_sent(
    repository: OciArtifactRepository, storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "good").write_text("1")
    (tmp_path / "new\nline").write_text("2")
    with pytest.raises(MlflowException, match="control character"):
        repository.log_artifacts(tmp_path)
    assert storage.names() == []


def test_a_name_longer_than_object_storage_takes_is_refused(
    repository: OciArtifactRepository,
) -> None:
    with pytest.raises(MlflowException, match="longer than 1024 bytes"):
        repository.list_artifacts("ü" * 600)


def test_objects_with_hostile_names_are_left_out_and_lead_nowhere(
    repository: OciArtifactRepository,
    storage: Storage,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("../../escaped", "a/../../escaped", "a//b", "/etc/passwd", "a/x\ny", "..", "a/ok"):
        storage.put(name, b"x")
    there = tmp_path / "deep" / "there"
    there.mkdir(parents=True)
    repository.download_artifacts("", str(there))
    assert files_in(tmp_path) == {"deep/there/a/ok": b"x"}
    assert [info.path for info in repository.list_artifacts()] == ["a"]
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    "uri",
    [
        "oci://bucket",
        "oci://bucket/prefix",
        "oci://bucket@",
        "oci://@namespace/x",
        "oci://bucket@name space/x",
        "oci://buck?et@namespace/x",
        "oci:/bucket@namespace/x",
        "s3://bucket@namespace/x",
        "oci://bucket@namespace/a/../b",
        "oci://bucket@namespace/a//b",
        "oci://bucket@namespace:443/a",
    ],
)
def test_what_is_no_place_is_refused(uri: str) -> None:
    with pytest.raises(MlflowException, match="The artifact location") as caught:
        OciArtifactRepository(uri)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("oci://My_bucket-1.x@ns1", ""),
        ("oci://My_bucket-1.x@ns1/", ""),
        ("oci://My_bucket-1.x@ns1/a", "a/"),
        ("oci://My_bucket-1.x@ns1/a/b c/", "a/b c/"),
        ("oci://My_bucket-1.x@ns1/100%/#1", "100%/#1/"),
    ],
)
def test_a_place_has_a_bucket_a_namespace_and_a_prefix(uri: str, prefix: str) -> None:
    assert Location.parse(uri) == Location("ns1", "My_bucket-1.x", prefix)


@given(st.text())
def test_a_path_without_fault_stays_in_its_folder(path: str) -> None:
    if fault_of(path) is None:
        folder = Path("/folder")
        assert folder in Path(folder, path).parents
        assert Path(folder, path).as_posix() == f"/folder/{path}"
        assert path.isprintable() or path.encode()
