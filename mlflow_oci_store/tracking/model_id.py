"""Ids of logged models that this package keeps: each says where the model's record is.

    m-r<run id>-<12 hex digits>           in the tags of a run
    m-e<experiment id>-<12 hex digits>    in the tags of an experiment

So whoever knows the id, on any machine, finds the record with one request. An id is part of
``models:/<model_id>`` URIs and of paths; characters that mean something there are escaped as in a
URI, with ``~`` for ``%``. MLflow's own ids, ``m-<32 hex digits>``, never look like one of these.
"""

from __future__ import annotations

import re
import uuid
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote, unquote

_FORM = re.compile(r"m-([re])(.+)-([0-9a-f]{12})", re.DOTALL)


class HomeKind(Enum):
    """What a home is; the value is its mark in an id."""

    RUN = "r"
    EXPERIMENT = "e"


class Home(NamedTuple):
    """The run or experiment whose tags hold a model's record."""

    kind: HomeKind
    id: str


class KeptModelId(NamedTuple):
    """A kept model's id in its parts; ``str()`` gives the id.

    Args:
        home: Where the record is.
        number: Twelve hex digits, which tell the home's models apart.
    """

    home: Home
    number: str

    @classmethod
    def new(cls, home: Home) -> KeptModelId:
        """Make an id that was never used."""
        return cls(home, uuid.uuid4().hex[:12])

    @classmethod
    def parse(cls, model_id: str) -> KeptModelId | None:
        """Read an id; None when it is not one of these."""
        match = _FORM.fullmatch(model_id)
        if match is None:
            return None
        kind, home, number = match.groups()
        return cls(Home(HomeKind(kind), unquote(home.replace("~", "%"))), number)

    def __str__(self) -> str:
        home = quote(self.home.id, safe="").replace("~", "%7E").replace("%", "~")
        return f"m-{self.home.kind.value}{home}-{self.number}"
