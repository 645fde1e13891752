"""The socket: HTTP/1.1 with keep-alive, a thread for each connection, on loopback only.

Python's own ``http.server`` is enough for an emulator, and it leaves the connection in our hands,
which injected faults need: to cut it, to reset it, or to send half of an answer.
"""

from __future__ import annotations

import io
import ipaddress
import logging
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mlflow_oci_store import __version__
from mlflow_oci_store.emulator.answers import (
    Answer,
    ConnectionCut,
    Delivery,
    Refusal,
    Request,
)
from mlflow_oci_store.emulator.request_head import read_headers, request_line

# The most that is held in memory; what is put is not held.
MAX_BODY_BYTES = 64 * 1024 * 1024
GRACE_SECONDS = 30.0

_DRAINED_BYTES = 1024 * 1024

# A socket closed without lingering sends RST instead of FIN.
_NO_LINGER = struct.pack("ii", 1, 0)

_logger = logging.getLogger(__name__)


class Listener(ThreadingHTTPServer):
    """Serves requests from its own thread until it is closed.

    Args:
        host: A loopback address, or ``localhost``.
        port: 0 takes a free one; see ``server_port``.
        answer: Answers a request.
        clock: Seconds since the epoch, for the ``date`` header.
        tls: Makes it HTTPS.

    Raises:
        ValueError: ``host`` is not loopback.
        OSError: The port is taken.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Request], Answer],
        clock: Callable[[], float],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(
                f"The emulator listens on loopback only, and {host!r} is not: write 127.0.0.1"
            )
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        if tls is not None:
            # The handshake is left to the connection's own thread, so that none can block others.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.answer = answer
        self.clock = clock
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._accepting = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="aidp-emulator", daemon=True
        )
        self._accepting.start()

    def close(self) -> None:
        """Stop accepting, let running requests finish, and close every connection.

        A connection whose answer is not taken within ``GRACE_SECONDS`` is closed without it.
        """
        self.shutdown()
        self._accepting.join()
        # A forked child may hold the socket too, and would keep its port listening.
        _shut(self.socket, socket.SHUT_RDWR)
        self.server_close()
        with self._lock:
            open_connections = list(self._connections.items())
        for connection, _ in open_connections:
            _shut(connection, socket.SHUT_RD)
        end = time.monotonic() + GRACE_SECONDS
        for connection, thread in open_connections:
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                # A client that reads nothing would hold its answer, and us, for ever.
                _shut(connection, socket.SHUT_RDWR)
                thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        if _is_to_reset(request):
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _logger.debug("A connection broke", exc_info=True)

    def server_bind(self) -> None:
        # Past HTTPServer, which would look the host's name up; that can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_port = self.socket.getsockname()[1]


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"
    server_version = f"mlflow-oci-store-emulator/{__version__}"
    disable_nagle_algorithm = True
    wbufsize = -1

    raw_requestline: bytes
    headers: dict[str, str]  # type: ignore[assignment] # read here, and nowhere else

    def parse_request(self) -> bool:
        self.requestline = self.raw_requestline.decode("latin-1").rstrip("\r\n")
        # For the answer to what cannot be read.
        self.command, self.request_version = "", self.protocol_version
        try:
            self.command, self.path, is_persistent = request_line(self.raw_requestline)
            self.headers = read_headers(self.rfile)
        except ValueError as error:
            self.send_error(400, str(error))
            return False
        wish = self.headers.get("connection", "").lower()
        self.close_connection = "close" in wish or not (is_persistent or "keep-alive" in wish)
        if self.headers.get("expect", "").lower() == "100-continue":
            return self.handle_expect_100()
        return True

    def do_GET(self) -> None:
        self._respond()

    do_HEAD = do_GET  # noqa: N815 - http.server's names
    do_POST = do_GET  # noqa: N815
    do_PUT = do_GET  # noqa: N815
    do_PATCH = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def _respond(self) -> None:
        try:
            length = self._content_length()
        except Refusal as refusal:
            self.close_connection = True
            self._send(refusal.answer)
            return
        incoming = _Incoming(self.rfile, length)
        if self.command == "PUT":
            request = Request(self.command, self.path, self.headers, upload=incoming)
        else:
            request = Request(self.command, self.path, self.headers, incoming.read())
        answer = self.server.answer(request)
        if not answer.is_cut:
            incoming.drain()
        self._send(answer)

    def _content_length(self) -> int:
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdecimal():
            raise Refusal(400, "InvalidParameter", "A request needs a content-length")
        if self.command != "PUT" and int(length) > MAX_BODY_BYTES:
            raise Refusal(413, "RequestEntityTooLarge", f"{length} bytes are too many")
        return int(length)

    def _send(self, answer: Answer) -> None:
        if answer.is_cut:
            self.close_connection = True
            if answer.delivery is Delivery.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            return
        length = len(answer.body)
        self.send_response(answer.status)
        described = {"content-type": "application/json", "content-length": str(length)}
        for name, value in {**described, **answer.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.delivery is Delivery.TRUNCATED:
            self.close_connection = True
            length //= 2
        for chunk in (answer.body,) if isinstance(answer.body, bytes) else answer.body:
            self.wfile.write(chunk[:length])
            length -= len(chunk)
            if length <= 0:
                break

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.clock() if timestamp is None else timestamp, usegmt=True)

    def version_string(self) -> str:
        return self.server_version

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.close_connection = True
        refused = "MethodNotImplemented" if code == 501 else "InvalidParameter"
        self._send(Refusal(code, refused, message or explain or "Not HTTP").answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        _logger.debug(format, *args)


class _Incoming:
    """The body of a request, as much of it as has not been read yet."""

    def __init__(self, source: io.BufferedIOBase, length: int) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            content = self._source.read(wanted)
        except OSError:
            content = b""
        self._left -= len(content)
        if len(content) < wanted:
            # The client is gone; nobody waits for an answer.
            raise ConnectionCut(Delivery.CLOSED)
        return content

    def drain(self) -> None:
        """Read what is left, so that the next request begins where this one ends."""
        while self.read(_DRAINED_BYTES):
            pass


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_to_reset(connection: socket.socket) -> bool:
    linger = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_NO_LINGER))
    return linger == _NO_LINGER


def _shut(connection: socket.socket, directions: int) -> None:
    """End one direction or both, for every holder of the socket.

    With ``SHUT_RD`` its thread sees the end of input, and still sends what it has to send.
    """
    try:
        # Not connection.shutdown(): on a TLS connection that drops encryption as well.
        socket.socket.shutdown(connection, directions)
    except OSError:
        _logger.debug("The socket was not connected any more")
