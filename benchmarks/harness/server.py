"""A loopback HTTP server that costs next to nothing, so that the client in front is measured.

It looks at no more of a request than where it ends and which recorded answer it asks for. It runs
as a process of its own (no interpreter lock is shared with a client), listens on two ports, one
that answers at once and one that answers later, prints both, and stops when its standard input is
closed.

    python server.py <folder with recorded answers> <seconds of delay>

An answer ``runs.search.json`` is sent for every target with ``runs/search`` in it; everything else
is answered with ``{}``.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

_RECEIVED_AT_ONCE = 1 << 18


def http_answer(body: bytes) -> bytes:
    """Put HTTP's lines in front of a JSON body."""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nopc-request-id: benchmark\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Answers:
    """What is sent for which target.

    Args:
        folder: Where recorded answers are.
    """

    def __init__(self, folder: Path) -> None:
        self._empty = http_answer(b"{}")
        self._recorded = [
            (file.stem.replace(".", "/").encode(), http_answer(file.read_bytes()))
            for file in folder.glob("*.json")
        ]

    def to(self, head: bytes) -> bytes:
        """The answer to a request whose head is given."""
        target = head[: head.index(b"\r\n")]
        for route, answer in self._recorded:
            if route in target:
                return answer
        return self._empty


def serve(connection: socket.socket, answers: Answers, delay: float) -> None:
    """Answer the requests on one connection until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with connection:
        while True:
            while (end := received.find(b"\r\n\r\n")) < 0:
                if not (chunk := connection.recv(_RECEIVED_AT_ONCE)):
                    return
                received += chunk
            head = received[:end]
            missing = end + 4 + _content_length(head) - len(received)
            while missing > 0:
                if not (chunk := connection.recv(_RECEIVED_AT_ONCE)):
                    return
                missing -= len(chunk)
            received = b""
            if delay:
                time.sleep(delay)
            connection.sendall(answers.to(head))


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def listen(answers: Answers, delay: float) -> int:
    """Serve on a free loopback port, from now on and in threads, and return the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, answers, delay), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def main() -> None:
    """Serve until standard input ends."""
    answers, delay = Answers(Path(sys.argv[1])), float(sys.argv[2])
    print(listen(answers, 0.0), listen(answers, delay), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
