"""Transfers on a bad day: broken, throttled, damaged, or signed with a token that expires."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from client.loopback_proxy import loopback_proxy
from mlflow.exceptions import MlflowException

from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.emulator import (
    AidpEmulator,
    CloseAfter,
    CloseBefore,
    Fail,
    Fault,
    Truncate,
)
from mlflow_oci_store.emulator.faults import Action
from mlflow_oci_store.errors import OciDataPlatformException

from .conftest import PART, PASSING, Expire, Session, Storage, files_in, some_bytes

pytestmark = pytest.mark.usefixtures("small_parts")

LARGE = some_bytes(6 * PART + 1)
SMALL = some_bytes(PART)
WRITES = {
    "put_object": SMALL,
    "create_multipart_upload": LARGE,
    "upload_part": LARGE,
    "commit_multipart_upload": LARGE,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("action", PASSING.values(), ids=PASSING)
def test_an_upload_survives_what_passes(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    file: Path,
    operation: str,
    action: Action,
) -> None:
    file.write_bytes(WRITES[operation])
    aidp_emulator.faults.add(Fault(action, operation, times=3))
    repository.log_artifact(file)
    assert storage.get("file") == WRITES[operation]


@pytest.mark.parametrize("size", [0, 2**20, 2**20 + 1, 3 * 2**20])
@pytest.mark.parametrize("action", PASSING.values(), ids=PASSING)
def test_an_upload_in_one_request_survives_what_passes(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    action: Action,
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_MULTIPART_UPLOAD", "false")
    file.write_bytes(some_bytes(size))
    aidp_emulator.faults.add(Fault(action, "put_object", times=3))
    repository.log_artifact(file)
    assert storage.get("file") == some_bytes(size)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("action", [*PASSING.values(), Truncate()], ids=[*PASSING, "truncated"])
def test_a_download_survives_what_passes(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    there: Path,
    content: bytes,
    action: Action,
) -> None:
    storage.put("file", content)
    aidp_emulator.faults.add(Fault(action, "get_object", times=5))
    repository.download_artifacts("file", str(there))
    assert files_in(there) == {"file": content}


def test_everything_survives_a_bad_network(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, tmp_path: Path, there: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for number in range(20):
        (here / f"{number}").write_bytes(some_bytes(number * PART // 4))
    for action in (CloseBefore(), CloseAfter(), CloseAfter(reset=True), Truncate()):
        aidp_emulator.faults.add(Fault(action, probability=0.05))
    repository.log_artifacts(here)
    repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)
    repository.delete_artifacts()
    assert repository.list_artifacts() == []


@pytest.mark.parametrize("operation", WRITES)
def test_a_failed_upload_leaves_nothing(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    stored: Callable[[], list[Path]],
    file: Path,
    operation: str,
) -> None:
    file.write_bytes(WRITES[operation])
    aidp_emulator.faults.add(Fault(Fail(400, "InvalidParameter", "no"), operation, nth=1))
    with pytest.raises(OciDataPlatformException, match=f"{operation}: 400 InvalidParameter: no"):
        repository.log_artifact(file)
    assert storage.names() == []
    assert storage.list_multipart_uploads().data == []
    assert stored() == []


def test_parts_that_cannot_be_taken_away_are_named(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file.write_bytes(LARGE)
    for operation in ("commit_multipart_upload", "abort_multipart_upload"):
        aidp_emulator.faults.add(Fault(Fail(400, "InvalidParameter", operation), operation))
    with pytest.raises(OciDataPlatformException, match="commit_multipart_upload"):
        repository.log_artifact(file)
    [upload] = storage.list_multipart_uploads().data
    assert f"delete the upload {upload.upload_id}" in caplog.text


def test_an_upload_that_another_took_away_fails(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, storage: Storage, file: Path
) -> None:
    file.write_bytes(LARGE)
    aidp_emulator.faults.add(Fault(Fail(404, "NoSuchUpload"), "commit_multipart_upload"))
    with pytest.raises(OciDataPlatformException, match="404 NoSuchUpload"):
        repository.log_artifact(file)
    assert storage.names() == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_failed_download_leaves_what_was_there(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    there: Path,
    content: bytes,
) -> None:
    storage.put("file", content)
    (there / "file").write_bytes(b"before")
    aidp_emulator.faults.add(Fault(Fail(400, "InvalidParameter", "no"), "get_object", nth=2))
    aidp_emulator.faults.add(Fault(Truncate(), "get_object", times=1))
    with pytest.raises(MlflowException, match="get_object: 400 InvalidParameter: no"):
        repository.download_artifacts("file", str(there))
    assert files_in(there) == {"file": b"before"}


def test_a_download_gives_up_when_nothing_more_arrives(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    there: Path,
) -> None:
    storage.put("file", SMALL)
    aidp_emulator.faults.add(Fault(Truncate(), "get_object"))
    with pytest.raises(MlflowException, match="get_object: no answer from"):
        repository.download_artifacts("file", str(there))
    assert files_in(there) == {}


class Replace(Action):
    """Put another object in the place of the one that is being downloaded."""

    name: ClassVar[str] = "replace"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def before(self, released: threading.Event) -> None:
        self._storage.put("file", LARGE[::-1])


def test_two_versions_of_an_object_are_never_mixed(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    there: Path,
) -> None:
    storage.put("file", LARGE)
    aidp_emulator.faults.add(Fault(Replace(storage), "get_object", nth=3))
    with pytest.raises(MlflowException, match="412 IfMatchFailed"):
        repository.download_artifacts("file", str(there))
    assert files_in(there) == {}


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_damaged_object_is_not_downloaded(
    repository: OciArtifactRepository,
    stored: Callable[[], list[Path]],
    file: Path,
    there: Path,
    content: bytes,
) -> None:
    file.write_bytes(content)
    repository.log_artifact(file)
    damaged = stored()[-1]
    damaged.write_bytes(b"?" * damaged.stat().st_size)
    with pytest.raises(MlflowException, match="is damaged") as caught:
        repository.download_artifacts("file", str(there))
    assert caught.value.error_code == "IO_ERROR"
    assert files_in(there) == {}


class Damage(Action):
    """Say of an upload that something else arrived."""

    name: ClassVar[str] = "damage"

    def __init__(self, header: str, md5: str | None) -> None:
        self._header, self._md5 = header, md5

    def after(self, answer: Any) -> Any:
        headers = {key: text for key, text in answer.headers.items() if key != self._header}
        if self._md5 is not None:
            headers[self._header] = self._md5
        return type(answer)(answer.status, answer.body, headers)


DAMAGED_OBJECT = Damage("opc-multipart-md5", "AAAAAAAAAAAAAAAAAAAAAA==-7")
DAMAGED_PARTS = {
    "AAAAAAAAAAAAAAAAAAAAAA==": Damage("opc-content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
    "not known": Damage("opc-content-md5", None),
}


def test_an_object_that_is_not_what_was_uploaded_is_an_error(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, file: Path
) -> None:
    file.write_bytes(LARGE)
    aidp_emulator.faults.add(Fault(DAMAGED_OBJECT, "commit_multipart_upload"))
    with pytest.raises(MlflowException, match="not what was uploaded") as caught:
        repository.log_artifact(file)
    assert caught.value.error_code == "IO_ERROR"


@pytest.mark.parametrize("damage", DAMAGED_PARTS.values(), ids=DAMAGED_PARTS)
def test_a_part_that_arrived_damaged_is_sent_again(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    file: Path,
    damage: Damage,
) -> None:
    file.write_bytes(LARGE)
    aidp_emulator.faults.add(Fault(damage, "upload_part", times=3))
    repository.log_artifact(file)
    assert storage.get("file") == LARGE


@pytest.mark.parametrize("arrived", DAMAGED_PARTS)
def test_parts_that_always_arrive_damaged_are_an_error(
    aidp_emulator: AidpEmulator,
    root: str,
    storage: Storage,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    arrived: str,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    repository = OciArtifactRepository(root, aidp_emulator.tracking_uri)
    file.write_bytes(LARGE)
    aidp_emulator.faults.add(Fault(DAMAGED_PARTS[arrived], "upload_part"))
    with pytest.raises(MlflowException, match=rf"upload_part: .*what arrived is {arrived}"):
        repository.log_artifact(file)
    assert storage.names() == []
    assert storage.list_multipart_uploads().data == []


class Shorten(Action):
    """Take the end of a file away before its parts are sent."""

    name: ClassVar[str] = "shorten"

    def __init__(self, file: Path) -> None:
        self._file = file

    def before(self, released: threading.Event) -> None:
        self._file.write_bytes(LARGE[:-PART])


def test_a_file_that_becomes_shorter_is_not_waited_for(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, storage: Storage, file: Path
) -> None:
    file.write_bytes(LARGE)
    aidp_emulator.faults.add(Fault(Shorten(file), "create_multipart_upload"))
    with pytest.raises(MlflowException, match="became shorter while it was uploaded") as caught:
        repository.log_artifact(file)
    assert caught.value.error_code == "IO_ERROR"
    assert storage.names() == []
    assert storage.list_multipart_uploads().data == []


def test_a_token_that_expires_during_an_upload_does_not_end_it(
    aidp_emulator: AidpEmulator,
    root: str,
    storage: Storage,
    file: Path,
    there: Path,
    tmp_path: Path,
) -> None:
    session = Session(aidp_emulator, tmp_path)
    repository = OciArtifactRepository(root, session.tracking_uri)
    for operation in ("upload_part", "get_object"):
        aidp_emulator.faults.add(Fault(Expire(session), operation, nth=2, times=1))
    file.write_bytes(LARGE)
    repository.log_artifact(file)
    assert storage.get("file") == LARGE
    repository.download_artifacts("file", str(there))
    assert files_in(there) == {"file": LARGE}


def test_a_signature_that_is_refused_names_who_signed(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository
) -> None:
    aidp_emulator.faults.add(Fault(Fail(401, "NotAuthenticated"), "list_objects"))
    with pytest.raises(OciDataPlatformException, match="Signed as api_key") as caught:
        repository.list_artifacts()
    assert caught.value.error_code == "UNAUTHENTICATED"
    assert caught.value.retries == 0


def test_a_try_that_fails_again_and_again_is_given_up(
    aidp_emulator: AidpEmulator,
    root: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    repository = OciArtifactRepository(root, aidp_emulator.tracking_uri)
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable", "later"), "put_object"))
    file.write_bytes(SMALL)
    with pytest.raises(OciDataPlatformException, match="after 2 retries") as caught:
        repository.log_artifact(file)
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert (caught.value.status, caught.value.retries) == (503, 2)


@pytest.fixture
def secure() -> Any:
    with AidpEmulator(tls=True) as emulator:
        yield emulator


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_endpoint_that_depends_on_the_namespace_gets_files_whole_and_in_parts(
    secure: AidpEmulator, tmp_path: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "large").write_bytes(LARGE)
    (here / "small").write_bytes(SMALL)
    (here / "tiny").write_bytes(b"x")
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", secure.config_file)
    monkeypatch.setenv("OCI_CLI_PROFILE", secure.profile)
    monkeypatch.setenv("OCI_CLI_REGION", "us-ashburn-1")
    monkeypatch.setenv("OCI_REALM_SPECIFIC_SERVICE_ENDPOINT_TEMPLATE_ENABLED", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    place = f"oci://{secure.bucket}@{secure.namespace}/x"
    with loopback_proxy(tunnels_to=urlsplit(secure.endpoint).netloc) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        repository = OciArtifactRepository(place, "file:///somewhere")
        repository.log_artifacts(here)
        repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)
    host = f"{secure.namespace}.objectstorage.us-ashburn-1.oci.customer-oci.com"
    assert {line.rpartition(" ")[0] for line in proxy.request_lines} == {f"CONNECT {host}:443"}


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_tls_is_checked_as_mlflows_variables_say(
    secure: AidpEmulator, file: Path, there: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = f"oci://{secure.bucket}@{secure.namespace}/x"
    file.write_bytes(LARGE)
    with pytest.raises(MlflowException, match="MLFLOW_TRACKING_SERVER_CERT_PATH") as caught:
        OciArtifactRepository(place, secure.tracking_uri).log_artifact(file)
    assert (caught.value.error_code, caught.value.retries) == ("BAD_REQUEST", 0)
    # What MLflow's variable says wins over what requests finds by itself.
    other = tmp_path / "other.pem"
    other.write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(secure.ca_file))
    repository = OciArtifactRepository(place, secure.tracking_uri)
    repository.log_artifact(file)
    repository.download_artifacts("file", str(there))
    assert files_in(there) == {"file": LARGE}
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert len(OciArtifactRepository(place, secure.tracking_uri).list_artifacts()) == 1
