"""A change of a run that is a request of its own, as a line of its journal."""

from __future__ import annotations

import json
from typing import NamedTuple

from mlflow_oci_store.tracking.outbox.moment import Moment


class Request(NamedTuple):
    """A change that is a request of its own.

    Attributes:
        operation: Name in the table of ``client/operations.py``.
        body: JSON.
        retry_token: The token with which it was sent already, or None.
        at: When that was, or None.
    """

    operation: str
    body: bytes
    retry_token: str | None = None
    at: Moment | None = None

    def line(self) -> bytes:
        """The content of its line in a journal."""
        return json.dumps(
            [self.operation, self.body.decode(), self.retry_token, self.at], ensure_ascii=False
        ).encode()

    @classmethod
    def of_line(cls, content: bytes) -> Request:
        """Read such a line."""
        operation, body, retry_token, at = json.loads(content)
        return cls(operation, body.encode(), retry_token, Moment(*at) if at else None)
