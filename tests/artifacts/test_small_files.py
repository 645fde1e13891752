"""Many small files: all arrive, side by side, whatever some of them meet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mlflow.exceptions import MlflowException

from mlflow_oci_store.artifacts.location import Location
from mlflow_oci_store.artifacts.object_storage import THREADS, object_storage
from mlflow_oci_store.artifacts.repository import OciArtifactRepository
from mlflow_oci_store.artifacts.small_files import SMALL_BYTES, upload_small_files
from mlflow_oci_store.emulator import AidpEmulator, CloseBefore, Delay, Fail, Fault
from mlflow_oci_store.emulator.answers import Answer
from mlflow_oci_store.emulator.faults import Action
from mlflow_oci_store.errors import OciDataPlatformException
from mlflow_oci_store.settings import Settings

from .conftest import PASSING, Count, Expire, Session, Storage, files_in, some_bytes

PATIENCE_SECONDS = 30.0
FILES = 120
# One that is sent over a connection that is there already, with others under way.
IN_THE_MIDST = 60


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of small files, of one byte more each."""
    folder = tmp_path / "here"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.bin").write_bytes(some_bytes(number))
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def counted(aidp_emulator: AidpEmulator) -> Count:
    """Counts the requests that put something."""
    action = Count()
    aidp_emulator.faults.add(Fault(action, "put_object"))
    return action


def test_files_of_all_sizes_arrive_and_each_is_sent_once(
    repository: OciArtifactRepository, counted: Count, here: Path, there: Path
) -> None:
    for size in (SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, 10 * SMALL_BYTES):
        (here / f"folder of {size}").mkdir()
        (here / f"folder of {size}" / "ß ?.json").write_bytes(some_bytes(size))
    repository.log_artifacts(here)
    assert counted.requests == FILES + 4
    repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)


@pytest.mark.parametrize(("enabled", "whole"), [("true", 100), ("false", FILES)])
def test_what_is_to_go_in_parts_does_however_small(
    repository: OciArtifactRepository,
    storage: Storage,
    counted: Count,
    here: Path,
    there: Path,
    monkeypatch: pytest.MonkeyPatch,
    enabled: str,
    whole: int,
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_MULTIPART_UPLOAD", enabled)
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "100")
    repository.log_artifacts(here)
    assert counted.requests == whole
    assert len(storage.names()) == FILES
    repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)


@pytest.mark.parametrize("action", PASSING.values(), ids=PASSING)
def test_all_arrive_whatever_passes(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    counted: Count,
    here: Path,
    there: Path,
    action: Action,
) -> None:
    aidp_emulator.faults.add(Fault(action, "put_object", nth=7, times=12))
    repository.log_artifacts(here)
    assert counted.requests == FILES + 12
    repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)


class Together(Action):
    """Write down how many requests are being answered at the same time."""

    name: ClassVar[str] = "together"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def before(self, released: threading.Event) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def after(self, answer: Answer) -> Answer:
        with self._lock:
            self._now -= 1
        return answer


def test_where_answers_take_their_time_sixteen_files_are_on_their_way(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, here: Path
) -> None:
    together = Together()
    for action in (together, Delay(0.1)):
        aidp_emulator.faults.add(Fault(action, "put_object"))
    repository.log_artifacts(here)
    assert together.most == THREADS


class Counting(ThreadPoolExecutor):
    """Threads that count what they are given to do."""

    given = 0

    def submit(self, *args: Any, **options: Any) -> Any:
        self.given += 1
        return super().submit(*args, **options)


def test_where_connections_are_open_next_to_nothing_needs_a_thread(
    repository: OciArtifactRepository, here: Path, counted: Count
) -> None:
    repository.log_artifacts(here)
    assert repository.tracking_uri is not None
    storage = object_storage(Settings.from_uri(repository.tracking_uri))
    with Counting(THREADS) as threads:
        storage.files = threads
        repository.log_artifacts(here)
    assert counted.requests == 2 * FILES
    # Some may be, on a machine on which an answer takes its time.
    assert threads.given < FILES / 2


class Last(Action):
    """Keep a request waiting until all others of an upload are there."""

    name: ClassVar[str] = "last"

    def __init__(self, counted: Count) -> None:
        self._counted = counted
        self.others = 0

    def before(self, released: threading.Event) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self._counted.requests < FILES and time.monotonic() < end:
            released.wait(0.01)
        self.others = self._counted.requests


def test_an_answer_that_does_not_come_keeps_nobody_waiting(
    aidp_emulator: AidpEmulator, repository: OciArtifactRepository, counted: Count, here: Path
) -> None:
    last = Last(counted)
    aidp_emulator.faults.add(Fault(last, "put_object", nth=IN_THE_MIDST, times=1))
    repository.log_artifacts(here)
    assert last.others == counted.requests == FILES


@pytest.mark.parametrize("more", [0, SMALL_BYTES], ids=["small", "larger"])
@pytest.mark.parametrize("nth", [1, IN_THE_MIDST], ids=["first", "in the midst"])
def test_after_a_failure_nothing_more_is_begun_and_nothing_is_under_way(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    counted: Count,
    here: Path,
    nth: int,
    more: int,
) -> None:
    # Larger files have threads of their own, and the same is true of them.
    for file in here.iterdir():
        file.write_bytes(file.read_bytes() + bytes(more + bool(more)))
    aidp_emulator.faults.add(Fault(Delay(0.02), "put_object"))
    aidp_emulator.faults.add(
        Fault(Fail(404, "BucketNotFound", "gone"), "put_object", nth=nth, times=1)
    )
    with pytest.raises(OciDataPlatformException, match="put_object: 404 BucketNotFound: gone"):
        repository.log_artifacts(here)
    begun = counted.requests
    assert begun < nth + 2 * THREADS
    assert len(storage.names()) == begun - 1
    assert counted.requests == begun


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [
        (Fail(503, "ServiceUnavailable"), 503, "put_object: 503"),
        (CloseBefore(), None, "put_object: no answer from http://127"),
    ],
)
def test_a_file_that_fails_once_too_often_is_given_up(
    aidp_emulator: AidpEmulator,
    root: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: Action,
    status: int | None,
    message: str,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    repository = OciArtifactRepository(root, aidp_emulator.tracking_uri)
    aidp_emulator.faults.add(Fault(action, "put_object", nth=IN_THE_MIDST))
    with pytest.raises(OciDataPlatformException, match=message) as caught:
        repository.log_artifacts(here)
    assert (caught.value.status, caught.value.retries) == (status, 0)


def test_a_token_that_expires_in_the_midst_is_renewed(
    aidp_emulator: AidpEmulator, root: str, here: Path, there: Path, tmp_path: Path
) -> None:
    session = Session(aidp_emulator, tmp_path)
    repository = OciArtifactRepository(root, session.tracking_uri)
    aidp_emulator.faults.add(Fault(Expire(session), "put_object", nth=IN_THE_MIDST, times=1))
    repository.log_artifacts(here)
    repository.download_artifacts("", str(there))
    assert files_in(there) == files_in(here)


def test_a_file_that_went_away_ends_the_upload(
    repository: OciArtifactRepository, storage: Storage, here: Path, counted: Count
) -> None:
    def disappearing() -> Iterator[tuple[str, str]]:
        for number, file in enumerate(sorted(here.iterdir())):
            if number == IN_THE_MIDST:
                file.unlink()
            yield f"top/run/{file.name}", str(file)

    with pytest.raises(FileNotFoundError):
        _upload(repository, disappearing())
    assert len(storage.names()) == counted.requests == IN_THE_MIDST


def test_who_interrupts_waits_for_what_is_under_way(
    aidp_emulator: AidpEmulator,
    repository: OciArtifactRepository,
    storage: Storage,
    here: Path,
    counted: Count,
) -> None:
    def interrupted() -> Iterator[tuple[str, str]]:
        for number, file in enumerate(sorted(here.iterdir())):
            if number == IN_THE_MIDST:
                raise KeyboardInterrupt
            yield f"top/run/{file.name}", str(file)

    aidp_emulator.faults.add(Fault(Delay(0.05), "put_object"))
    with pytest.raises(KeyboardInterrupt):
        _upload(repository, interrupted())
    assert len(storage.names()) == counted.requests == IN_THE_MIDST


def test_a_broken_link_is_refused_before_anything_is_sent(
    repository: OciArtifactRepository, here: Path, counted: Count
) -> None:
    (here / "link").symlink_to(here / "nowhere")
    with pytest.raises(MlflowException, match="link is not a file"):
        repository.log_artifacts(here)
    assert counted.requests == 0


def _upload(repository: OciArtifactRepository, files: Iterator[tuple[str, str]]) -> None:
    assert repository.tracking_uri is not None
    storage = object_storage(Settings.from_uri(repository.tracking_uri))
    upload_small_files(storage, Location.parse(repository.artifact_uri), files, lambda _: None)
