"""An answer of HTTP/1.1, read whole.

``http.client`` has Python's parser for e-mails read the headers, which takes longer than anything
else in reading an answer, and takes headers that were cut off for complete. So the lines up to the
body are read here, by RFC 9112, and the body by ``http.client``.
"""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import socket

    from urllib3.connection import HTTPConnection

# What http.client allows; an answer with more is none that a service gives.
_LINE_BYTES = 65_536
_HEADERS = 100

# RFC 9112, section 4. What an answer says in place of the reason is of no use.
_STATUS_LINE = re.compile(rb"HTTP/1\.(?P<minor>\d) (?P<status>\d{3})(?: [^\r\n]*)?\r?\n")
# Section 5: a name, a colon, and a value, which may have blanks around it and go on in a line that
# begins with one.
_HEADER = re.compile(rb"(?:([^\s:]+):|[ \t])([^\r\n]*)\r?\n")


class UnreadableResponse(ConnectionError):
    """What came is no whole answer of HTTP/1.1."""


class Response(http.client.HTTPResponse):
    """One answer, as urllib3's pool wants it; what is in it is known once ``begin`` has returned.

    Args:
        sock: What it comes from.
        method: What it answers; that to HEAD has no body, whatever it says.

    Attributes:
        status: The HTTP status.
        headers: By names in lower case; what came several times is joined by commas.
        data: The body.
        will_close: Whether the connection is of no use afterwards.
        connection: What the socket belongs to; whoever makes an answer may say it here.
    """

    # What urllib3's pool asks for or writes in its log, before anything is read.
    version_string = "HTTP/1.1"
    length_remaining = 0

    headers: dict[str, str]  # type: ignore[assignment] # read here, and nowhere else
    data: bytes
    connection: HTTPConnection

    def __init__(self, sock: socket.socket, method: str) -> None:
        super().__init__(sock, method=method)
        self.headers = {}
        self._is_of_head = method == "HEAD"

    def begin(self) -> None:
        """Read the answer to its end.

        Raises:
            UnreadableResponse: It breaks off in its headers, or breaks the rules.
            http.client.HTTPException: It breaks off in its body.
            OSError: The connection failed.
        """
        status = 100
        while status < 200:  # section 15.2 of RFC 9110: what comes first says nothing yet
            minor, status = self._status_line()
            self.headers = _headers(self.fp)
        self.status = status
        encoding = self.headers.get("transfer-encoding")
        if encoding is not None and encoding.lower() != "chunked":
            raise UnreadableResponse(f"the answer has an unknown transfer encoding: {encoding!r}")
        # RFC 9112, section 6.3, in its order.
        bodiless = status in (204, 304) or self._is_of_head
        self.chunked = encoding is not None and not bodiless
        self.chunk_left = None
        self.length = 0 if bodiless else None if self.chunked else _length(self.headers)
        self.will_close = (
            minor == b"0"
            or "close" in self.headers.get("connection", "").lower()
            or (self.length is None and not self.chunked)
        )
        self.data = self.read()

    def _status_line(self) -> tuple[bytes, int]:
        line = self.fp.readline(_LINE_BYTES)
        if not line:
            raise http.client.RemoteDisconnected("the connection was closed without an answer")
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise UnreadableResponse(f"the answer does not begin as one of HTTP/1.1: {line[:40]!r}")
        return found["minor"], int(found["status"])


def _headers(source: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    name, count = "", 0
    while (line := source.readline(_LINE_BYTES)) not in (b"\r\n", b"\n"):
        found = _HEADER.fullmatch(line)
        count += 1
        if found is None or count > _HEADERS or not (found[1] or name):
            is_cut = not line.endswith(b"\n") and len(line) < _LINE_BYTES
            what = "breaks off in" if is_cut else "cannot be read for"
            raise UnreadableResponse(f"the answer {what} its headers")
        separator = " "
        if found[1]:
            name, separator = found[1].decode("latin-1").lower(), ", "
        value = found[2].decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return headers


def _length(headers: dict[str, str]) -> int | None:
    length = headers.get("content-length")
    if length is None:
        return None
    if not length.isascii() or not length.isdecimal():
        raise UnreadableResponse(f"the answer has a length that is none: {length!r}")
    return int(length)
