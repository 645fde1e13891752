"""Each step of what is decided about lines is taken wholly or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_oci_store.tracking.outbox.journal import METRIC
from mlflow_oci_store.tracking.outbox.ledger import Ledger, Refusal, Sealed
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.target import LEDGER_FILE

RUN = "0" * 32
REFUSAL = Refusal("Because.", "INVALID_PARAMETER_VALUE", 400, "InvalidParameter", "request")


def request(start: int, end: int, run_id: str = RUN) -> Sealed:
    return Sealed(run_id, start, end, "operation", f"token {start}", b"{}", Moment(1.0, 2.0))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


def test_a_request_is_sealed_until_it_is_acknowledged(ledger: Ledger) -> None:
    for one in (request(10, 20), request(0, 10), request(0, 5, "1" * 32)):
        ledger.seal(one)
    assert ledger.sealed() == [request(0, 10), request(10, 20), request(0, 5, "1" * 32)]
    assert ledger.position(RUN) == 0
    ledger.acknowledge(request(0, 10))
    assert ledger.sealed() == [request(10, 20), request(0, 5, "1" * 32)]
    assert ledger.positions() == {RUN: 10}
    ledger.forget(RUN)
    assert ledger.positions() == {}


def test_a_request_is_replaced_or_stays_as_it_was(ledger: Ledger) -> None:
    ledger.seal(request(0, 10))
    ledger.seal(request(10, 20))
    with pytest.raises(sqlite3.IntegrityError):
        ledger.replace(request(0, 10), [request(0, 5), request(10, 20)])
    assert ledger.sealed() == [request(0, 10), request(10, 20)]
    ledger.replace(request(0, 10), [request(0, 5), request(5, 10)])
    assert ledger.sealed() == [request(0, 5), request(5, 10), request(10, 20)]


def test_what_is_buried_is_dead_and_dealt_with_in_one_step(ledger: Ledger) -> None:
    ledger.seal(request(0, 10))
    with pytest.raises(sqlite3.IntegrityError):
        ledger.bury(request(0, 10), [(METRIC, b"{}"), (METRIC, None)], REFUSAL)  # type: ignore[list-item]
    assert (ledger.count_dead_letters(), ledger.position(RUN)) == (0, 0)
    ledger.bury(request(0, 10), [(METRIC, b"{}")], REFUSAL)
    [letter] = ledger.dead_letters()
    assert (letter.run_id, letter.kind, letter.content) == (RUN, METRIC, b"{}")
    assert letter.refusal == REFUSAL
    assert (ledger.sealed(), ledger.position(RUN)) == ([], 10)
    ledger.drop_dead_letters([letter.id])
    assert ledger.dead_letters() == []


def test_another_connection_sees_what_was_decided(ledger: Ledger, tmp_path: Path) -> None:
    ledger.describe(pid="7")
    ledger.seal(request(0, 10))
    onlooker = Ledger(tmp_path, read_only=True)
    assert onlooker.description() == {"pid": "7"}
    assert onlooker.sealed() == [request(0, 10)]
    with pytest.raises(sqlite3.OperationalError):
        onlooker.forget(RUN)
    onlooker.close()


def test_files_are_for_their_user_alone(ledger: Ledger, tmp_path: Path) -> None:
    ledger.seal(request(0, 10))
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert {it.stat().st_mode & 0o777 for it in files} == {0o600}


@pytest.mark.parametrize("version", [2, 99])
def test_another_layout_is_refused(tmp_path: Path, version: int) -> None:
    Ledger(tmp_path).close()
    connection = sqlite3.connect(tmp_path / LEDGER_FILE)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(sqlite3.NotSupportedError, match=f"has layout {version}"):
            Ledger(tmp_path, read_only=read_only)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_bytes(b"something else" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Ledger(tmp_path)


def test_a_ledger_that_was_never_filled_is_filled(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).touch()
    ledger = Ledger(tmp_path)
    assert ledger.sealed() == []
    ledger.close()


@pytest.mark.parametrize(("sync", "mode"), [(True, 2), (False, 1)])
def test_with_sync_a_transaction_waits_for_the_disk(tmp_path: Path, sync: bool, mode: int) -> None:
    ledger = Ledger(tmp_path, sync=sync)
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (mode,)
    assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ledger.close()
