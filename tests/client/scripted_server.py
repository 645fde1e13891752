"""An HTTP server on loopback that answers from a script and writes down what it was asked.

It stands where AI Data Platform would stand and does what a service or a network does on a bad
day: it closes early, cuts a body off, says nothing at all. Every answer is a ``Step``: the bytes
to write, and what becomes of the connection afterwards. Without a script it answers ``200 {}``.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPMessage, parse_headers
from typing import Any, NamedTuple

# Nothing in these tests takes so long; a fault shows as a failed test and not as a hanging one.
PATIENCE_SECONDS = 30.0


class Request(NamedTuple):
    """One request, as it came off the socket."""

    method: str
    target: str
    headers: HTTPMessage
    body: bytes
    connection: int  # the n-th that was accepted

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class After(Enum):
    """What becomes of a connection when a step's bytes are written."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


class Step(NamedTuple):
    """One answer, or what is sent in its place."""

    raw: bytes
    after: After = After.KEEP


def answer(
    status: int = 200, content: Any = None, after: After = After.KEEP, **headers: str
) -> Step:
    """A whole answer with a JSON body; ``retry_after="3"`` makes a header ``retry-after: 3``."""
    return raw_answer(
        status, json.dumps({} if content is None else content).encode(), after, **headers
    )


def raw_answer(
    status: int, body: bytes, after: After = After.KEEP, length: int | None = None, **headers: str
) -> Step:
    """An answer with any body, which may be announced as longer than it is."""
    fields = {"content-length": str(len(body) if length is None else length), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return Step(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode("latin-1") + body, after)


def oci_error(status: int, code: str, message: str = "Told by the script", **headers: str) -> Step:
    """An answer with OCI's error body."""
    return answer(status, {"code": code, "message": message}, **headers)


CLOSED = Step(b"", After.CLOSE)
RESET = Step(b"", After.RESET)
HANGING = Step(b"", After.HANG)


@dataclass
class ScriptedServer:
    """What a test sees of the server."""

    endpoint: str
    requests: list[Request]
    script: deque[Step]
    closed_connections: threading.Semaphore

    @property
    def request(self) -> Request:
        """The only request there was."""
        (only,) = self.requests
        return only

    def wait_for_close(self) -> None:
        """Return once the server has closed a connection; one call for each."""
        assert self.closed_connections.acquire(timeout=PATIENCE_SECONDS)


@contextmanager
def scripted_server(*script: Step, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve on a free port of loopback until the block is left.

    Args:
        script: The first answers, in this order over all connections.
        tls: The server's certificate, for https.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    scheme = "https" if tls else "http"
    server = ScriptedServer(
        endpoint=f"{scheme}://127.0.0.1:{listener.getsockname()[1]}",
        requests=[],
        script=deque(script),
        closed_connections=threading.Semaphore(0),
    )
    stopped = threading.Event()
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_SECONDS)
            accepted.append(connection)
            thread = threading.Thread(target=serve, args=(connection, len(accepted)), daemon=True)
            threads.append(thread)
            thread.start()

    def serve(connection: socket.socket, number: int) -> None:
        try:
            # The client may go away, or not trust the certificate.
            with suppress(OSError):
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                converse(server, connection, number, stopped)
        finally:
            connection.close()
            server.closed_connections.release()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(PATIENCE_SECONDS)
        for connection in accepted:
            with_no_peer(connection)
        for thread in threads:
            thread.join(PATIENCE_SECONDS)


def converse(
    server: ScriptedServer, connection: socket.socket, number: int, stopped: threading.Event
) -> None:
    """Read requests and write answers until one of the two sides has had enough."""
    stream = connection.makefile("rb")
    while (line := stream.readline()) and not stopped.is_set():
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = parse_headers(stream)
        body = stream.read(int(headers.get("content-length", 0)))
        server.requests.append(Request(method, target, headers, body, number))
        step = next_step(server.script)
        connection.sendall(step.raw)
        if step.after is After.HANG:
            stopped.wait(PATIENCE_SECONDS)
        if step.after is After.RESET:
            # Closed at once and with nothing sent: the peer sees "connection reset".
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if step.after is not After.KEEP:
            break
    stream.close()


def next_step(script: deque[Step]) -> Step:
    """The next step of the script, or ``200 {}`` when it is over."""
    try:
        return script.popleft()
    except IndexError:
        return answer()


def with_no_peer(connection: socket.socket) -> None:
    """Wake a thread that waits on a connection."""
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)
