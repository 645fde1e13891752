"""The documented differences are those there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reference.differences import Difference, Example, summary

from .conftest import NewPair
from .differences import DIFFERENCES, REPRESENTATION
from .histories import OPENING

DOCUMENT = Path(__file__).parents[2] / "docs" / "registry.md"
EXAMPLES = [
    pytest.param(difference, example, id=f"{difference.name} {number}")
    for difference in DIFFERENCES
    for number, example in enumerate(difference.examples)
]


@pytest.mark.parametrize(("difference", "example"), EXAMPLES)
def test_the_example_differs_as_listed(
    new_pair: NewPair, difference: Difference, example: Example
) -> None:
    with new_pair() as pair:
        for opening in OPENING:
            pair.check(opening)
        expected, actual = pair.ask(example.call)
    assert actual != expected
    assert (summary(expected), summary(actual)) == (example.reference, example.ours)


def test_the_document_lists_these_differences_and_no_others() -> None:
    _, _, section = DOCUMENT.read_text("utf-8").partition("\n## Differences")
    section, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| ([^|]+?) +\|", section, re.MULTILINE)
    listed = [row for row in rows if row != "Difference" and set(row) != {"-"}]
    assert listed == [*REPRESENTATION, *(difference.name for difference in DIFFERENCES)]
