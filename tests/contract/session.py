"""One use of everything the store can do, so that all its requests can be looked at."""

from __future__ import annotations

import math

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
from mlflow.store.tracking.abstract_store import AbstractStore

UNICODE = 'Grüße, "試験" \\ 😀\n\u2028'


def use_everything(store: AbstractStore) -> None:
    """Call every method that leads to a request, with plain and with awkward values."""
    tag = ExperimentTag("team", UNICODE)
    experiment = store.create_experiment("first", "s3://bucket/é", [tag])
    store.create_experiment(UNICODE)
    store.get_experiment(experiment)
    store.get_experiment_by_name("first")
    store.get_experiment_by_name(UNICODE)
    store.get_experiment_by_name("a&b=c+d %2F?")
    store.rename_experiment(experiment, "renamed")
    store.set_experiment_tag(experiment, ExperimentTag("k", ""))
    store.delete_experiment_tag(experiment, "k")
    store.search_experiments()
    store.search_experiments(ViewType.ALL, 1, "name LIKE 're%'", ["name DESC"])
    store.delete_experiment(experiment)
    store.restore_experiment(experiment)

    run = store.create_run(experiment, "ada", 0, [RunTag("a/b", UNICODE)], UNICODE).info.run_id
    store.create_run(experiment, "unknown", 2**63 - 1, [], None)
    store.get_run(run)
    store.update_run_info(run, RunStatus.FINISHED, 2**63 - 1, UNICODE)
    store.update_run_info(run, None, None, None)
    store.delete_run(run)
    store.restore_run(run)

    for step, value in enumerate([0.1, -0.0, 1, 1e308, math.nan, math.inf, -math.inf]):
        store.log_metric(run, Metric("loss", value, 1_700_000_000_000 + step, step - 3))
    store.log_metric(run, Metric("ключ", 5e-324, 2**63 - 1, -(2**63)))
    store.log_param(run, Param("p", UNICODE))
    store.set_tag(run, RunTag("t", UNICODE))
    store.delete_tag(run, "t")
    store.log_batch(
        run,
        [Metric("batch", value, 0, 0) for value in (0.5, math.nan, -math.inf)],
        [Param("q", ""), Param("r", UNICODE)],
        [RunTag("u", ""), RunTag("v", UNICODE)],
    )
    data = Dataset("d", "1", "local", "{}", UNICODE, None)
    store.log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    model = Model(
        "m",
        run,
        "2024-01-01 00:00:00",
        flavors={"python_function": {"loader_module": "mlflow.sklearn"}},
    )
    store.record_logged_model(run, model)

    store.get_metric_history(run, "loss")
    first = store.get_metric_history(run, "loss", 2)
    store.get_metric_history(run, "loss", 2, first.token)
    store.search_runs([experiment], "params.p != 'x'", ViewType.ALL, 1, ["metrics.loss DESC"])
    page = store.search_runs([experiment], None, ViewType.ACTIVE_ONLY, 1)
    store.search_runs([experiment], "", ViewType.ACTIVE_ONLY, 1, None, page.token)
