"""Connections: kept alive, shared by threads, not by forks, through TLS and proxies."""

from __future__ import annotations

import gc
import json
import multiprocessing
import pickle
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.connection import (
    Connection,
    ConnectionFailed,
    ConnectionTimedOut,
    Exchange,
)
from mlflow_oci_store.client.data_platform import DataPlatformClient
from mlflow_oci_store.errors import OciDataPlatformException

from .conftest import ApiKey, Clock
from .loopback_proxy import LoopbackProxy, loopback_proxy
from .scripted_server import (
    CLOSED,
    HANGING,
    PATIENCE_SECONDS,
    RESET,
    After,
    ScriptedServer,
    Step,
    answer,
    oci_error,
    scripted_server,
)

READ = "list_experiments"
WRITE = "log_experiment_run_metric"
ClientFor = Callable[..., DataPlatformClient]


def test_calls_share_one_connection(client: DataPlatformClient, server: ScriptedServer) -> None:
    server.script += [answer(), oci_error(503, "ServiceUnavailable"), answer()]

    for _ in range(3):
        client.call(WRITE, {"key": "loss"}, dict)

    assert [it.connection for it in server.requests] == [1] * 4


def test_nothing_is_read_or_connected_before_the_first_call(
    client_for: ClientFor, server: ScriptedServer
) -> None:
    client = client_for(server.endpoint, config_file="/nowhere/config")

    with pytest.raises(MlflowException, match="/nowhere/config"):
        client.call(READ, {}, dict)

    assert server.requests == []


def test_a_connection_that_the_server_closed_in_the_meantime_costs_no_retry(
    client: DataPlatformClient, server: ScriptedServer, clock: Clock
) -> None:
    server.script.append(answer(after=After.CLOSE))
    client.call(WRITE, {"key": "loss"}, dict)
    server.wait_for_close()

    client.call(WRITE, {"key": "loss"}, dict)

    assert [it.connection for it in server.requests] == [1, 2]
    assert clock.pauses == []


def test_sixteen_threads_call_at_once_and_each_gets_its_own_answer(
    client: DataPlatformClient, server: ScriptedServer, api_key: ApiKey
) -> None:
    together = threading.Barrier(16)
    server.script += [answer(200, {"n": n}) for n in range(160)]

    def calls(thread: int) -> list[int]:
        together.wait()
        return [client.call(WRITE, {"thread": thread}, lambda it: it["n"]) for _ in range(10)]

    with ThreadPoolExecutor(16) as threads:
        received = [n for numbers in threads.map(calls, range(16)) for n in numbers]

    assert sorted(received) == list(range(160))
    assert len({it.headers["opc-retry-token"] for it in server.requests}) == 160
    assert len({it.connection for it in server.requests}) <= 32
    for it in server.requests:
        assert it.headers["authorization"] == api_key.authorization(it)


def test_a_fork_connects_for_itself_and_its_parent_goes_on(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    client.call(WRITE, {"who": "parent"}, dict)
    child = multiprocessing.get_context("fork").Process(
        target=client.call, args=(WRITE, {"who": "child"}, dict)
    )

    child.start()
    child.join(30)
    client.call(WRITE, {"who": "parent"}, dict)

    assert child.exitcode == 0
    seen = [(json.loads(it.body)["who"], it.connection) for it in server.requests]
    assert seen == [("parent", 1), ("child", 2), ("parent", 1)]
    assert len({it.headers["opc-retry-token"] for it in server.requests}) == 3


def test_forks_of_a_busy_parent_all_get_their_answers(
    client: DataPlatformClient, server: ScriptedServer
) -> None:
    fork = multiprocessing.get_context("fork")
    children = [
        fork.Process(target=client.call, args=(WRITE, {"who": "child"}, dict)) for _ in range(4)
    ]

    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(client.call, WRITE, {"who": "parent"}, dict) for _ in range(40)]
        for child in children:
            child.start()
        for call in calls:
            assert call.result(30) == {}
    for child in children:
        child.join(30)

    assert [child.exitcode for child in children] == [0] * 4
    assert sorted(json.loads(it.body)["who"] for it in server.requests) == (
        ["child"] * 4 + ["parent"] * 40
    )


def test_an_unpickled_client_calls_the_same_service(
    server: ScriptedServer, client_for: ClientFor, api_key: ApiKey
) -> None:
    original = DataPlatformClient(client_for(server.endpoint).settings)
    original.call(WRITE, {"who": "original"}, dict)

    pickled = pickle.dumps(original)
    copy = pickle.loads(pickled)
    copy.call(WRITE, {"who": "copy"}, dict)

    assert copy.settings == original.settings
    assert [it.connection for it in server.requests] == [1, 2]
    assert not [line for line in api_key.secret_lines if line.encode() in pickled]


@pytest.mark.parametrize("broken", ["a\r\nb: c", "a\n b", "a\rb"])
def test_a_line_break_cannot_begin_another_header(server: ScriptedServer, broken: str) -> None:
    connection = Connection(server.endpoint, verify=True, client_cert=None)

    with pytest.raises(ValueError, match="line break"):
        connection.send("GET", "/path", {"host": "h", "dh-user-principal": broken}, None, 5.0)

    assert server.requests == []


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def tls_server(tls: ssl.SSLContext) -> Iterator[ScriptedServer]:
    with scripted_server(tls=tls) as running:
        yield running


@pytest.mark.parametrize(
    "variable",
    ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"],
)
def test_an_authority_of_ones_own_is_named_by_a_variable(
    client_for: ClientFor,
    tls_server: ScriptedServer,
    ca_file: str,
    api_key: ApiKey,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, ca_file)
    client = client_for(tls_server.endpoint)

    client.call(WRITE, {}, dict)
    client.call(WRITE, {}, dict)

    assert [it.connection for it in tls_server.requests] == [1, 1]
    request = tls_server.requests[0]
    assert request.headers["authorization"] == api_key.authorization(request, "https")


def test_without_a_variable_the_authorities_are_those_of_requests(
    client_for: ClientFor,
    tls_server: ScriptedServer,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", ca_file)

    client_for(tls_server.endpoint).call(READ, {}, dict)

    assert len(tls_server.requests) == 1


def test_a_certificate_that_is_not_trusted_is_refused_at_once(
    client_for: ClientFor, tls_server: ScriptedServer, clock: Clock
) -> None:
    with pytest.raises(OciDataPlatformException) as caught:
        client_for(tls_server.endpoint).call(READ, {}, dict)

    assert "certificate verify failed" in caught.value.message
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in caught.value.message
    assert (caught.value.error_code, caught.value.retries) == ("BAD_REQUEST", 0)
    assert tls_server.requests == []
    assert clock.pauses == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_no_certificate_is_checked_when_mlflow_is_told_not_to(
    client_for: ClientFor, tls_server: ScriptedServer
) -> None:
    client_for(tls_server.endpoint, MLFLOW_TRACKING_INSECURE_TLS="true").call(READ, {}, dict)

    assert len(tls_server.requests) == 1


def test_a_client_certificate_is_shown(
    client_for: ClientFor, authority: trustme.CA, tls: ssl.SSLContext, ca_file: str, tmp_path: Path
) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    certificate = tmp_path / "client.pem"
    issued = authority.issue_cert("a-client")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    environ = {"MLFLOW_TRACKING_SERVER_CERT_PATH": ca_file}

    with scripted_server(tls=tls) as server:
        with pytest.raises(OciDataPlatformException):
            client_for(server.endpoint, max_retries=0, **environ).call(READ, {}, dict)
        assert server.requests == []

        environ["MLFLOW_TRACKING_CLIENT_CERT_PATH"] = str(certificate)
        client_for(server.endpoint, **environ).call(READ, {}, dict)
        assert len(server.requests) == 1


@contextmanager
def broken_handshakes() -> Iterator[str]:
    """A server that closes its connections in the middle of the TLS handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30)


def test_a_handshake_that_breaks_off_is_tried_again(client_for: ClientFor, clock: Clock) -> None:
    with broken_handshakes() as endpoint, pytest.raises(OciDataPlatformException) as caught:
        client_for(endpoint, max_retries=2).call(READ, {}, dict)

    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert caught.value.retries == len(clock.pauses) == 2


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_named(
    client_for: ClientFor,
    tls_server: ScriptedServer,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

    with pytest.raises(OciDataPlatformException, match="REQUESTS_CA_BUNDLE") as caught:
        client_for(tls_server.endpoint).call(READ, {}, dict)

    assert caught.value.error_code == "BAD_REQUEST"
    assert clock.pauses == []


# --- requests whose answers are read later -------------------------------------------------------


@pytest.fixture
def connection(server: ScriptedServer) -> Connection:
    return Connection(server.endpoint, verify=True, client_cert=None)


def begin(connection: Connection, target: str) -> Exchange:
    return connection.begin("GET", target, {"host": connection.host}, None, PATIENCE_SECONDS)


def test_answers_may_be_read_in_any_order(connection: Connection, server: ScriptedServer) -> None:
    assert not connection.is_open
    exchanges = [begin(connection, f"/{number}") for number in range(3)]
    assert not connection.is_open
    assert all(it.has_begun_to_answer(PATIENCE_SECONDS) for it in exchanges)

    answers = [it.answer() for it in reversed(exchanges)]

    assert connection.is_open
    assert [it.status for it in answers] == [200] * 3
    assert begin(connection, "/again").answer().body == b"{}"
    assert {it.target: it.connection for it in server.requests} == {
        "/0": 1,
        "/1": 2,
        "/2": 3,
        "/again": 1,  # what was used last is the most likely to be still there
    }


def test_an_answer_that_does_not_come_is_seen_not_to(
    connection: Connection, server: ScriptedServer
) -> None:
    server.script.append(HANGING)
    exchange = connection.begin("GET", "/", {"host": connection.host}, None, 0.1)

    assert not exchange.has_begun_to_answer(0)
    assert not exchange.has_begun_to_answer(0.05)
    with pytest.raises(ConnectionTimedOut):
        exchange.answer()
    assert not connection.is_open


@pytest.mark.parametrize("broken", [CLOSED, RESET, answer(after=After.CLOSE, connection="close")])
def test_a_connection_that_is_of_no_use_any_more_is_not_kept(
    connection: Connection, server: ScriptedServer, broken: Step
) -> None:
    for _ in range(2):  # one that is new, and one that is kept
        server.script += [answer(), broken]
        begin(connection, "/").answer()
        exchange = begin(connection, "/")
        if broken.raw:
            assert exchange.answer().status == 200
        else:
            with pytest.raises(ConnectionFailed):
                exchange.answer()
        assert not connection.is_open


def test_more_connections_than_are_kept_work_too(
    connection: Connection, server: ScriptedServer
) -> None:
    exchanges = [begin(connection, "/") for _ in range(70)]

    assert {it.answer().status for it in exchanges} == {200}

    for _ in range(70 - 64):
        server.wait_for_close()
    again = [begin(connection, "/") for _ in range(64)]
    assert {it.answer().status for it in again} == {200}
    assert len({it.connection for it in server.requests}) == 70


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_connections_are_closed_with_what_had_them(
    server: ScriptedServer, recwarn: pytest.WarningsRecorder
) -> None:
    connection = Connection(server.endpoint, verify=True, client_cert=None)
    begin(connection, "/").answer()

    del connection
    gc.collect()

    server.wait_for_close()
    # Python itself closes a socket that nobody has any more, and complains.
    assert [str(it.message) for it in recwarn if it.category is ResourceWarning] == []


def test_a_forked_child_has_no_open_connection(connection: Connection) -> None:
    begin(connection, "/").answer()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(connection.is_open))

    child.start()

    assert queue.get() is False
    child.join(30)
    assert connection.is_open


def test_a_refusal_that_comes_before_all_is_sent_is_read() -> None:
    refusal = b"HTTP/1.1 413 Too much\r\ncontent-length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                peer.recv(65536)
                peer.sendall(refusal)

        thread = threading.Thread(target=serve)
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        connection = Connection(f"http://{host}", verify=True, client_cert=None)
        begin(connection, "/").answer()
        body = bytes(50_000_000)  # more than a socket takes at once
        headers = {"host": host, "content-length": str(len(body))}

        refused = connection.send("PUT", "/", headers, body, PATIENCE_SECONDS)

        thread.join(PATIENCE_SECONDS)
    assert (refused.status, refused.body) == (413, b"{}")


# --- proxies -------------------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Iterator[LoopbackProxy]:
    with loopback_proxy() as running:
        yield running


def test_a_proxy_gets_the_whole_url_and_the_service_what_was_signed(
    client_for: ClientFor,
    server: ScriptedServer,
    proxy: LoopbackProxy,
    api_key: ApiKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ada:secret@{proxy.address}")

    client = client_for(server.endpoint)

    for _ in range(2):
        client.call("get_experiment_by_id", {"experiment_id": "ß/?"}, dict)

    for nth, request in enumerate(server.requests):
        assert proxy.request_lines[nth] == f"GET {server.endpoint}{request.target} HTTP/1.1"
        assert proxy.headers[nth]["proxy-authorization"] == "Basic YWRhOnNlY3JldA=="
        assert "proxy-authorization" not in request.headers
        assert request.headers["host"] == server.endpoint.removeprefix("http://")
        assert request.target.endswith("experiments/get?experiment_id=%C3%9F%2F%3F")
        assert request.headers["authorization"] == api_key.authorization(request)
    assert len(server.requests) == len(proxy.request_lines) == 2
    assert proxy.connections == 1


def test_tls_goes_through_a_tunnel_and_the_proxy_sees_no_signature(
    client_for: ClientFor,
    tls_server: ScriptedServer,
    proxy: LoopbackProxy,
    api_key: ApiKey,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:secret@{proxy.address}")
    client = client_for(tls_server.endpoint, MLFLOW_TRACKING_SERVER_CERT_PATH=ca_file)

    client.call(WRITE, {"key": "loss"}, dict)
    client.call(WRITE, {"key": "loss"}, dict)

    host = tls_server.endpoint.removeprefix("https://")
    assert [line.split(" ")[:2] for line in proxy.request_lines] == [["CONNECT", host]]
    assert proxy.headers[0]["proxy-authorization"] == "Basic YWRhOnNlY3JldA=="
    assert "authorization" not in proxy.headers[0]
    for request in tls_server.requests:
        assert "proxy-authorization" not in request.headers
        assert request.headers["authorization"] == api_key.authorization(request, "https")


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy_is_asked_for_what_is_excepted(
    client_for: ClientFor,
    server: ScriptedServer,
    proxy: LoopbackProxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv(variable, "127.0.0.1")

    client_for(server.endpoint).call(READ, {}, dict)

    assert proxy.request_lines == []
    assert len(server.requests) == 1


def test_a_proxy_that_is_not_there_is_named_without_its_password(
    client_for: ClientFor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://ada:secret@127.0.0.1:1")

    with pytest.raises(OciDataPlatformException, match="at the proxy: ") as caught:
        client_for("http://127.0.0.1:2", max_retries=1).call(READ, {}, dict)

    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert len(clock.pauses) == 1
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://ada:secret@",
        "http://ada:secret@[::1",
        "http://ada:secret@127.0.0.1:port",
        "ftp://ada:secret@127.0.0.1:1",
    ],
)
def test_a_proxy_that_is_no_url_is_refused_without_its_password(
    client_for: ClientFor, clock: Clock, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)

    with pytest.raises(OciDataPlatformException, match="proxy") as caught:
        client_for("http://127.0.0.1:2").call(READ, {}, dict)

    assert caught.value.error_code == "BAD_REQUEST"
    assert clock.pauses == []
    assert "secret" not in caught.value.message
    assert caught.value.__cause__ is not None
    assert "secret" not in str(caught.value.__cause__)


def test_the_host_that_is_signed_has_the_endpoints_port() -> None:
    assert Connection("https://a.b:8443", verify=True, client_cert=None).host == "a.b:8443"
    assert Connection("http://[::1]:80", verify=True, client_cert=None).host == "[::1]:80"
