"""Other programs beside us: each reads what we wrote, and we read what each wrote."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from oci.object_storage import UploadManager
from ocifs import OCIFileSystem

from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.emulator import AidpEmulator

from .conftest import PART, Storage, files_in, some_bytes

pytestmark = pytest.mark.usefixtures("small_parts")

SIZES = [0, 1, PART, 3 * PART + 7]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.txt"


@pytest.fixture
def ocifs(aidp_emulator: AidpEmulator) -> OCIFileSystem:
    return OCIFileSystem(
        config=aidp_emulator.config_file,
        profile=aidp_emulator.profile,
        config_kwargs={"service_endpoint": aidp_emulator.endpoint},
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def downloaded(repository: OciArtifactRepository, folder: Path) -> bytes:
    there = folder / "there"
    there.mkdir()
    repository.download_artifacts("file.txt", str(there))
    [content] = files_in(there).values()
    return content


@pytest.mark.parametrize("size", SIZES)
def test_oracles_client_reads_what_we_wrote(
    repository: OciArtifactRepository, storage: Storage, file: Path, size: int
) -> None:
    file.write_bytes(some_bytes(size))
    repository.log_artifact(file)
    head = storage.head_object("top/run/file.txt").headers
    assert storage.get("file.txt") == some_bytes(size)
    assert head["content-type"] == "text/plain"
    if size < 2 * PART:
        md5 = hashlib.md5(some_bytes(size)).digest()
        assert head["content-md5"] == base64.b64encode(md5).decode()
    else:
        assert head["opc-multipart-md5"].endswith("-4")
        assert head["opc-meta-mlflow-part-size"] == str(PART)


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_oracles_client_wrote(
    repository: OciArtifactRepository, storage: Storage, tmp_path: Path, size: int
) -> None:
    storage.put("file.txt", some_bytes(size))
    assert downloaded(repository, tmp_path) == some_bytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_oracles_upload_manager_wrote(
    repository: OciArtifactRepository, storage: Storage, tmp_path: Path, file: Path, size: int
) -> None:
    file.write_bytes(some_bytes(size))
    UploadManager(storage.client).upload_file(
        *storage.place, "top/run/file.txt", str(file), part_size=PART + 1
    )
    assert downloaded(repository, tmp_path) == some_bytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_our_parts_are_those_of_oracles_upload_manager(
    repository: OciArtifactRepository, storage: Storage, file: Path, size: int
) -> None:
    file.write_bytes(some_bytes(size))
    repository.log_artifact(file)
    UploadManager(storage.client).upload_file(
        *storage.place, "theirs", str(file), part_size=2 * PART - 1 if size < 2 * PART else PART
    )
    ours, theirs = (storage.head_object(name).headers for name in ("top/run/file.txt", "theirs"))
    for header in ("content-length", "content-md5", "opc-multipart-md5"):
        assert ours.get(header) == theirs.get(header)


@pytest.mark.parametrize("size", SIZES)
def test_ocifs_reads_what_we_wrote(
    repository: OciArtifactRepository, ocifs: OCIFileSystem, file: Path, size: int
) -> None:
    file.write_bytes(some_bytes(size))
    repository.log_artifact(file, "folder")
    name = f"{repository.artifact_uri}/folder/file.txt"
    assert ocifs.cat(name) == some_bytes(size)
    assert ocifs.info(name)["size"] == size
    [listed] = ocifs.ls(f"{repository.artifact_uri}/folder")
    assert name.endswith(listed if isinstance(listed, str) else listed["name"])


@pytest.mark.parametrize("size", [*SIZES, 12 * 2**20 + 1])
def test_we_read_what_ocifs_wrote(
    repository: OciArtifactRepository, ocifs: OCIFileSystem, tmp_path: Path, size: int
) -> None:
    with ocifs.open(f"{repository.artifact_uri}/file.txt", "wb") as file:
        file.write(some_bytes(size))
    [info] = repository.list_artifacts()
    assert (info.path, info.file_size) == ("file.txt", size)
    assert downloaded(repository, tmp_path) == some_bytes(size)
