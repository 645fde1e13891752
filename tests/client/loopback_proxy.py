"""A forward proxy on loopback: tunnels ``CONNECT``, and passes absolute requests on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPMessage, parse_headers
from typing import BinaryIO
from urllib.parse import urlsplit

from .scripted_server import PATIENCE_SECONDS


@dataclass
class LoopbackProxy:
    """What a test sees of the proxy."""

    address: str
    request_lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0


@contextmanager
def loopback_proxy(tunnels_to: str | None = None) -> Iterator[LoopbackProxy]:
    """Run the proxy on a free port until the block is left.

    Args:
        tunnels_to: ``host:port`` where all tunnels end, whatever host was asked for.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = LoopbackProxy(f"127.0.0.1:{listener.getsockname()[1]}")
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(target: object, *args: object) -> None:
        threads.append(threading.Thread(target=target, args=args, daemon=True))  # type: ignore[arg-type]
        threads[-1].start()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                proxy.connections += 1
                open_sockets.append(connection)
                start(serve, connection)

    def serve(client: socket.socket) -> None:
        with suppress(OSError):
            stream = client.makefile("rb")
            line = stream.readline().decode("latin-1").rstrip()
            while line:
                headers = parse_headers(stream)
                proxy.request_lines.append(line)
                proxy.headers.append({name.lower(): text for name, text in headers.items()})
                method, target, _ = line.split(" ", 2)
                url = urlsplit(f"//{tunnels_to or target}" if method == "CONNECT" else target)
                assert url.hostname is not None
                server = socket.create_connection((url.hostname, url.port or 80), PATIENCE_SECONDS)
                open_sockets.append(server)
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    start(copy, server, client)
                    copy(client, server)
                    return
                pass_on(f"{method} {target.partition(url.netloc)[2]}", headers, stream, server)
                copy(server, client)
                line = stream.readline().decode("latin-1").rstrip()

    start(accept)
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        for connection in open_sockets:
            connection.close()


def pass_on(request: str, headers: HTTPMessage, body: BinaryIO, server: socket.socket) -> None:
    """Send a request to the server as it is, but for what was meant for the proxy."""
    del headers["proxy-authorization"]
    headers["connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    content = body.read(int(headers.get("content-length", 0)))
    server.sendall(f"{request} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + content)
    server.shutdown(socket.SHUT_WR)


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until one side has had enough."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
