"""Histories that once differed, or that chance would rarely find, kept as they are."""

from __future__ import annotations

import math

import pytest
from mlflow.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)

from .call import Call, Experiment, Run, call
from .histories import CLOSING, OPENING
from .pair import Pair

NAN, INFINITY = float("nan"), float("inf")
INT64 = range(-(2**63), 2**63)
RUN, EXPERIMENT = Run(0), Experiment(0)
UNICODE = 'Grüße, "試験" \\ 😀\u2028\n'


def metrics(*given: Metric) -> Call:
    return call("log_batch", run_id=RUN, metrics=list(given), params=[], tags=[])


def sample(most: int, *, first: int | None = None, last: int | None = None) -> Call:
    return call(
        "get_metric_history_bulk_interval",
        run_ids=[RUN, Run(1)],
        metric_key="a",
        max_results=most,
        start_step=first,
        end_step=last,
    )


def search(**changed: object) -> Call:
    usual = {
        "experiment_ids": [Experiment(0), Experiment(1)],
        "filter_string": None,
        "run_view_type": ViewType.ALL,
    }
    return Call("search_runs", {**usual, **changed})


HISTORIES = {
    "sampling keeps negative steps, and cuts many values of one step": [
        metrics(*(Metric("a", float(n), n, step) for n in range(9) for step in (-3, 0, 5))),
        *(sample(most) for most in (-1, 0, 1, 2, 5, 7, 26, 27, 28)),
        sample(3, first=-3, last=-3),
        sample(3, first=6, last=5),
        sample(3, first=0),
    ],
    "a NaN has its place in every order": [
        metrics(
            *(Metric("a", value, 1, 1) for value in (-1.0, NAN, 0.0, 1.0, INFINITY, -INFINITY))
        ),
        metrics(Metric("a", NAN, 2, 2)),
        metrics(Metric("a", 0.0, 2, 2)),
        sample(1),
        sample(4),
        sample(9, first=2, last=2),
        call("get_metric_history_bulk", run_ids=[RUN], metric_key="a", max_results=3),
        call(
            "get_metric_history_bulk_interval_from_steps",
            run_id=RUN,
            metric_key="a",
            steps=[1, 1, 2],
            max_results=4,
        ),
        search(order_by=["metrics.a"]),
        search(order_by=["metrics.a DESC"]),
    ],
    "the latest value is that of the highest step, time and value": [
        metrics(Metric("a", 1.0, 5, 1), Metric("a", 2.0, 1, 2), Metric("a", 3.0, 9, 1)),
        call("get_run", run_id=RUN),
        metrics(Metric("a", NAN, 1, 2)),
        call("get_run", run_id=RUN),
        metrics(Metric("a", -1.0, 2, 2)),
    ],
    "the same value twice is one value": [
        *[call("log_metric", run_id=RUN, metric=Metric("a", 1, 1, 1))] * 2,
        metrics(*[Metric("a", 1.0, 1, 1), Metric("a", NAN, 1, 1)] * 2),
        metrics(Metric("a", 0.0, 2, 2), Metric("a", -0.0, 2, 2)),
    ],
    "integers of 64 bits": [
        metrics(*(Metric("a", 1.0, 2**63 - 1, step) for step in (INT64[0], INT64[-1]))),
        call(
            "update_run_info",
            run_id=RUN,
            run_status=RunStatus.FAILED,
            end_time=2**63 - 1,
            run_name=None,
        ),
        search(filter_string="end_time > 9223372036854775806"),
        sample(9, first=INT64[0], last=INT64[-1]),
    ],
    "steps and times that are no integers": [
        call("log_metric", run_id=RUN, metric=Metric("a", 1.0, 2.0, 3.0)),
        call("log_metric", run_id=RUN, metric=Metric("b", math.pi, True, False)),
    ],
    "a param can be logged again, but not changed": [
        *(
            call("log_param", run_id=RUN, param=Param("p", value))
            for value in ("1", "1", "2", "", UNICODE)
        ),
        call(
            "log_batch",
            run_id=RUN,
            metrics=[Metric("a", 1.0, 1, 1)],
            params=[Param("p", "2"), Param("q", "1")],
            tags=[RunTag("t", "1")],
        ),
        call(
            "log_batch",
            run_id=RUN,
            metrics=[],
            params=[Param("q", "1"), Param("q", "1")],
            tags=[],
        ),
    ],
    "values that are too long are truncated": [
        call("log_param", run_id=RUN, param=Param("p", "é" * 6001)),
        call("log_param", run_id=RUN, param=Param("p", "é" * 6000)),
        call("set_tag", run_id=RUN, tag=RunTag("t", "é" * 8001)),
        call("set_experiment_tag", experiment_id=EXPERIMENT, tag=ExperimentTag("t", "é" * 20_001)),
        call("set_experiment_tag", experiment_id=EXPERIMENT, tag=ExperimentTag("t", "é" * 20_000)),
    ],
    "a run's name is also its tag": [
        call("set_tag", run_id=RUN, tag=RunTag("mlflow.runName", "by tag")),
        call("set_tag", run_id=RUN, tag=RunTag("mlflow.runName", "")),
        call("update_run_info", run_id=RUN, run_status=None, end_time=None, run_name="by info"),
        call("delete_tag", run_id=RUN, key="mlflow.runName"),
        call("update_run_info", run_id=RUN, run_status=None, end_time=None, run_name=UNICODE),
        call(
            "create_run",
            experiment_id=EXPERIMENT,
            user_id="ada",
            start_time=0,
            tags=[RunTag("mlflow.user", "ada"), RunTag("mlflow.runName", "one")],
            run_name="another",
        ),
    ],
    "a deleted run takes nothing": [
        call("delete_run", run_id=RUN),
        call("delete_run", run_id=RUN),
        call("log_metric", run_id=RUN, metric=Metric("a", 1.0, 1, 1)),
        call("log_param", run_id=RUN, param=Param("p", "1")),
        call("set_tag", run_id=RUN, tag=RunTag("t", "1")),
        call("delete_tag", run_id=RUN, key="mlflow.user"),
        metrics(Metric("a", 1.0, 1, 1)),
        call("log_inputs", run_id=RUN, datasets=[]),
        call("update_run_info", run_id=RUN, run_status=None, end_time=None, run_name="x"),
        search(run_view_type=ViewType.DELETED_ONLY),
        call("restore_run", run_id=RUN),
        call("log_param", run_id=RUN, param=Param("p", "1")),
    ],
    "a deleted experiment takes its runs along, and back": [
        call("delete_run", run_id=Run(2)),
        call("delete_experiment", experiment_id=EXPERIMENT),
        call("get_run", run_id=RUN),
        call("rename_experiment", experiment_id=EXPERIMENT, new_name="x"),
        call("set_experiment_tag", experiment_id=EXPERIMENT, tag=ExperimentTag("t", "1")),
        call("create_experiment", name="first"),
        call("get_experiment_by_name", experiment_name="first"),
        search(run_view_type=ViewType.ACTIVE_ONLY),
        call("restore_experiment", experiment_id=EXPERIMENT),
        call("restore_experiment", experiment_id=EXPERIMENT),
        search(run_view_type=ViewType.ACTIVE_ONLY),
    ],
    "pages end where they should": [
        *(
            call(
                "create_run",
                experiment_id=EXPERIMENT,
                user_id="ada",
                start_time=7,
                tags=[RunTag("mlflow.user", "ada")],
                run_name=f"run {n}",
            )
            for n in range(5)
        ),
        *(search(max_results=size) for size in (1, 2, 4, 7, 8, 9, None, 0, 50_001)),
        search(max_results=3, order_by=["run_name DESC", "start_time"]),
        *(call("search_experiments", max_results=size) for size in (1, 2, 3)),
        metrics(*(Metric("a", float(n), 1, 0) for n in range(6))),
        *(
            call("get_metric_history", run_id=RUN, metric_key="a", max_results=size)
            for size in (1, 3, 6, 7)
        ),
        search(page_token="garbage"),
    ],
    "a dataset is one dataset, however often it is logged": [
        *[
            call(
                "log_inputs",
                run_id=run,
                datasets=[
                    DatasetInput(
                        Dataset("d", "1", "local", "{}", schema, None), [InputTag("k", UNICODE)]
                    )
                    for schema in (None, "{}")
                ],
            )
            for run in (RUN, RUN, Run(2))
        ],
        call("log_inputs", run_id=RUN, datasets=None),
        search(filter_string="dataset.name = 'd' and dataset.digest = '1'"),
    ],
    "experiments are found by their ids": [
        call("search_experiments", filter_string=f"experiment_id {comparison}")
        for comparison in (
            "= '{experiment1}'",
            "!= '{experiment1}'",
            "IN ('{experiment0}', '{experiment1}')",
            "NOT IN ('{experiment0}')",
        )
    ],
    "names that a URL could mangle": [
        step
        for number, name in enumerate(["a&b=c+d %2F?", " ", "%00", "é/../ü", UNICODE, "+", "#"])
        for step in (
            call("create_experiment", name=name),
            call("get_experiment_by_name", experiment_name=name),
            call("get_metric_history", run_id=RUN, metric_key=name),
            call("rename_experiment", experiment_id=Experiment(2 + number), new_name=name + "'"),
        )
    ],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_the_history_reads_the_same_in_both_stores(pair: Pair, history: list[Call]) -> None:
    for step in [*OPENING, *history, *CLOSING]:
        pair.check(step)
