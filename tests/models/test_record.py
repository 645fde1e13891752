"""Records: JSON of any size in tags."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import RunTag
from mlflow.utils.validation import _validate_tag

from mlflow_oci_store.reserved_tags import PREFIX
from mlflow_oci_store.tracking.record import record_content, record_tags

KEY = f"{PREFIX}key"

contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def as_tags(tags: list[RunTag]) -> dict[str, str]:
    return {tag.key: tag.value for tag in tags}


@given(content=contents)
def test_what_is_written_is_read(content: Any) -> None:
    assert record_content(as_tags(record_tags(KEY, content)), KEY) == content


@pytest.mark.parametrize("text", ["x" * 100_000, "é😀" * 10_000, "~", "", "\ud800", "x" * 7998])
def test_every_tag_of_a_record_of_any_size_and_letters_is_one_that_mlflow_takes(text: str) -> None:
    tags = record_tags(KEY, text)

    for tag in tags:
        checked = _validate_tag(tag.key, tag.value)
        assert (checked.key, checked.value) == (tag.key, tag.value)
        assert tag.value.isascii()
    assert record_content(as_tags(tags), KEY) == text


def test_a_record_is_read_whole_however_many_tags_of_another_writer_arrived() -> None:
    first, second = record_tags(KEY, "a" * 50_000), record_tags(KEY, "b" * 20_000)
    tags = as_tags(first)
    for tag in second:
        assert record_content(tags, KEY) == "a" * 50_000
        tags[tag.key] = tag.value
    assert record_content(tags, KEY) == "b" * 20_000


def test_a_record_without_one_of_its_parts_is_not_read_as_another() -> None:
    tags = as_tags(record_tags(KEY, "a" * 20_000)[1:])

    with pytest.raises(KeyError):
        record_content(tags, KEY)
