"""MLflow's entities through the service's JSON and back: nothing is lost, nothing is bent."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric

from mlflow_oci_store.client import wire

INT64 = st.integers(-(2**63), 2**63 - 1)
TIMESTAMPS = st.integers(0, 2**63 - 1)
KEYS = st.from_regex(r"[\w][\w\-. ]{0,40}[\w]", fullmatch=True).filter(
    lambda it: it.encode("utf-8", "ignore").decode() == it
)
# Any text that UTF-8 can hold, control characters, quotes and emoji included.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
LONE_SURROGATES = st.characters(categories=["Cs"])


def refused(call: Any, *arguments: Any) -> str:
    """The message with which something is refused as an invalid parameter."""
    with pytest.raises(MlflowException) as caught:
        call(*arguments)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    return str(caught.value)


def same(left: float, right: float) -> bool:
    """Equal as numbers are, and NaN equal to itself; the sign of zero counts."""
    return math.copysign(1, left) == math.copysign(1, right) and (
        left == right or (math.isnan(left) and math.isnan(right))
    )


# --- to the service and back ---------------------------------------------------------------------


@given(KEYS, st.floats(), TIMESTAMPS, INT64)
def test_a_metric_comes_back_as_it_went(key: str, value: float, timestamp: int, step: int) -> None:
    encoded = wire.metric_text(Metric(key, value, timestamp, step))

    content = json.loads(encoded, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = wire.metric(content)
    assert (back.key, back.timestamp, back.step) == (key, timestamp, step)
    assert back.value == value or (math.isnan(back.value) and math.isnan(value))
    assert set(content) == {"key", "value", "timestamp", "step"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.nan, '"NaN"'), (math.inf, '"Infinity"'), (-math.inf, '"-Infinity"'), (1e300, "1e+300")],
)
def test_special_numbers_travel_as_the_protobuf_mapping_writes_them(
    value: float, text: str
) -> None:
    assert f'"value":{text},' in wire.metric_text(Metric("m", value, 0, 0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16("inf"), math.inf),
        (np.int64(-3), -3.0),
        (2**53, 2.0**53),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
    ],
)
def test_any_number_can_be_a_metrics_value(value: Any, expected: float) -> None:
    back = wire.metric(json.loads(wire.metric_text(Metric("m", value, 0, 0))))

    assert same(back.value, expected)


@pytest.mark.parametrize("whole", [np.int64(7), np.int32(7), 7.0, np.float64(7)])
def test_whole_numbers_of_any_kind_can_be_timestamps_and_steps(whole: Any) -> None:
    content = json.loads(wire.metric_text(Metric("m", 1.0, whole, whole)))

    assert (content["timestamp"], content["step"]) == (7, 7)
    assert type(content["timestamp"]) is type(content["step"]) is int


@given(KEYS, TEXTS)
def test_a_param_and_a_tag_come_back_as_they_went(key: str, value: str) -> None:
    for encode, entity in ((wire.param_text, Param), (wire.tag_text, RunTag)):
        encoded = encode(entity(key, value))

        encoded.encode("utf-8")
        assert json.loads(encoded) == {"key": key, "value": value}


@given(st.text(), LONE_SURROGATES, st.text())
def test_half_a_character_is_refused_wherever_it_stands(left: str, half: str, right: str) -> None:
    value = f"{left[:20]}{half}{right[:20]}"

    for encode, entity in ((wire.param_text, Param), (wire.tag_text, RunTag)):
        message = refused(encode, entity("key", value), "things[3]")
        assert "'things[3].value'" in message
        assert message.isascii() or half not in message
    assert "surrogate" in refused(wire.text, value)


@given(TEXTS)
def test_text_is_json_and_utf_8(value: str) -> None:
    assert json.loads(wire.text(value).encode("utf-8")) == value


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "place"),
    [
        (Metric("bad\nkey", 1.0, 0, 0), "metrics[3].name"),
        (Metric("../up", 1.0, 0, 0), "metrics[3].name"),
        (Metric("", 1.0, 0, 0), "metrics[3].name"),
        (Metric(None, 1.0, 0, 0), "metrics[3].name"),
        (Metric("m", None, 0, 0), "metrics[3].value"),
        (Metric("m", "1.0", 0, 0), "metrics[3].value"),
        (Metric("m", True, 0, 0), "metrics[3].value"),
        (Metric("m", 10**400, 0, 0), "metrics[3].value"),
        (Metric("m", 1j, 0, 0), "metrics[3].value"),
        (Metric("m", 1.0, -1, 0), "metrics[3].timestamp"),
        (Metric("m", 1.0, "0", 0), "metrics[3].timestamp"),
        (Metric("m", 1.0, 2**63, 0), "metrics[3].timestamp"),
        (Metric("m", 1.0, 1.5, 0), "metrics[3].timestamp"),
        (Metric("m", 1.0, math.nan, 0), "metrics[3].timestamp"),
        (Metric("m", 1.0, math.inf, 0), "metrics[3].timestamp"),
        (Metric("m", 1.0, 0, "0"), "metrics[3].step"),
        (Metric("m", 1.0, 0, 2**63), "metrics[3].step"),
        (Metric("m", 1.0, 0, -(2**63) - 1), "metrics[3].step"),
        (Metric("m", 1.0, 0, 0.5), "metrics[3].step"),
        (Metric("m", 1.0, 0, -math.inf), "metrics[3].step"),
    ],
)
def test_a_metric_is_refused_with_its_place_in_the_batch(metric: Metric, place: str) -> None:
    assert f"'{place}'" in refused(wire.metric_text, metric, "metrics[3]")
    # Alone it has no place, and the field is named all the same.
    assert f"'{place.rpartition('.')[2]}'" in refused(wire.metric_text, metric)


def test_a_metrics_name_is_refused_as_often_as_it_is_tried() -> None:
    messages = {refused(wire.metric_text, Metric("bad!", 1.0, 0, 0), f"metrics[{i}]") for i in "ab"}

    assert len(messages) == 2


@given(st.text(alphabet='aZ0_-. /:é\n"', max_size=12) | st.sampled_from(["a" * 250, "a" * 251]))
def test_mlflows_rules_say_which_names_a_metric_may_have(name: str) -> None:
    def refusal(check: Any, *arguments: Any) -> str | None:
        try:
            check(*arguments)
        except MlflowException as error:
            return str(error)
        return None

    metric = Metric(name, 0.5, 1, 0)

    assert refusal(wire.metric_text, metric) == refusal(_validate_metric, name, 0.5, 1, 0)
    if refusal(wire.metric_text, metric) is None:
        assert json.loads(wire.metric_text(metric))["key"] == name


def test_names_and_values_longer_than_mlflow_allows_are_refused_or_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "250" in refused(wire.metric_text, Metric("m" * 251, 1.0, 0, 0))
    assert "250" in refused(wire.param_text, Param("p" * 251, "v"))
    assert "250" in refused(wire.tag_text, RunTag("t" * 251, "v"))
    assert len(json.loads(wire.param_text(Param("p", "v" * 6001)))["value"]) == 6000
    assert len(json.loads(wire.tag_text(RunTag("t", "v" * 8001)))["value"]) == 8000

    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    assert "6000" in refused(wire.param_text, Param("p", "v" * 6001))
    assert "8000" in refused(wire.tag_text, RunTag("t", "v" * 8001))


@pytest.mark.parametrize("kind", [wire.param_text, wire.tag_text])
def test_a_params_or_tags_key_is_refused_with_its_place(kind: Any) -> None:
    assert "'things[7].key'" in refused(kind, Param("bad!", "v"), "things[7]")


@pytest.mark.parametrize(
    ("view_type", "text"),
    [
        (ViewType.ACTIVE_ONLY, "ACTIVE_ONLY"),
        (ViewType.DELETED_ONLY, "DELETED_ONLY"),
        (ViewType.ALL, "ALL"),
    ],
)
def test_view_types_have_names(view_type: int, text: str) -> None:
    assert wire.view_type_json(view_type) == text


@pytest.mark.parametrize("view_type", [0, 4, None, "ALL", []])
def test_a_view_type_that_is_none_is_refused(view_type: Any) -> None:
    assert "ViewType" in refused(wire.view_type_json, view_type)


# --- from the service ----------------------------------------------------------------------------

TAGS = st.lists(st.fixed_dictionaries({"key": TEXTS, "value": TEXTS}), max_size=3)
# Protobuf's JSON mapping writes 64-bit integers as strings; servers do either.
WIRE_INT64 = TIMESTAMPS | TIMESTAMPS.map(str)
STAGES = st.sampled_from(["active", "deleted"])
EXPERIMENTS = st.fixed_dictionaries(
    {"experiment_id": TEXTS, "name": TEXTS},
    optional={
        "artifact_location": TEXTS,
        "lifecycle_stage": STAGES,
        "creation_time": WIRE_INT64,
        "last_update_time": WIRE_INT64,
        "tags": TAGS,
    },
)


@given(EXPERIMENTS)
def test_an_experiment_is_read_field_by_field(content: dict[str, Any]) -> None:
    read = wire.experiment(content)

    assert isinstance(read, Experiment)
    for name in ("experiment_id", "name", "artifact_location", "lifecycle_stage"):
        assert getattr(read, name) == content.get(name)
    for name in ("creation_time", "last_update_time"):
        assert getattr(read, name) == (int(content[name]) if name in content else None)
    assert read.tags == {tag["key"]: tag["value"] for tag in content.get("tags", [])}


METRICS = st.fixed_dictionaries(
    {
        "key": TEXTS,
        "value": st.floats(allow_nan=False) | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
        "timestamp": WIRE_INT64,
    },
    optional={"step": INT64 | INT64.map(str)},
)
DATASETS = st.fixed_dictionaries(
    {
        "dataset": st.fixed_dictionaries(
            dict.fromkeys(["name", "digest", "source_type", "source"], TEXTS),
            optional={"schema": TEXTS, "profile": TEXTS},
        )
    },
    optional={"tags": TAGS},
)
RUNS = st.fixed_dictionaries(
    {
        "info": st.fixed_dictionaries(
            {
                "run_id": TEXTS.filter(bool),
                "experiment_id": TEXTS,
                "status": st.sampled_from(["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]),
            },
            optional={
                "start_time": WIRE_INT64,
                "end_time": WIRE_INT64,
                "lifecycle_stage": STAGES,
                "artifact_uri": TEXTS,
                "run_name": TEXTS,
                "user_id": TEXTS,
            },
        )
    },
    optional={
        "data": st.fixed_dictionaries(
            {}, optional={"metrics": st.lists(METRICS, max_size=3), "params": TAGS, "tags": TAGS}
        ),
        "inputs": st.fixed_dictionaries(
            {}, optional={"dataset_inputs": st.lists(DATASETS, max_size=2)}
        ),
    },
)


@given(RUNS)
def test_a_run_is_read_field_by_field(content: dict[str, Any]) -> None:
    read = wire.run(content)

    assert isinstance(read, Run)
    info, data = content["info"], content.get("data", {})
    for name in ("run_id", "experiment_id", "status", "lifecycle_stage", "artifact_uri"):
        assert getattr(read.info, name) == info.get(name)
    assert read.info.run_name == info.get("run_name")
    assert read.info.start_time == int(info.get("start_time", 0))
    assert read.info.end_time == (int(info["end_time"]) if "end_time" in info else None)
    latest = {it["key"]: float(it["value"]) for it in data.get("metrics", [])}
    assert read.data.metrics.keys() == latest.keys()
    assert all(same(read.data.metrics[key], latest[key]) for key in latest)
    assert read.data.params == {it["key"]: it["value"] for it in data.get("params", [])}
    assert read.data.tags == {it["key"]: it["value"] for it in data.get("tags", [])}
    sent = content.get("inputs", {}).get("dataset_inputs", [])
    assert [
        {name: value for name, value in dict(it.dataset).items() if value is not None}
        for it in read.inputs.dataset_inputs
    ] == [it["dataset"] for it in sent]


def test_a_run_that_a_model_went_in_and_out_of_is_read() -> None:
    info = {"run_uuid": "r", "experiment_id": "e", "status": "FINISHED"}
    read = wire.run(
        {
            "info": info,
            "inputs": {"model_inputs": [{"model_id": "in"}]},
            "outputs": {"model_outputs": [{"model_id": "out", "step": "3"}, {"model_id": "last"}]},
        }
    )

    assert read.info.run_id == "r"
    assert [it.model_id for it in read.inputs.model_inputs] == ["in"]
    assert [(it.model_id, it.step) for it in read.outputs.model_outputs] == [
        ("out", 3),
        ("last", 0),
    ]


@given(
    st.builds(
        DatasetInput,
        st.builds(Dataset, TEXTS, TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS),
        st.lists(st.builds(InputTag, TEXTS, TEXTS), max_size=3),
    )
)
def test_a_dataset_comes_back_as_it_went(dataset_input: DatasetInput) -> None:
    content = json.loads(json.dumps(wire.dataset_input_json(dataset_input)))
    info = {"run_id": "r", "experiment_id": "e", "status": "RUNNING"}

    (back,) = wire.run(
        {"info": info, "inputs": {"dataset_inputs": [content]}}
    ).inputs.dataset_inputs

    assert dict(back.dataset) == dict(dataset_input.dataset)
    assert [dict(tag) for tag in back.tags] == [dict(tag) for tag in dataset_input.tags]


def test_tags_that_are_none_are_left_out() -> None:
    assert wire.tags_json(None) is None
    assert wire.tags_json([]) is None
    assert wire.tags_json([ExperimentTag("k", "v")]) == [{"key": "k", "value": "v"}]


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (wire.experiment, {"name": "n"}),
        (wire.run, {}),
        (wire.run_info, {"run_id": "r"}),
        (wire.metric, {"key": "m", "timestamp": 1}),
        (wire.metric, {"key": "m", "value": "many", "timestamp": 1}),
        (wire.metric, {"key": "m", "value": None, "timestamp": 1}),
    ],
)
def test_what_is_missing_or_of_another_type_is_an_error(read: Any, content: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError), match=re.compile(".")):
        read(content)
