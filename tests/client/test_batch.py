"""Batches, cut into requests that the service takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_oci_store.tracking.batch import log_batch_bodies

RUN_ID = "a" * 32
LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
MEGABYTE = 1_000_000


def of(bodies: list[bytes], kind: str) -> list[dict[str, Any]]:
    """All items of one kind, in the order in which they are sent."""
    return [item for body in bodies for item in json.loads(body).get(kind, [])]


def assert_within_limits(bodies: list[bytes]) -> None:
    for body in bodies:
        assert len(body) <= MEGABYTE
        content = json.loads(body)
        assert content.pop("run_id") == RUN_ID
        assert content.keys() <= LIMITS.keys()
        assert all(0 < len(items) <= LIMITS[kind] for kind, items in content.items())
        assert 0 < sum(map(len, content.values())) <= 1000


@given(
    counts=st.tuples(st.integers(0, 2500), st.integers(0, 350), st.integers(0, 350)),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=6000),
)
def test_a_batch_is_cut_within_all_limits_and_nothing_is_lost_or_moved(
    counts: tuple[int, int, int], value: str
) -> None:
    number_of_metrics, number_of_params, number_of_tags = counts
    metrics = [Metric(f"m{i}", i / 7, i, -i) for i in range(number_of_metrics)]
    params = [Param(f"p{i}", value) for i in range(number_of_params)]
    tags = [RunTag(f"t{i}", value) for i in range(number_of_tags)]

    bodies = log_batch_bodies(RUN_ID, metrics, params, tags)

    assert_within_limits(bodies)
    assert of(bodies, "metrics") == [
        {"key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step} for m in metrics
    ]
    assert of(bodies, "params") == [{"key": p.key, "value": value} for p in params]
    assert of(bodies, "tags") == [{"key": t.key, "value": value} for t in tags]


@pytest.mark.parametrize(("spare", "requests"), [(-1, 2), (0, 2), (20, 1), (21, 1)])
def test_a_request_is_filled_up_to_its_last_bytes(spare: int, requests: int) -> None:
    params = [Param(f"p{i:02}", "x" * 6000) for i in range(100)]
    tags = [RunTag(f"t{i:02}", "x" * 8000) for i in range(49)]
    (almost,) = log_batch_bodies(RUN_ID, [], params, tags)
    missing = MEGABYTE - len(almost) - len(',{"key":"t49","value":""}')
    tags.append(RunTag("t49", "x" * (missing - spare)))

    bodies = log_batch_bodies(RUN_ID, [], params, tags)

    assert_within_limits(bodies)
    assert len(bodies) == requests


def test_letters_count_as_the_bytes_that_they_are_sent_as() -> None:
    params = [Param(f"p{i}", "\U0001f600" * 6000) for i in range(100)]
    tags = [RunTag(f"t{i}", "\x00" * 8000) for i in range(100)]

    bodies = log_batch_bodies(RUN_ID, [], params, tags)

    assert_within_limits(bodies)
    assert len(bodies) >= (100 * 24_000 + 100 * 48_000) // MEGABYTE


def test_params_go_first_so_that_a_refused_one_leaves_nothing_behind() -> None:
    bodies = log_batch_bodies(
        RUN_ID, [Metric("m", 1.0, 0, 0)], [Param("p", "v")], [RunTag("t", "v")]
    )

    assert bodies == [
        b'{"run_id":"%s","params":[{"key":"p","value":"v"}],'
        b'"metrics":[{"key":"m","value":1.0,"timestamp":0,"step":0}],'
        b'"tags":[{"key":"t","value":"v"}]}' % RUN_ID.encode()
    ]


def test_an_empty_batch_needs_no_request() -> None:
    assert log_batch_bodies(RUN_ID, [], [], []) == []


@pytest.mark.parametrize(
    ("kind", "items", "place"),
    [
        ("metrics", [Metric("m", 1.0, 0, 0)] * 3 + [Metric("bad!", 1.0, 0, 0)], "metrics[3].name"),
        ("metrics", [Metric("m", 1.0, 0, 0), Metric("m", "1", 0, 0)], "metrics[1].value"),
        ("params", [Param("p", "v"), Param("bad!", "v")], "params[1].key"),
        ("params", [Param("p", "v"), Param("q", "\udc00")], "params[1].value"),
        ("tags", [RunTag("t", "v"), RunTag("bad!", "v")], "tags[1].key"),
    ],
)
def test_a_refused_item_is_named_by_its_place(kind: str, items: list[Any], place: str) -> None:
    batch: dict[str, list[Any]] = {"metrics": [], "params": [], "tags": [], kind: items}

    with pytest.raises(MlflowException) as caught:
        log_batch_bodies(RUN_ID, **batch)

    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert f"'{place}'" in caught.value.message
