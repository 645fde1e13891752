"""A disk that forgets: what is readable arrives, and what is not is named."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

import pytest
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from mlflow_oci_store.tracking.outbox.inventory import boxes_in
from mlflow_oci_store.tracking.outbox.journal import METRIC, PARAM
from mlflow_oci_store.tracking.outbox.ledger import Ledger
from mlflow_oci_store.tracking.outbox.target import LEDGER_FILE

from .clock import Clock
from .stepped import SteppedOutbox, TokenService, failure, settings

RUN, OTHER = "0" * 32, "1" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(clock: Clock) -> TokenService:
    return TokenService(clock)


@pytest.fixture
def outbox(outbox_dir: Path, service: TokenService, clock: Clock) -> SteppedOutbox:
    return SteppedOutbox(settings(outbox_dir), service, clock)


@pytest.fixture
def left(outbox: SteppedOutbox) -> Path:
    """The folder of a dead process that logged five metrics to one run and one to another."""
    for step in range(5):
        outbox.log(RUN, METRIC, Metric("m", 0.5, 1, step))
    outbox.log(OTHER, METRIC, Metric("m", 0.5, 1, 0))
    outbox.die()
    [folder] = Path(outbox._settings.outbox_dir).glob("*/*")
    return folder


def journal_of(folder: Path, run_id: str) -> Path:
    [path] = [it for it in folder.glob("*.journal") if run_id in it.read_text()]
    return path


def heir_of(outbox: SteppedOutbox) -> SteppedOutbox:
    heir = SteppedOutbox(outbox._settings, outbox._delivery._client, outbox._clock)
    heir.adopt()
    return heir


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]


def test_a_damaged_line_goes_to_the_dead_letters_and_the_others_arrive(
    outbox: SteppedOutbox,
    service: TokenService,
    clock: Clock,
    left: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = journal_of(left, RUN)
    path.write_bytes(path.read_bytes().replace(b'"step":2', b'"step":7'))
    heir_of(outbox).run(clock)
    assert service.steps(RUN) == [0, 1, 3, 4]
    assert service.steps(OTHER) == [0]
    [message] = errors(caplog)
    assert f"cannot be sent to run {RUN}: check the disk" in message
    ledger = Ledger(left, read_only=True)
    [letter] = ledger.dead_letters()
    ledger.close()
    assert b'"step":7' in letter.content
    assert (letter.run_id, letter.refusal.error_code) == (RUN, "DATA_LOSS")


@pytest.mark.parametrize("bytes_lost", [1, 30, 100])
def test_a_journal_that_was_cut_short_arrives_up_to_its_last_whole_line(
    outbox: SteppedOutbox, service: TokenService, clock: Clock, left: Path, bytes_lost: int
) -> None:
    path = journal_of(left, RUN)
    whole = path.read_bytes()
    os.truncate(path, len(whole) - bytes_lost)
    lines = whole[: len(whole) - bytes_lost].count(b"\n") - 1
    heir_of(outbox).run(clock)
    assert service.steps(RUN) == list(range(lines))
    assert service.steps(OTHER) == [0]


def test_what_was_sealed_is_sent_though_its_lines_are_lost(
    outbox: SteppedOutbox, service: TokenService, clock: Clock
) -> None:
    """Refused and divided, so that there are several; then the journal loses its end."""
    for step in range(8):
        outbox.log(RUN, METRIC, Metric("m", 0.5, 1, step))
    refusals = iter([failure(400), failure(400), SystemExit()])

    def refusing(*_: object) -> None:
        raise next(refusals)

    service.meets = refusing
    with pytest.raises(SystemExit):
        outbox.run(clock)
    outbox.die()
    [folder] = Path(outbox._settings.outbox_dir).glob("*/*")
    path = journal_of(folder, RUN)
    os.truncate(path, path.read_bytes().index(b"\n") + 1)
    service.meets = lambda *_: None
    heir = heir_of(outbox)
    heir.run(clock)
    assert service.steps(RUN) == list(range(8))
    assert not heir.is_busy()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"mlflow-oci-store journal 1 ", b"mlflow-oci-store journal 9 "),
        (b"journal 1 0", b"journal 1 f"),
        (b"journal 1 0", b"journal 1 \xff"),
        (b"0\n", b"0_"),
    ],
)
def test_a_journal_of_which_the_run_is_lost_is_named_and_kept(
    outbox: SteppedOutbox,
    service: TokenService,
    clock: Clock,
    left: Path,
    caplog: pytest.LogCaptureFixture,
    old: bytes,
    new: bytes,
) -> None:
    path = journal_of(left, RUN)
    content = path.read_bytes().replace(old, new, 1)
    path.write_bytes(content)
    heir_of(outbox).run(clock)
    assert service.steps(RUN) == []
    assert service.steps(OTHER) == [0]
    [message] = errors(caplog)
    assert f"{path} is damaged" in message
    assert path.read_bytes() == content
    [box] = boxes_in(Path(outbox._settings.outbox_dir))
    assert box.fault is not None
    assert path.name in box.fault


def test_a_damaged_ledger_is_named_and_stops_nothing_else(
    outbox: SteppedOutbox,
    service: TokenService,
    clock: Clock,
    left: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for file in left.glob(f"{LEDGER_FILE}*"):
        file.write_bytes(b"\0" * file.stat().st_size)
    (left / LEDGER_FILE).write_bytes(b"not a database" * 1000)
    heir = heir_of(outbox)
    heir.log(OTHER, METRIC, Metric("m", 0.5, 1, 1))
    heir.run(clock)
    assert service.steps(OTHER) == [1]
    [message] = errors(caplog)
    assert str(left) in message
    assert "not a database" in message
    assert "outbox export" in message
    assert len(list(left.glob("*.journal"))) == 2


def test_a_ledger_of_a_later_release_is_left_alone(
    outbox: SteppedOutbox, left: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connection = sqlite3.connect(left / LEDGER_FILE)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert not heir_of(outbox).is_busy()
    [message] = errors(caplog)
    assert "layout 2; this release of mlflow-oci-store reads layout 1" in message


def test_a_file_that_died_before_it_was_begun_is_no_loss(
    outbox: SteppedOutbox, service: TokenService, clock: Clock, left: Path
) -> None:
    (left / "0000000000000000-0000000000000000.journal").write_bytes(b"mlflow-oci-")
    heir_of(outbox).run(clock)
    assert service.steps(RUN) == list(range(5))
    assert not left.exists()


def test_a_damaged_line_among_params_is_shown_as_it_is(
    outbox: SteppedOutbox, clock: Clock, service: TokenService
) -> None:
    outbox.log(RUN, PARAM, Param("p", "v"))
    outbox.die()
    [path] = Path(outbox._settings.outbox_dir).glob("*/*/*.journal")
    path.write_bytes(path.read_bytes().replace(b'"v"', b"\xff\x00\xff"))
    heir_of(outbox).run(clock)
    assert service.applied == []
    [box] = boxes_in(Path(outbox._settings.outbox_dir))
    assert (box.refused, box.waiting) == (1, {})


def test_a_damaged_line_raises_where_somebody_waits_for_it(
    outbox: SteppedOutbox, service: TokenService, clock: Clock
) -> None:
    tickets = [outbox.log(RUN, METRIC, Metric("m", 0.5, 1, step)) for step in range(3)]
    [path] = Path(outbox._settings.outbox_dir).glob("*/*/*.journal")
    path.write_bytes(path.read_bytes().replace(b'"step":1', b'"step":7'))
    outbox.run(clock)
    tickets[0].result()
    with pytest.raises(MlflowException, match="is damaged"):
        tickets[1].result()
    tickets[2].result()
    assert service.steps(RUN) == [0, 2]
