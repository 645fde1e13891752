"""What goes in and out of the emulated service: a request, its answer, and a refusal.

These are plain values, so that everything behind the socket can be read and tested without one.
Error bodies have the shape all OCI services share, ``{"code": ..., "message": ...}``.
"""

from __future__ import annotations

import enum
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Delivery(enum.Enum):
    """How an answer reaches the client; anything but ``WHOLE`` is an injected fault."""

    WHOLE = enum.auto()
    TRUNCATED = enum.auto()
    CLOSED = enum.auto()
    RESET = enum.auto()


class Readable(Protocol):
    """What a body can be read from, so many bytes at a time."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    ``target`` is the request target exactly as sent, because that is what the client signed;
    header names are in lower case. What is put may be larger than memory: it is still on its way
    in ``upload``, and ``body`` is empty.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    upload: Readable = field(default_factory=io.BytesIO)


class Streamed(Protocol):
    """A body that may be larger than memory: its chunks, and the length of all."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, whose body is JSON unless its headers say otherwise."""

    status: int
    body: bytes | Streamed
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.WHOLE

    @property
    def is_cut(self) -> bool:
        """Whether the connection ends in its place."""
        return self.delivery in (Delivery.CLOSED, Delivery.RESET)


class ConnectionCut(Exception):
    """The connection ends here, without an answer."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery.name)
        self.delivery = delivery


class Refusal(Exception):
    """The service says no.

    Args:
        status: HTTP status.
        code: OCI error code, such as ``NotAuthorizedOrNotFound``.
        message: A sentence the caller can act on.
        headers: Further headers of the answer, such as ``retry-after``.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.answer = Answer(
            status, encode({"code": code, "message": message}), dict(headers or {})
        )


def not_found(message: str) -> Refusal:
    """The 404 of OCI, which never tells 'missing' from 'not allowed'."""
    return Refusal(404, "NotAuthorizedOrNotFound", f"Authorization failed or {message}")


def invalid(message: str) -> Refusal:
    """The 400 for a value that is not acceptable."""
    return Refusal(400, "InvalidParameter", message)


def not_authenticated(reason: str) -> Refusal:
    """The 401 of OCI; the emulator adds the reason, which the service keeps to itself."""
    return Refusal(401, "NotAuthenticated", f"The request is not authenticated: {reason}")


def encode(document: Any) -> bytes:
    """Strict JSON, in UTF-8, without spaces.

    Raises:
        ValueError: A NaN or an infinity is left in ``document``; those travel as strings.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
