"""What a request has before its body, read by RFC 9112.

``http.server`` has Python's parser for e-mails read the headers. It takes a quarter of the time of
a small request, and believes that the body begins at the first line that is no header. Clients that
write their headers themselves, as ours does, are to be told of such a line.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

_LINE_BYTES = 65_536
_HEADERS = 100

# Sections 2.3, 3 and 5 of RFC 9112; the characters of a token are in RFC 9110, section 5.6.2.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%s) ([!-~]+) HTTP/1\.([01])\r?\n" % _TOKEN)
_HEADER = re.compile(rb"(%s):([^\r\n\0]*)\r?\n" % _TOKEN)


class Lines(Protocol):
    """Where the lines of a request come from."""

    def readline(self, size: int, /) -> bytes:
        """Give the next line, or as much of it as ``size`` says."""


class RequestLine(NamedTuple):
    """The first line of a request."""

    method: str
    target: str
    is_persistent: bool  # HTTP/1.1, unless a header says otherwise


def request_line(line: bytes) -> RequestLine:
    """Read the first line.

    Raises:
        ValueError: It is none of HTTP/1.1 or 1.0.
    """
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"This is not the first line of a request of HTTP/1.1: {line[:100]!r}")
    method, target, minor = found.groups()
    return RequestLine(method.decode(), target.decode(), minor == b"1")


def read_headers(source: Lines) -> dict[str, str]:
    """Read the lines after the first one, with the empty one that ends them.

    Args:
        source: Where they come from.

    Returns:
        Values by names in lower case; what came several times is joined by commas.

    Raises:
        ValueError: A line is no header, there are too many, or they break off.
    """
    read: dict[str, str] = {}
    for _ in range(_HEADERS + 1):
        line = source.readline(_LINE_BYTES)
        if line in (b"\r\n", b"\n"):
            return read
        found = _HEADER.fullmatch(line)
        if found is None:
            raise ValueError(f"The headers have a line that is none: {line[:40]!r}")
        name, value = found[1].decode().lower(), found[2].strip(b" \t").decode("latin-1")
        read[name] = f"{read[name]}, {value}" if name in read else value
    raise ValueError(f"There are more than {_HEADERS} headers")
