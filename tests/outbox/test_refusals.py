"""What the service refuses: the offending item stands alone in the end, and all others arrive."""

from __future__ import annotations

import logging

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.tracking.outbox.journal import METRIC, PARAM
from mlflow_oci_store.tracking.outbox.ledger import DeadLetter
from mlflow_oci_store.tracking.store import OciDataPlatformStore

from .applied import Applied, refuse, steps, values
from .patience import eventually


def metric(step: int) -> Metric:
    return Metric("m", float(step), step, step)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno == logging.ERROR]


def dead_letters(store: OciDataPlatformStore) -> list[DeadLetter]:
    spool = store._client.outbox._spool
    assert spool is not None
    return spool.ledger.dead_letters()


def test_a_batch_is_divided_until_the_offending_item_stands_alone(
    store: OciDataPlatformStore,
    run_id: str,
    applied: list[Applied],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refuse(
        monkeypatch,
        400,
        "InvalidParameter",
        lambda body: any(it["step"] == 137 for it in body.get("metrics", ())),
    )
    operations = [store.log_metric_async(run_id, metric(step)) for step in range(500)]
    store.flush_async_logging()
    assert steps(applied, run_id) == [step for step in range(500) if step != 137]
    # Each division is two requests.
    assert len(applied) < 30
    [letter] = dead_letters(store)
    assert (letter.run_id, letter.kind) == (run_id, METRIC)
    assert b'"step":137' in letter.content
    assert (letter.refusal.status, letter.refusal.oci_code) == (400, "InvalidParameter")
    assert letter.refusal.request_id
    eventually(lambda: errors(caplog))
    [said] = errors(caplog)
    assert "This refusal was ordered" in said
    assert "`mlflow-oci-store outbox list`" in said
    for step, operation in enumerate(operations):
        if step == 137:
            with pytest.raises(MlflowException, match="This refusal was ordered"):
                operation.wait()
        else:
            operation.wait()


def test_a_param_that_is_there_with_another_value_is_refused_alone(
    store: OciDataPlatformStore, run_id: str, applied: list[Applied]
) -> None:
    first = store.log_param_async(run_id, Param("p", "1"))
    same = store.log_param_async(run_id, Param("p", "1"))
    other = store.log_param_async(run_id, Param("p", "2"))
    batch = store.log_batch_async(run_id, [metric(0)], [Param("q", "1")], [RunTag("t", "1")])
    for operation in (first, same, batch):
        operation.wait()
    with pytest.raises(MlflowException, match="'p'"):
        other.wait()
    run = store.get_run(run_id)
    assert run.data.params == {"p": "1", "q": "1"}
    assert steps(applied, run_id) == [0]
    assert run.data.tags["t"] == "1"
    [letter] = dead_letters(store)
    assert (letter.kind, letter.content) == (PARAM, b'{"key":"p","value":"2"}')


def test_a_tag_that_is_set_again_and_again_has_its_last_value(
    store: OciDataPlatformStore, run_id: str, applied: list[Applied]
) -> None:
    for number in range(20):
        store.set_tag_async(run_id, RunTag("t", str(number)))
        store.set_tag_async(run_id, RunTag(f"t{number}", "once"))
    store.flush_async_logging()
    set_ = [it for it in values(applied, run_id, "tags") if it[0] == "t"]
    assert set_ == [("t", str(number)) for number in range(20)]
    assert store.get_run(run_id).data.tags["t"] == "19"


@pytest.mark.parametrize("lost", ["deleted", "never there", "forbidden"])
def test_a_run_that_takes_nothing_costs_few_requests_and_holds_nobody_back(
    store: OciDataPlatformStore,
    run_id: str,
    experiment_id: str,
    applied: list[Applied],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tries: list[str],
    lost: str,
) -> None:
    other = store.create_run(experiment_id, "ada", 1, [], None).info.run_id
    if lost == "deleted":
        store.delete_run(run_id)
    elif lost == "forbidden":
        refuse(monkeypatch, 403, "NotAllowed", lambda body: body.get("run_id") == run_id)
    else:
        run_id = "f" * 32
    tries.clear()
    operations = [store.log_metric_async(run_id, metric(step)) for step in range(700)]
    store.log_metric_async(other, metric(0)).wait()
    store.flush_async_logging()
    assert steps(applied, run_id) == []
    assert steps(applied, other) == [0]
    assert len(dead_letters(store)) == 700
    assert len(tries) < 20
    for operation in (operations[0], operations[-1]):
        with pytest.raises(MlflowException):
            operation.wait()
    # It is told of by a thread that has nothing to wait for.
    eventually(lambda: errors(caplog))
    assert len(errors(caplog)) <= 2


def test_an_invalid_item_is_refused_before_it_is_accepted(
    store: OciDataPlatformStore, run_id: str, applied: list[Applied]
) -> None:
    for call in (
        lambda: store.log_metric_async(run_id, Metric("m", "no number", 0, 0)),
        lambda: store.log_param_async(run_id, Param("", "v")),
        lambda: store.set_tag_async(run_id, RunTag("k" * 1000, "v")),
        lambda: store.log_batch_async(run_id, [metric(0)], [Param("a", "1"), Param("a", "2")], []),
        lambda: store.log_metric_async("../run", metric(0)),
    ):
        with pytest.raises(MlflowException) as caught:
            call()
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    store.log_batch_async(run_id, [], [], []).wait()
    store.flush_async_logging()
    assert [it for it in applied if "run_id" in it.body and it.items("metrics")] == []
