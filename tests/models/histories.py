"""Histories of calls about logged models, valid and invalid, as hypothesis generates them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from mlflow.entities import (
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
)
from reference.call import Call, Experiment, Run, call
from reference.histories import OPENING as RUNS

from .placeholder import Model

Calls = st.SearchStrategy[Call]


def _create(**changed: Any) -> Call:
    usual = {"experiment_id": Experiment(0), "name": "model", "source_run_id": Run(0)}
    return Call("create_logged_model", {**usual, **changed})


OPENING = [
    *RUNS,
    _create(),
    _create(source_run_id=None, params=[LoggedModelParameter("depth", "3")]),
    _create(name="other", tags=[LoggedModelTag("stage", "a")], model_type="agent"),
    call("log_outputs", run_id=Run(0), models=[LoggedModelOutput(Model(0), 0)]),
]
CLOSING = [
    *(call("get_logged_model", model_id=Model(number)) for number in range(5)),
    *(call("get_run", run_id=Run(number)) for number in range(3)),
    call("search_logged_models", experiment_ids=[Experiment(0), Experiment(1)], max_results=2),
]


def _mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> Any:
    return st.integers(1, 8).flatmap(lambda number: other if number == 8 else usual)


models = _mostly(st.integers(0, 4), st.just(9)).map(Model)
names = _mostly(
    st.sampled_from(["model", "other", "ünïcode 😀", "n" * 400, None]),
    st.sampled_from(["", "a/b", "a:b", "a.b"]),
)
keys = st.sampled_from(["a", "b", "mlflow.modelVersions", "k" * 255, "Ключ/😀//..", "x y"])
values = st.sampled_from(["", "1", "long " * 3000, 'Grüße 😀\n\t"\\\u2028', "~not a pointer"])
model_tags = st.lists(st.builds(LoggedModelTag, keys, values), max_size=3)
model_params = st.lists(
    st.builds(LoggedModelParameter, keys, values), max_size=3, unique_by=lambda it: it.key
)
runs = _mostly(st.integers(0, 2), st.just(9)).map(Run)
DATASETS = [(None, None), ("train", "1"), ("test", "2")]
# What has the same name, time, step, model and run is the same metric, as the database insists.
metrics = st.builds(
    lambda key, at, step, model: Metric(
        key, at / 4 - step, at, step, model, *DATASETS[(at + step) % 3]
    ),
    st.sampled_from(["acc", "val/loss"]),
    st.integers(1, 6),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(0, 2).map(Model)),
)

changes = st.one_of(
    st.builds(
        lambda **arguments: Call("create_logged_model", arguments),
        experiment_id=_mostly(st.integers(0, 1), st.just(9)).map(Experiment),
        name=names,
        source_run_id=st.one_of(st.none(), runs),
        tags=st.one_of(
            st.none(),
            st.lists(
                st.builds(LoggedModelTag, keys, values), max_size=3, unique_by=lambda it: it.key
            ),
        ),
        params=st.one_of(st.none(), model_params),
        model_type=st.sampled_from([None, "agent"]),
    ),
    st.builds(
        lambda **arguments: Call("finalize_logged_model", arguments),
        model_id=models,
        status=st.sampled_from([LoggedModelStatus.READY, LoggedModelStatus.FAILED]),
    ),
    st.builds(
        lambda **arguments: Call("set_logged_model_tags", arguments),
        model_id=models,
        tags=model_tags,
    ),
    st.builds(
        lambda **arguments: Call("delete_logged_model_tag", arguments), model_id=models, key=keys
    ),
    st.builds(lambda **arguments: Call("delete_logged_model", arguments), model_id=models),
    st.builds(
        lambda model, number, value: call(
            "log_logged_model_params",
            model_id=model,
            params=[LoggedModelParameter(f"extra {number}", value)],
        ),
        models,
        st.integers(0, 10**6),
        values,
    ),
)
reads = st.one_of(
    st.builds(
        lambda **arguments: Call("get_logged_model", arguments),
        model_id=models,
        allow_deleted=st.booleans(),
    ),
    st.builds(lambda **arguments: Call("get_run", arguments), run_id=runs),
)
links = st.one_of(
    st.builds(
        lambda run, model: call(
            "log_outputs", run_id=run, models=[LoggedModelOutput(Model(model), model)]
        ),
        runs,
        st.integers(0, 4),
    ),
    st.builds(
        lambda run, model: call("log_inputs", run_id=run, models=[LoggedModelInput(model)]),
        runs,
        st.integers(0, 4).map(Model),
    ),
    st.builds(lambda **arguments: Call("log_metric", arguments), run_id=runs, metric=metrics),
    st.builds(
        lambda run, batch: call("log_batch", run_id=run, metrics=batch, params=[], tags=[]),
        runs,
        st.lists(metrics, min_size=1, max_size=4),
    ),
)
filters = st.sampled_from(
    [
        None,
        "",
        "name = 'model'",
        "name != 'model'",
        "name LIKE 'o%'",
        "model_type = 'agent'",
        "source_run_id = '{run0}'",
        "model_id = '{model1}'",
        "metrics.acc > 0.1",
        "metrics.acc >= 0 AND metrics.`val/loss` < 1",
        "params.depth = '3'",
        "params.a != '1'",
        "tags.stage = 'a'",
        "tags.a = '1' AND name = 'model'",
        "creation_timestamp > 1700000000008",
        "status = 'READY'",
        "nonsense",
        "name > 'a'",
        "whatever.x = '1'",
    ]
)
orders = st.sampled_from(
    [
        None,
        [],
        [{"field_name": "creation_timestamp"}],
        [{"field_name": "creation_timestamp", "ascending": False}],
        [{"field_name": "name", "ascending": True}, {"field_name": "model_id"}],
        [{"field_name": "metrics.acc"}],
        [{"field_name": "metrics.acc", "ascending": False}],
        [{"field_name": "metrics.acc", "dataset_name": "train"}],
        [{"field_name": "metrics.acc", "dataset_name": "train", "dataset_digest": "1"}],
        [{"field_name": "params.depth"}],
        [{"field_name": "nonsense"}],
    ]
)
searches = st.builds(
    lambda **arguments: Call("search_logged_models", arguments),
    experiment_ids=st.sampled_from(
        [[Experiment(0)], [Experiment(0), Experiment(1)], [Experiment(9)], []]
    ),
    filter_string=filters,
    datasets=_mostly(
        st.none(),
        st.sampled_from(
            [[{"dataset_name": "train"}], [{"dataset_name": "test", "dataset_digest": "2"}], [{}]]
        ),
    ),
    max_results=st.sampled_from([None, 1, 2, 100]),
    order_by=orders,
)
