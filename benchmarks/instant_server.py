"""A loopback HTTP server that answers every request with ``{}`` at once.

It does as little as HTTP allows, so that a benchmark measures the client in front of it. Run as a
process of its own (no interpreter lock is shared with the client); prints its port.
"""

import socket
import threading

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"opc-request-id: benchmark\r\n\r\n{}"
)


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            if not (chunk := connection.recv(1 << 16)):
                return
            received += chunk
        head, _, received = received.partition(b"\r\n\r\n")
        missing = content_length(head) - len(received)
        while missing > 0:
            chunk = connection.recv(1 << 16)
            missing -= len(chunk)
        received = b""
        connection.sendall(ANSWER)


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
