"""Keep-alive connections to one endpoint.

``requests`` decides what a connection looks like (certificates, proxies from the environment and
``no_proxy``, client certificates), once, and urllib3 makes each connection, with its first request:
it connects, verifies and tunnels. The requests after that go straight to the connection: what
``Session.request`` (cookies, redirects, hooks, header merging) and urllib3's pool do for each of
them costs more than the network on a fast link, and none of it is wanted here. A redirect in
particular is never followed: a signature must not travel to another host.

A connection is urllib3's, too, but it sends a request that was written down whole, and leaves the
answer to be read later and to its end (``_lean``). What urllib3 otherwise does for streamed bodies,
compressed answers and odd headers costs as much as the request itself.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from mlflow_oci_store.client.response import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from urllib3 import HTTPConnectionPool, Retry

_logger = logging.getLogger(__name__)

# More threads than this work too; their connections are then not kept alive.
_POOL_SIZE = 64

_KEEP_ALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

# TLS faults that are those of the network: the handshake or the stream broke off.
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLSyscallError, ssl.SSLZeroReturnError)

# What a socket raises that urllib3 has names for, the same ones.
_OF_SOCKETS = (TimeoutError, ssl.SSLError)

# The most of a reason that an error repeats; part of it may come from the other side.
_REASON_CHARACTERS = 200

# How much of a body is read and sent at once; more than HTTP libraries take, which saves time.
_PIECE_BYTES = 1024 * 1024


class Stream(Protocol):
    """A body that is read while it is sent."""

    def __len__(self) -> int:
        """How many bytes it has in all."""

    def read(self, size: int, /) -> bytes:
        """Give the next bytes, ``size`` at most; none at its end."""


Body = bytes | Stream


class Answer(NamedTuple):
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class ConnectionFailed(Exception):
    """No answer came: refused, reset, cut off, or no secure connection could be made."""


class ConnectionTimedOut(ConnectionFailed):
    """No answer came in time."""


class ConnectionRefusedForGood(ConnectionFailed):
    """No answer can come however often it is tried: a certificate that is not trusted or cannot be
    read, or a proxy that is none."""


def connection_failure(error: BaseException) -> ConnectionFailed:
    """Judge why no answer came.

    Args:
        error: What urllib3 raised, a library on top of it, or the socket.
    """
    reason = _reason(error)
    decisive = next(filter(None, map(_kinds, _causes(error))), frozenset())
    # A kind of timeout to urllib3, though refused connections and unknown hosts are, too.
    if "TimeoutError" in decisive and "NewConnectionError" not in decisive:
        return ConnectionTimedOut(reason)
    if "SSLError" in decisive and not isinstance(_innermost(error), _BROKEN_OFF):
        return ConnectionRefusedForGood(reason)
    return ConnectionFailed(f"at the proxy: {reason}" if "ProxyError" in decisive else reason)


def _kinds(error: BaseException) -> frozenset[str]:
    """What urllib3 calls an error, or what the socket does, which has the same names for two kinds;
    nothing for what says nothing.

    Older releases of OCI's client have a copy of urllib3, so its classes are known by name.
    """
    kinds = type(error).__mro__
    is_urllib3s = kinds[0].__module__.endswith("urllib3.exceptions")
    if "MaxRetry" in kinds[0].__name__ or not (is_urllib3s or isinstance(error, _OF_SOCKETS)):
        return frozenset()
    return frozenset(kind.__name__ for kind in kinds)


@dataclass(frozen=True)
class _Pool:
    pid: int
    urllib3: HTTPConnectionPool
    no_retries: Retry
    # Both for an HTTP proxy that passes requests on: scheme and host, as it wants absolute targets,
    # and what it wants to know of us.
    target_prefix: str
    proxy_headers: Mapping[str, str]
    idle: deque[Any]  # connections that are made, the one used last at the end

    def __post_init__(self) -> None:
        weakref.finalize(self, _close_all, self.idle)

    def take(self) -> Any:
        """Give an idle connection, or None."""
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:
                return None
            if connection.is_connected:
                return connection
            connection.close()

    def put_back(self, connection: Any) -> None:
        if len(self.idle) < _POOL_SIZE:
            self.idle.append(connection)
        else:
            connection.close()


def _close_all(connections: Iterable[Any]) -> None:
    for connection in connections:
        connection.close()


class Exchange:
    """A request that was sent, and the answer that is still to be read.

    Args:
        method: The request's method, for the log.
        target: Its target, for the log.
        response: The answer.
        pool: Takes its connection when it is read.
    """

    __slots__ = ("_method", "_pool", "_response", "_target")

    def __init__(self, method: str, target: str, response: Response, pool: _Pool) -> None:
        self._method = method
        self._target = target
        self._response = response
        self._pool = pool

    def has_begun_to_answer(self, seconds: float) -> bool:
        """Whether something came, if need be after a while.

        Args:
            seconds: The longest wait.
        """
        from urllib3.util import wait_for_read

        return wait_for_read(self._response, seconds)  # type: ignore[arg-type] # it has a fileno

    def answer(self) -> Answer:
        """Read the answer, once.

        Raises:
            ConnectionFailed: as ``Connection.send`` does.
        """
        response = self._response
        connection = response.connection
        try:
            response.begin()
        except BaseException as error:
            response.close()
            connection.close()
            if isinstance(error, (OSError, http.client.HTTPException)):
                raise connection_failure(error) from error
            raise
        if response.will_close:
            connection.close()
        else:
            self._pool.put_back(connection)
        _logger.debug(
            "%s %s: %s (opc-request-id: %s)",
            self._method,
            self._target,
            response.status,
            response.headers.get("opc-request-id"),
        )
        return Answer(response.status, response.headers, response.data)


class Connection:
    """A pool of keep-alive connections, safe across threads and forks.

    Args:
        endpoint: ``scheme://host[:port]`` of the service.
        verify: True for the usual authorities, False for none, or a path to a CA bundle.
        client_cert: Path of a client certificate with its key, or None.
    """

    def __init__(self, endpoint: str, *, verify: bool | str, client_cert: str | None) -> None:
        self.endpoint = endpoint
        self.host = urlsplit(endpoint).netloc
        self._verify = verify
        self._client_cert = client_cert
        self._pool: _Pool | None = None

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | None,
        timeout: float,
    ) -> Answer:
        """Send one request and read its answer; nothing is repeated here.

        Args and errors are those of ``begin``.

        Returns:
            The answer, whatever its status; a redirect is an answer too.
        """
        return self.begin(method, target, headers, body, timeout).answer()

    def begin(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | None,
        timeout: float,
    ) -> Exchange:
        """Send one request, whose answer is to be read later.

        Args:
            method: The HTTP method, in capitals.
            target: Path and query, encoded.
            headers: All headers, ``host`` and the body's ``content-length`` included.
            body: The body, or None.
            timeout: Seconds for connecting, and again for each wait on the answer.

        Raises:
            ConnectionTimedOut: The time was up.
            ConnectionRefusedForGood: The server's certificate is not trusted, or what the settings
                and the environment say of certificates and proxies cannot be used.
            ConnectionFailed: Anything else that kept an answer from arriving whole.
        """
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            # A forked child must not write on its parent's sockets. Two threads that come here at
            # once make two pools, and one of them is dropped unused.
            pool = self._pool = self._new_pool()
        target = pool.target_prefix + target
        connection = pool.take()
        if connection is None:
            response = _first_response(pool, method, target, headers, body, timeout)
            return Exchange(method, target, response, pool)
        if pool.proxy_headers:
            headers = {**headers, **pool.proxy_headers}
        connection.timeout = timeout
        try:
            connection.request(method, target, body, headers)
            return Exchange(method, target, connection.getresponse(), pool)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise connection_failure(error) from error
            raise

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is made and idle, or was so a moment ago."""
        pool = self._pool
        return pool is not None and bool(pool.idle) and pool.pid == os.getpid()

    def _new_pool(self) -> _Pool:
        from urllib3.exceptions import HTTPError

        try:
            return self._described_pool()
        except OSError as error:
            raise ConnectionRefusedForGood(str(error)) from error
        except (HTTPError, TypeError, ValueError) as error:
            # Their messages quote the proxy's URL, which may hold a password.
            raise ConnectionRefusedForGood(
                f"the URL of a proxy cannot be read ({type(error).__name__})"
            ) from None

    def _described_pool(self) -> _Pool:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.connection import HTTPConnection
        from urllib3.util import Retry

        adapter = HTTPAdapter(max_retries=0)
        # Training can be silent for longer than a NAT gateway remembers an idle connection.
        adapter.init_poolmanager(
            1, _POOL_SIZE, socket_options=[*HTTPConnection.default_socket_options, _KEEP_ALIVE]
        )
        url = f"{self.endpoint}/"
        environment = requests.Session().merge_environment_settings(
            url, {}, False, self._verify, self._client_cert
        )
        request = requests.Request("GET", url).prepare()
        pool: Any = adapter.get_connection_with_tls_context(
            request, environment["verify"], environment["proxies"], environment["cert"]
        )
        adapter.cert_verify(pool, url, environment["verify"], environment["cert"])
        pool.ConnectionCls = _lean(pool.ConnectionCls)
        absolute = adapter.request_url(request, environment["proxies"]) != request.path_url
        return _Pool(
            pid=os.getpid(),
            urllib3=pool,
            no_retries=Retry.from_int(False, redirect=False),
            target_prefix=self.endpoint if absolute else "",
            proxy_headers=dict(pool.proxy_headers) if absolute else {},
            idle=deque(),
        )


def _first_response(
    pool: _Pool,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Body | None,
    timeout: float,
) -> Response:
    """Make a connection, and send its first request."""
    from urllib3.exceptions import HTTPError

    try:
        response: Any = pool.urllib3.urlopen(
            method,
            target,
            body=body,  # type: ignore[arg-type] # our connections take it
            headers=headers,
            retries=pool.no_retries,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            release_conn=False,
        )
    except (HTTPError, OSError) as error:
        raise connection_failure(error) from error
    assert isinstance(response, Response)
    return response


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Write down a request up to its body.

    Raises:
        ValueError: A line break in what is to be one line would begin another header.
    """
    lines = [f"{method} {target} HTTP/1.1", *[f"{key}: {headers[key]}" for key in headers], "", ""]
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1:
        raise ValueError("a header has a line break in it")
    return head.encode("latin-1")


def _lean(connection: type[Any]) -> type[Any]:
    """Derive a connection that sends requests at once, and whose answers are read later."""

    class LeanConnection(connection):
        def request(
            self,
            method: str,
            url: str,
            body: Body | None = None,
            headers: Mapping[str, str] | None = None,
            **_options: Any,
        ) -> None:
            if self.sock is None:
                self.connect()
            # A system call, in which another thread may take Python's lock.
            if self.sock.gettimeout() != self.timeout:
                self.sock.settimeout(self.timeout)
            self._method_sent = method
            head = _head(method, url, headers or {})
            try:
                if body is None or isinstance(body, bytes):
                    # At once: one system call, and often one packet.
                    self.sock.sendall(head + (body or b""))
                    return
                self.sock.sendall(head)
                while piece := body.read(_PIECE_BYTES):
                    self.sock.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                # Whoever hangs up before all is sent may have said why.
                return

        def getresponse(self) -> Response:
            response = Response(self.sock, self._method_sent)
            response.connection = self
            return response

    return LeanConnection


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, what caused that, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        # OCI's client keeps what it wraps as the context only.
        candidates = (
            cause.__cause__,
            getattr(cause, "reason", None),
            *cause.args,
            cause.__context__,
        )
        cause = next((it for it in candidates if isinstance(it, BaseException)), None)


def _innermost(error: BaseException) -> BaseException:
    *_, innermost = _causes(error)
    return innermost


def _reason(error: BaseException) -> str:
    """The innermost cause, without the objects that urllib3 puts in front of it."""
    cause = _innermost(error)
    text = str(cause) if isinstance(cause, OSError) else repr(cause)
    return text[:_REASON_CHARACTERS]
