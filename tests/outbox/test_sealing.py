"""A request holds as many of a run's lines as the service takes at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_oci_store.tracking.outbox.journal import DAMAGED, METRIC, PARAM, REQUEST, TAG, Line
from mlflow_oci_store.tracking.outbox.moment import Moment
from mlflow_oci_store.tracking.outbox.request import Request
from mlflow_oci_store.tracking.outbox.sealing import seal

RUN = "0" * 32
LISTS = {METRIC: "metrics", PARAM: "params", TAG: "tags"}


def lines_of(items: Iterable[tuple[bytes, str, int]]) -> list[Line]:
    """Lines of a kind, with a key, of about a size; each takes one position."""
    found = []
    for at, (kind, key, size) in enumerate(items):
        content = {"key": key, "value": "v" * size if kind != METRIC else 0.5}
        found.append(Line(kind, json.dumps(content).encode(), at, at + 1))
    return found


def sealed_sizes(lines: list[Line]) -> list[int]:
    """How many lines each request takes, until all are sealed."""
    sizes = []
    while lines:
        made = seal(RUN, iter(lines))
        assert made.sealed.start == lines[0].start
        assert made.sealed.end == lines[made.lines - 1].end
        body = json.loads(made.sealed.body)
        sent = sorted(
            (json.dumps(it) for name in LISTS.values() for it in body.get(name, ())),
        )
        assert sent == sorted(it.content.decode() for it in lines[: made.lines])
        assert len(made.sealed.body) <= 1_000_000
        assert not made.may_be_sent
        sizes.append(made.lines)
        lines = lines[made.lines :]
    return sizes


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 5500])
def test_a_backlog_of_metrics_takes_as_few_requests_as_possible(count: int) -> None:
    lines = lines_of([(METRIC, "m", 0)] * count)
    assert len(sealed_sizes(lines)) == math.ceil(count / 1000)


@pytest.mark.parametrize("kind", [PARAM, TAG])
def test_a_request_holds_a_hundred_params_and_a_hundred_tags(kind: bytes) -> None:
    assert sealed_sizes(lines_of([(kind, f"k{n}", 1) for n in range(250)])) == [100, 100, 50]


def test_a_request_holds_a_thousand_items_of_all_kinds() -> None:
    items = [(PARAM, f"p{n}", 1) for n in range(100)] + [(TAG, f"t{n}", 1) for n in range(100)]
    assert sealed_sizes(lines_of([*items, *[(METRIC, "m", 0)] * 900])) == [1000, 100]


def test_a_request_holds_a_megabyte() -> None:
    sizes = sealed_sizes(lines_of([(PARAM, f"p{n}", 30_000) for n in range(70)]))
    assert sizes == [33, 33, 4]


@pytest.mark.parametrize("kind", [PARAM, TAG])
def test_a_key_that_comes_again_begins_another_request(kind: bytes) -> None:
    items = [(kind, "a", 1), (METRIC, "m", 0), (kind, "b", 1), (kind, "a", 2), (METRIC, "m", 0)]
    assert sealed_sizes(lines_of(items)) == [3, 2]


def test_a_param_and_a_tag_may_have_the_same_key() -> None:
    assert sealed_sizes(lines_of([(PARAM, "a", 1), (TAG, "a", 1), (METRIC, "a", 1)])) == [3]


@pytest.mark.parametrize("kind", [REQUEST, DAMAGED])
def test_what_is_no_item_ends_a_request(kind: bytes) -> None:
    lines = lines_of([(METRIC, "m", 0)] * 3)
    lines[2] = lines[2]._replace(kind=kind)
    assert seal(RUN, lines).lines == 2


@pytest.mark.parametrize(
    "request_",
    [
        Request("update_experiment_run", b'{"run_id":"\xc3\xa4"}'),
        Request("update_experiment_run", b"{}", "the token", Moment(1.0, 2.0)),
    ],
)
def test_a_change_of_its_own_is_sent_as_it_is(request_: Request) -> None:
    lines = [Line(REQUEST, request_.line(), 5, 9), *lines_of([(METRIC, "m", 0)])]
    made = seal(RUN, lines)
    assert (made.lines, made.sealed.start, made.sealed.end) == (1, 5, 9)
    assert (made.sealed.operation, made.sealed.body) == (request_.operation, request_.body)
    assert made.may_be_sent is (request_.retry_token is not None)
    if request_.retry_token:
        assert (made.sealed.retry_token, made.sealed.at) == (request_.retry_token, request_.at)


@given(
    st.lists(
        st.tuples(st.sampled_from((METRIC, PARAM, TAG)), st.sampled_from("abc"), st.integers(0, 9)),
        min_size=1,
        max_size=50,
    )
)
def test_all_lines_are_sealed_once_and_in_order(items: list[tuple[bytes, str, int]]) -> None:
    sealed_sizes(lines_of(items))
