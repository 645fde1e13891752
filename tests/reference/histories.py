"""Histories of store calls, valid and invalid, as hypothesis generates them.

Names and numbers come from small pools, so that calls meet: a tag is overwritten, a param
conflicts, a filter finds something. What a store must refuse is in the pools as well.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
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
from mlflow.models import Model

from .call import Call, Experiment, Run, call

Calls = st.SearchStrategy[Call]
Values = st.SearchStrategy[Any]

# Every history starts from here: two experiments, and three runs in them.
OPENING = [
    call("create_experiment", name="first"),
    call("create_experiment", name="second", tags=[ExperimentTag("team", "a")]),
    *(
        call(
            "create_run",
            experiment_id=Experiment(number % 2),
            user_id="ada",
            start_time=100 - number,
            tags=[RunTag("mlflow.user", "ada")],
            run_name=name,
        )
        for number, name in enumerate([None, "named", "named"])
    ),
]

# Every history ends here: whatever it did is looked at.
CLOSING = [
    call("search_experiments", view_type=ViewType.ALL, order_by=["experiment_id"]),
    call(
        "search_runs",
        experiment_ids=[Experiment(0), Experiment(1), Experiment(2)],
        filter_string=None,
        run_view_type=ViewType.ALL,
    ),
    call("get_run", run_id=Run(0)),
    call("get_run", run_id=Run(1)),
    *(call("get_metric_history", run_id=Run(0), metric_key=key) for key in ("a", "b")),
]


def _mostly(usual: Values, other: Values, one_in: int = 6) -> Values:
    """Draw ``other`` once in a while; ``st.one_of`` would weigh all alternatives in both alike."""
    return st.integers(1, one_in).flatmap(lambda number: other if number == one_in else usual)


def _calls(method: str, **arguments: Values) -> Calls:
    return st.builds(Call, st.just(method), st.fixed_dictionaries(arguments))


experiments = _mostly(st.integers(0, 2), st.just(9), 12).map(Experiment)
runs = _mostly(st.integers(0, 1), st.sampled_from([2, 3, 9])).map(Run)

names = st.sampled_from(["first", "second", "third", "ünïcödé/試験", "a 'quoted' name", "x" * 500])
bad_names = st.sampled_from(["", None, "x" * 501, 5])

keys = _mostly(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["loss", "val/loss", "ключ", "with space", "a:b", "a.b-c_d", "k" * 250]),
)
bad_keys = st.sampled_from(["", None, "k" * 251, "a//b", "../a", "/a", ".", "a=b", "😀", "a\tb"])
texts = st.sampled_from(["", "1", "2", "long " * 50, 'Grüße 😀\n\t"\\\u2028', "a'b", "NaN"])
long_texts = st.sampled_from(["p" * 6000, "p" * 6001, "t" * 8000, "t" * 8001, "é" * 7000])
any_keys = _mostly(keys, bad_keys, 12)
any_texts = _mostly(texts, long_texts, 12)

numbers = st.one_of(
    st.sampled_from([0, 1, -1, 0.5, -0.0, 1e308, 5e-324, 2**53]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.floats(),
)
times = st.sampled_from([0, 1, 1, 2, 1_700_000_000_000, 2**63 - 1])
steps = st.sampled_from([0, 0, 1, 1, 2, 3, -1, 2**63 - 1, -(2**63)])
metrics = st.builds(Metric, keys, numbers, times, steps)
bad_metrics = st.one_of(
    st.builds(Metric, bad_keys, numbers, times, steps),
    st.builds(Metric, keys, st.sampled_from([None, True, "1.5", "NaN"]), times, steps),
    st.builds(Metric, keys, numbers, st.sampled_from([-1, -(2**63), None, "1"]), steps),
    st.builds(Metric, keys, numbers, times, st.sampled_from([None, "1"])),
)
any_metrics = _mostly(metrics, bad_metrics, 12)

params = st.builds(Param, any_keys, any_texts)
run_names = st.builds(RunTag, st.just("mlflow.runName"), texts)
tags = _mostly(st.builds(RunTag, any_keys, any_texts), run_names)
good_tags = _mostly(st.builds(RunTag, keys, texts), run_names)
experiment_tags = st.builds(
    ExperimentTag, any_keys, _mostly(texts, st.sampled_from(["v" * 20_000, "v" * 20_001]))
)

datasets = st.builds(
    Dataset,
    name=st.sampled_from(["d", "e", "数据"]),
    digest=st.sampled_from(["1", "2", "x" * 36]),
    source_type=st.just("local"),
    source=st.sampled_from(["s", "{}"]),
    schema=st.sampled_from([None, "{}"]),
    profile=st.sampled_from([None, "p" * 1000]),
)
bad_datasets = st.builds(
    Dataset,
    name=st.sampled_from([None, "d", "n" * 501]),
    digest=st.sampled_from([None, "x" * 37]),
    source_type=st.sampled_from([None, "local"]),
    source=st.sampled_from([None, "s"]),
)
input_tags = st.lists(
    st.builds(InputTag, st.sampled_from(["mlflow.data.context", "k", ""]), texts),
    max_size=2,
    unique_by=lambda tag: tag.key,
)
dataset_inputs = st.builds(DatasetInput, _mostly(datasets, bad_datasets), input_tags)

view_types = st.sampled_from([ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL])
page_sizes = _mostly(st.sampled_from([1, 2, 1000]), st.sampled_from([0, -1, 10**6]), 20)
page_tokens = _mostly(st.none(), st.sampled_from(["garbage", ""]), 20)

run_filters = _mostly(
    st.sampled_from(
        [
            None,
            "",
            "metrics.a > 0.5",
            "metrics.a = 1 and metrics.b <= 0",
            "metrics.`val/loss` != 0",
            "params.a = '1'",
            "params.a LIKE '%1'",
            "params.b ILIKE 'LONG%'",
            "tags.a = '2'",
            "tags.mlflow.user = 'ada'",
            "tags.`mlflow.runName` LIKE 'name%'",
            "attributes.status = 'FINISHED'",
            "attributes.status != 'RUNNING' and tags.a != 'x'",
            "run_name = 'named'",
            "attributes.run_id IN ('{run0}', '{run2}')",
            "attributes.run_id = '{run1}'",
            "start_time > 98",
            "end_time <= 1700000000000",
            "user_id = 'ada'",
            "datasets.name = 'd' and dataset.digest = '1'",
            "dataset.context = '1'",
        ]
    ),
    st.sampled_from(
        [
            "metrics.a > 'x'",
            "metrics.a LIKE 'x'",
            "params.a = 1",
            "params.a > '1'",
            "nothing.a = '1'",
            "attributes.nothing = '1'",
            "tags.a = '1' or tags.a = '2'",
            "tags.a =",
            "🙂",
            "start_time > 'x'",
        ]
    ),
    20,
)
run_orders = _mostly(
    st.lists(
        st.sampled_from(
            [
                "metrics.b",
                "metrics.a DESC",
                "params.a",
                "tags.a ASC",
                "start_time",
                "attributes.end_time DESC",
                "run_name",
                "status DESC",
                "run_id",
                "dataset.name",
            ]
        ),
        max_size=2,
    ),
    st.sampled_from([None, ["nothing"], ["metrics.a UP"], ["a.b.c"], [""]]),
    20,
)
experiment_filters = _mostly(
    st.sampled_from(
        [
            None,
            "",
            "name = 'first'",
            "name LIKE '%i%'",
            "name ILIKE 'FIR%' and tags.team = 'a'",
            "tags.team = 'a'",
            "tags.a != '1'",
            "creation_time > 1700000000001",
            "last_update_time <= 1700000000005",
            "name = 'a ''quoted'' name'",
            "experiment_id = '{experiment0}'",
            "experiment_id IN ('{experiment0}', '{experiment2}')",
        ]
    ),
    st.sampled_from(
        [
            "name = 1",
            "name > 'a'",
            "metrics.a = 1",
            "nothing = 'a'",
            "name =",
            "creation_time = 'x'",
        ]
    ),
    20,
)
experiment_orders = _mostly(
    st.lists(
        st.sampled_from(
            ["name", "name DESC", "creation_time", "last_update_time DESC", "experiment_id"]
        ),
        max_size=2,
    ),
    st.sampled_from([None, ["nothing"], ["name UP"], ["tags.a"]]),
    20,
)


@st.composite
def _new_runs(draw: st.DrawFn) -> Call:
    """Runs whose tags name their user, as MLflow's client makes them."""
    user = draw(st.sampled_from(["ada", "bob"]))
    more = draw(st.lists(good_tags, max_size=2, unique_by=lambda tag: tag.key))
    return call(
        "create_run",
        experiment_id=draw(experiments),
        user_id=user,
        start_time=draw(st.sampled_from([0, 1, 99, 2**63 - 1])),
        tags=[RunTag("mlflow.user", user), *more],
        run_name=draw(st.sampled_from([None, "", "named", "ünï"])),
    )


@st.composite
def _models(draw: st.DrawFn) -> Model:
    return Model(
        artifact_path=draw(st.sampled_from(["m", "модель"])),
        run_id="r",
        utc_time_created="2024-01-01 00:00:00",
        model_uuid="0" * 32,
        flavors={"python_function": {"loader_module": "m"}},
    )


experiment_calls: Calls = st.one_of(
    _calls(
        "create_experiment",
        name=_mostly(names, bad_names),
        artifact_location=st.sampled_from([None, None, "", "s3://bucket/é", "runs:/a/b"]),
        tags=st.one_of(st.none(), st.lists(experiment_tags, max_size=2, unique_by=lambda t: t.key)),
    ),
    _calls("get_experiment", experiment_id=experiments),
    _calls("get_experiment_by_name", experiment_name=names),
    _calls("delete_experiment", experiment_id=experiments),
    _calls("restore_experiment", experiment_id=experiments),
    _calls("rename_experiment", experiment_id=experiments, new_name=_mostly(names, bad_names)),
    _calls("set_experiment_tag", experiment_id=experiments, tag=experiment_tags),
    _calls("delete_experiment_tag", experiment_id=experiments, key=keys),
    _calls(
        "search_experiments",
        view_type=view_types,
        max_results=page_sizes,
        filter_string=experiment_filters,
        order_by=experiment_orders,
        page_token=page_tokens,
    ),
)
run_calls: Calls = st.one_of(
    _new_runs(),
    _calls("get_run", run_id=runs),
    _calls(
        "update_run_info",
        run_id=runs,
        run_status=st.sampled_from([None, *RunStatus.all_status()]),
        end_time=st.sampled_from([None, 0, 5, 2**63 - 1]),
        run_name=st.sampled_from([None, "", "renamed", "n" * 300]),
    ),
    _calls("delete_run", run_id=runs),
    _calls("restore_run", run_id=runs),
    _calls("delete_experiment", experiment_id=experiments),
    _calls("restore_experiment", experiment_id=experiments),
)
param_and_tag_calls: Calls = st.one_of(
    _calls("log_param", run_id=runs, param=params),
    _calls("set_tag", run_id=runs, tag=tags),
    _calls("delete_tag", run_id=runs, key=keys),
    _calls(
        "log_batch",
        run_id=runs,
        metrics=st.lists(metrics, max_size=2),
        params=st.lists(params, max_size=2),
        tags=st.lists(tags, max_size=2),
    ),
    _calls("log_inputs", run_id=runs, datasets=st.lists(dataset_inputs, max_size=2)),
    _calls("record_logged_model", run_id=runs, mlflow_model=_models()),
)
metric_calls: Calls = st.one_of(
    _calls("log_metric", run_id=runs, metric=any_metrics),
    _calls(
        "log_batch",
        run_id=runs,
        metrics=st.lists(metrics, max_size=12),
        params=st.just([]),
        tags=st.just([]),
    ),
    _calls(
        "log_batch",
        run_id=runs,
        metrics=st.lists(any_metrics, max_size=4),
        params=st.just([]),
        tags=st.just([]),
    ),
    _calls(
        "get_metric_history",
        run_id=runs,
        metric_key=keys,
        max_results=st.sampled_from([None, 1, 2, 3, 1000]),
        page_token=page_tokens,
    ),
    _calls(
        "get_metric_history_bulk",
        run_ids=st.lists(runs, max_size=3),
        metric_key=keys,
        max_results=st.sampled_from([None, 1, 3, 1000]),
    ),
    _calls(
        "get_metric_history_bulk_interval",
        run_ids=st.lists(runs, max_size=2),
        metric_key=keys,
        max_results=st.sampled_from([-1, 0, 1, 2, 3, 4, 1000]),
        start_step=st.none(),
        end_step=st.none(),
    ),
    _calls(
        "get_metric_history_bulk_interval",
        run_ids=st.lists(runs, max_size=2),
        metric_key=keys,
        max_results=st.sampled_from([2, 1000]),
        start_step=st.sampled_from([None, 0, 0, 1, -5]),
        end_step=st.sampled_from([None, 1, 1, 2**63 - 1]),
    ),
    _calls(
        "get_metric_history_bulk_interval_from_steps",
        run_id=runs,
        metric_key=keys,
        steps=st.lists(steps, max_size=3),
        max_results=st.sampled_from([1, 2, 1000]),
    ),
    _calls("get_run", run_id=runs),
)
search_calls: Calls = _calls(
    "search_runs",
    experiment_ids=st.lists(experiments, max_size=3, unique_by=lambda it: it.number),
    filter_string=run_filters,
    run_view_type=view_types,
    max_results=page_sizes,
    order_by=run_orders,
    page_token=page_tokens,
)
