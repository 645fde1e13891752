"""A history of calls, whatever it is, leaves the same in MLflow's SQL registry and in ours.

The histories are generated, but the same ones every time. To look for new ones, set
``derandomize=False`` here and ``max_examples`` higher.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.call import Call

from .conftest import NewPair
from .histories import (
    CLOSING,
    OPENING,
    alias_calls,
    model_calls,
    prompt_calls,
    search_calls,
    version_calls,
)

generated = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=12,
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
@given(history=histories(model_calls))
def test_registered_models(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(version_calls))
def test_versions(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(alias_calls))
def test_aliases(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(st.one_of(search_calls, search_calls, model_calls, version_calls)))
def test_searches_among_changing_models(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)


@generated
@given(history=histories(prompt_calls))
def test_prompts(new_pair: NewPair, history: list[Call]) -> None:
    check(new_pair, history)
