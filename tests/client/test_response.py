"""Reading an answer: the same as ``http.client`` reads, and nothing that was cut off."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlflow_oci_store.client.response import Response, UnreadableResponse

_NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
_VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f\x85\xa0"),
    max_size=60,
)
_BLANKS = st.text(" \t", max_size=3)
_BEGINNING = b"HTTP/1.1 200 OK\r\n"
_FRAMING = {"content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection"}


def read(sent: bytes, method: str = "GET") -> Response:
    """Read an answer off a socket whose other end has sent it and hung up."""
    response = Response(_socket_with(sent), method)
    response.begin()
    return response


def _socket_with(sent: bytes) -> socket.socket:
    ours, theirs = socket.socketpair()
    with closing(theirs):
        theirs.sendall(sent)
    ours.settimeout(10)
    return ours


def _chunked(body: bytes, size: int) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(it), it) for it in chunks) + b"0\r\n\r\n"


@settings(deadline=None)
@given(
    status=st.integers(200, 599),
    headers=st.dictionaries(_NAMES, st.tuples(_BLANKS, _VALUES, _BLANKS), max_size=10),
    body=st.binary(max_size=200),
    framing=st.sampled_from(["length", "chunked", "close"]),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    ending=st.sampled_from(["", "Connection: close\r\n", "connection: keep-alive\r\n"]),
    interim=st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]),
)
def test_an_answer_is_what_http_client_takes_it_for(
    status: int,
    headers: dict[str, tuple[str, str, str]],
    body: bytes,
    framing: str,
    method: str,
    ending: str,
    interim: bytes,
) -> None:
    # Here http.client waits for chunks, which never come after these; see the next test.
    assume(framing != "chunked" or status not in (204, 304))
    fields = "".join(
        f"{name}:{before}{value}{after}\r\n"
        for name, (before, value, after) in headers.items()
        if name.lower() not in _FRAMING
    )
    if framing == "length":
        ending += f"Content-Length: {len(body)}\r\n"
    if framing == "chunked":
        ending += "Transfer-Encoding: chunked\r\n"
    head = f"HTTP/1.1 {status} Some reason\r\n{fields}{ending}\r\n".encode("latin-1")
    bodiless = method == "HEAD" or status in (204, 304)
    content = b"" if bodiless else _chunked(body, 7) if framing == "chunked" else body
    referee = http.client.HTTPResponse(_socket_with(interim + head + content), method=method)
    referee.begin()

    response = read(interim + head + content, method)

    assert response.status == referee.status
    assert response.data == referee.read()
    assert response.will_close == referee.will_close
    expected: dict[str, str] = {}
    for name, value in referee.headers.items():
        key, bare = name.lower(), value.strip(" \t")
        expected[key] = f"{expected[key]}, {bare}" if key in expected else bare
    assert response.headers == expected


@pytest.mark.parametrize("status", [204, 304])
def test_no_chunks_are_waited_for_where_there_is_no_body(status: int) -> None:
    response = read(f"HTTP/1.1 {status} None\r\ntransfer-encoding: chunked\r\n\r\n".encode())

    assert (response.data, response.will_close) == (b"", False)


def test_a_value_that_goes_on_in_the_next_lines_is_one() -> None:
    response = read(_BEGINNING + b"a: b\r\n \t c\r\n\td\r\na: e\r\ncontent-length: 0\r\n\r\n")

    assert response.headers == {"a": "b c d, e", "content-length": "0"}


def test_what_came_before_the_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

    response = read(early + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    assert (response.status, response.data, response.headers) == (
        200,
        b"{}",
        {"content-length": "2"},
    )


@pytest.mark.parametrize(
    ("version", "closes"), [("HTTP/1.0", True), ("HTTP/1.1", False), ("HTTP/1.2", False)]
)
def test_an_old_version_ends_its_connection(version: str, closes: bool) -> None:
    assert read(f"{version} 200\r\ncontent-length: 0\r\n\r\n".encode()).will_close is closes


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"\r\n\r\n", "does not begin as one of HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "does not begin as one of HTTP/1.1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "does not begin as one of HTTP/1.1"),
        (b"HTTP/1.1 200 O", "does not begin as one of HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not begin as one of HTTP/1.1: b'SSH-2.0-OpenSSH_9.2"),
        (_BEGINNING, "breaks off in its headers"),
        (_BEGINNING + b"opc-request-id: abc", "breaks off in its headers"),
        (_BEGINNING + b"opc-request-id: abc\r\n", "breaks off in its headers"),
        (_BEGINNING + b"a: " + b"b" * 70_000 + b"\r\n\r\n", "cannot be read for its headers"),
        (_BEGINNING + b"no header\r\n\r\n", "cannot be read for its headers"),
        (_BEGINNING + b": no name\r\n\r\n", "cannot be read for its headers"),
        (_BEGINNING + b"a : b\r\n\r\n", "cannot be read for its headers"),
        (_BEGINNING + b"a: b\rc: d\r\n\r\n", "cannot be read for its headers"),
        (_BEGINNING + b" folded\r\na: b\r\n\r\n", "cannot be read for its headers"),
        (_BEGINNING + b"a: b\r\n" * 101 + b"\r\n", "cannot be read for its headers"),
        (_BEGINNING + b"content-length: 2\r\nContent-Length: 3\r\n\r\n{}", "length that is none"),
        (_BEGINNING + b"content-length: -2\r\n\r\n{}", "length that is none: '-2'"),
        (_BEGINNING + b"content-length: \xb2\r\n\r\n{}", "length that is none"),
        (_BEGINNING + b"transfer-encoding: gzip, chunked\r\n\r\n", "unknown transfer encoding"),
    ],
)
def test_what_is_no_whole_answer_is_refused(sent: bytes, complaint: str) -> None:
    with pytest.raises(UnreadableResponse) as caught:
        read(sent)

    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "framed", [b"content-length: 3\r\n\r\n{}", b"transfer-encoding: chunked\r\n\r\n3\r\n{}"]
)
def test_a_body_that_breaks_off_is_refused(framed: bytes) -> None:
    with pytest.raises(http.client.IncompleteRead):
        read(_BEGINNING + framed)


def test_nothing_is_no_answer() -> None:
    with pytest.raises(http.client.RemoteDisconnected, match="closed without an answer"):
        read(b"")
