"""A history of calls, whatever it is, leaves the same in MLflow's SQL store and in ours.

The histories are generated, but the same ones every time: one that fails, shrunk, is kept in
test_regressions.py. Together they make a few thousand calls. To look for new ones, set
``derandomize=False`` here and ``max_examples`` higher.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .call import Call
from .conftest import NewPair
from .histories import (
    CLOSING,
    OPENING,
    experiment_calls,
    metric_calls,
    param_and_tag_calls,
    run_calls,
    search_calls,
)

generated = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=18,
    # A history takes as long as its calls, and all of them use the same emulator.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def histories(calls: st.SearchStrategy[Call]) -> st.SearchStrategy[list[Call]]:
    return st.lists(calls, min_size=20, max_size=30)


def check(new_pair: NewPair, history: list[Call]) -> None:
    with new_pair() as pair:
        for call in [*OPENING, *history, *CLOSING]:
            pair.check(call)


@generated
@given(history=histories(experiment_calls))
def test_experiments(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(st.one_of(run_calls, param_and_tag_calls)))
def test_runs_with_params_tags_and_inputs(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(metric_calls))
def test_metrics_and_their_histories(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(st.one_of(search_calls, run_calls, param_and_tag_calls, metric_calls)))
def test_searches_among_changing_runs(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)
