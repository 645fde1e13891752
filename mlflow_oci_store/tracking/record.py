"""Records: JSON of any size in the tags of a run or an experiment.

A record is one reserved tag, as long as its text fits into a tag's value. A longer text is cut into
part tags that are named after the text's hash, and the record's tag says which. The parts are
written first, so whoever reads a record reads it whole: the old one or the new one, never a mixture
of two writers. Two records with the same long text share their parts.

Text is kept in ASCII, so that a limit means the same whether it counts characters or bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlflow.entities import RunTag

from mlflow_oci_store.reserved_tags import PREFIX

# A tag of a run takes 8000 characters and one of an experiment 20000, but MLflow once had 5000 for
# both, and a service may have it still.
MAX_VALUE_LENGTH = 5000

_PART = f"{PREFIX}part."
# JSON never begins with it.
_IN_PARTS = "~"


def digest(content: Any) -> str:
    """Name JSON content, for keys: the same content has the same name, on every machine."""
    return hashlib.sha256(_text(content).encode("ascii")).hexdigest()[:32]


def record_tags(key: str, content: Any) -> list[RunTag]:
    """Write a record as tags.

    Args:
        key: The record's key; it begins with the reserved prefix.
        content: What JSON can hold.

    Returns:
        Tags to be set in this order; the last one is the record's own.
    """
    text = _text(content)
    if len(text) <= MAX_VALUE_LENGTH:
        return [RunTag(key, text)]
    name = digest(content)
    parts = [text[at : at + MAX_VALUE_LENGTH] for at in range(0, len(text), MAX_VALUE_LENGTH)]
    tags = [RunTag(f"{_PART}{name}.{number}", part) for number, part in enumerate(parts)]
    return [*tags, RunTag(key, f"{_IN_PARTS}{name}.{len(parts)}")]


def record_content(tags: Mapping[str, str], key: str) -> Any:
    """Read a record.

    Args:
        tags: All tags of the run or experiment.
        key: The record's key.

    Raises:
        KeyError: The record is not there, or somebody removed a part of it.
        ValueError: It is no record.
    """
    text = tags[key]
    if text.startswith(_IN_PARTS):
        name, count = text.removeprefix(_IN_PARTS).split(".")
        text = "".join(tags[f"{_PART}{name}.{number}"] for number in range(int(count)))
    return json.loads(text)


def _text(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), sort_keys=True)
