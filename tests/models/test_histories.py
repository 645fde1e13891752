"""A history of calls about logged models leaves the same in MLflow's SQL store and in ours.

The histories are generated, but the same ones every time. To look for new ones, set
``derandomize=False`` here and ``max_examples`` higher.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.call import Call

from .conftest import NewPair
from .histories import CLOSING, OPENING, changes, links, reads, searches

generated = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=6,
    # A history takes as long as its calls, and all of them use the same emulator.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def histories(calls: st.SearchStrategy[Call]) -> st.SearchStrategy[list[Call]]:
    return st.lists(calls, min_size=15, max_size=20)


def check(new_pair: NewPair, history: list[Call]) -> None:
    with new_pair() as pair:
        for call in [*OPENING, *history, *CLOSING]:
            pair.check(call)


@generated
@given(history=histories(st.one_of(changes, changes, reads)))
def test_models_and_their_tags(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(st.one_of(links, links, reads)))
def test_runs_metrics_and_models(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(st.one_of(searches, searches, links, changes)))
def test_searches_among_changing_models(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)
