"""Start, stop, start again; what is in the data folder; who may listen where."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import oci
import pytest
import requests
from aidp_python_client.aidataplatform_dp import models as m
from cryptography.hazmat.primitives import serialization

from mlflow_oci_store.emulator import AidpEmulator, Delay, Fault, Garbage, listener

from .conftest import Sdk, Wire

CREATE = ("POST", "experiments/create", {"name": "a"})


def names(sdk: Sdk) -> list[str]:
    found = sdk.list_experiments(m.ListExperimentsDetails()).data
    return [experiment.name for experiment in found.experiments]


def test_an_emulator_carries_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    with AidpEmulator(tmp_path) as first:
        Sdk(first).create_experiment(m.CreateExperimentDetails(name="kept"))
        Sdk(first).create_registered_model(m.CreateRegisteredModelDetails(name="kept"))
        config = Path(first.config_file).read_text()
        audit = first.audit()
        port = urlsplit(first.endpoint).port
        uri = first.tracking_uri
    assert port is not None
    with AidpEmulator(tmp_path, port=port) as second:
        assert second.tracking_uri == uri
        assert Path(second.config_file).read_text() == config
        assert second.audit() == audit
        assert names(Sdk(second)) == ["kept"]
        found = Sdk(second).get_registered_model("kept").data.registered_model
        assert found.name == "kept"


def test_the_tracking_uri_is_complete(aidp_emulator: AidpEmulator) -> None:
    uri = urlsplit(aidp_emulator.tracking_uri)
    assert uri.scheme == "oci-dp"
    assert uri.netloc == aidp_emulator.platform_id
    assert unquote(uri.path) == f"/{aidp_emulator.workspace_key}"
    assert parse_qs(uri.query) == {
        "endpoint": [aidp_emulator.endpoint],
        "object_storage_endpoint": [aidp_emulator.endpoint],
        "config_file": [aidp_emulator.config_file],
        "profile": [aidp_emulator.profile],
    }


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with AidpEmulator(folder, tls=True) as emulator:
        Sdk(emulator).create_experiment(m.CreateExperimentDetails(name="a"))
        emulator.issue_token(_public_pem(emulator))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = {name for name in modes if name.endswith(".pem")} | {"config", "emulator.db"}
    assert len(keys) == 6
    assert {modes[name] for name in keys} == {0o600}


def _public_pem(emulator: AidpEmulator) -> bytes:
    key_file = oci.config.from_file(emulator.config_file, emulator.profile)["key_file"]
    key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_temporary_folder_goes_with_its_emulator() -> None:
    emulator = AidpEmulator()
    folder = Path(emulator.config_file).parent
    Sdk(emulator).create_experiment(m.CreateExperimentDetails(name="a"))
    assert folder.is_dir()
    emulator.close()
    assert not folder.exists()
    emulator.close()


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    AidpEmulator(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_data_folder_is_for_one_emulator_at_a_time(tmp_path: Path) -> None:
    with AidpEmulator(tmp_path), pytest.raises(ValueError, match="is another emulator running"):
        AidpEmulator(tmp_path)
    AidpEmulator(tmp_path).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com"])
def test_only_loopback_is_listened_on(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        AidpEmulator(tmp_path, host=host)
    AidpEmulator(tmp_path).close()


def test_localhost_is_loopback() -> None:
    with AidpEmulator(host="localhost") as emulator:
        assert emulator.endpoint.startswith("http://localhost:")
        assert Wire(emulator)(*CREATE).status_code == 200


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_loopback_is_listened_on() -> None:
    with AidpEmulator(host="::1") as emulator:
        assert emulator.endpoint.startswith("http://[::1]:")
        assert Wire(emulator)(*CREATE).status_code == 200


def test_a_taken_port_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        AidpEmulator(tmp_path, port=taken.getsockname()[1])
    AidpEmulator(tmp_path).close()


def test_closing_lets_a_running_request_finish(tmp_path: Path) -> None:
    emulator = AidpEmulator(tmp_path)
    workspace = emulator._workspaces.workspace(emulator.platform_id, emulator.workspace_key)
    request = Wire(emulator).signed(*CREATE, opc_retry_token="t")
    with ThreadPoolExecutor(2) as pool:
        with workspace.writing:
            answer = pool.submit(Wire(emulator).send, request)
            until(lambda: bool(emulator._ledger._waiting))
            closed = pool.submit(emulator.close)
            until(lambda: not accepts(emulator))
            assert not closed.done()
        assert answer.result().status_code == 200
        closed.result()
    with AidpEmulator(tmp_path) as again:
        assert names(Sdk(again)) == ["a"]


def test_closing_waits_for_no_client_that_takes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "GRACE_SECONDS", 0.0)
    emulator = AidpEmulator()
    emulator.faults.add(Fault(Garbage("x" * 50_000_000)))
    request = Wire(emulator).signed(*CREATE)
    address = urlsplit(emulator.endpoint)
    with socket.create_connection((address.hostname, address.port)) as client:
        headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        line = f"POST {request.path_url} HTTP/1.1\r\nhost: {address.netloc}\r\n"
        client.sendall(f"{line}{headers}\r\n{request.body}".encode())
        assert client.recv(9) == b"HTTP/1.1 "
        emulator.close()


def test_closing_ends_delays() -> None:
    emulator = AidpEmulator()
    emulator.faults.add(Fault(Delay(3600)))
    request = Wire(emulator).signed(*CREATE)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(Wire(emulator).send, request)
        until(lambda: emulator.faults._faults[0]._met == 1)
        emulator.close()
        assert answer.result().status_code == 200


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def accepts(emulator: AidpEmulator) -> bool:
    address = urlsplit(emulator.endpoint)
    try:
        socket.create_connection((address.hostname, address.port), timeout=30).close()
    except OSError:
        return False
    return True


def test_threads_and_connections_end_with_the_emulator() -> None:
    before = set(threading.enumerate())
    with AidpEmulator() as emulator:
        wires = [Wire(emulator) for _ in range(20)]
        for wire in wires:
            assert wire("POST", "experiments/search", {}).status_code == 200
    assert set(threading.enumerate()) <= before
    for wire in wires:
        with pytest.raises(requests.ConnectionError):
            wire("POST", "experiments/search", {})


class TestTls:
    @pytest.fixture
    def emulator(self, tmp_path: Path) -> Iterator[AidpEmulator]:
        with AidpEmulator(tmp_path, tls=True) as emulator:
            yield emulator

    def test_it_is_verified_by_its_own_authority(self, emulator: AidpEmulator) -> None:
        assert emulator.endpoint.startswith("https://127.0.0.1:")
        Sdk(emulator).create_experiment(m.CreateExperimentDetails(name="a"))
        assert names(Sdk(emulator)) == ["a"]

    def test_nobody_trusts_it_without_that(self, emulator: AidpEmulator) -> None:
        with pytest.raises(requests.exceptions.SSLError):
            Wire(emulator)(*CREATE)

    def test_a_client_that_does_not_speak_tls_does_no_harm(self, emulator: AidpEmulator) -> None:
        address = urlsplit(emulator.endpoint)
        with socket.create_connection((address.hostname, address.port), timeout=30) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(4096):
                pass
        assert names(Sdk(emulator)) == []

    def test_a_silent_client_holds_up_nobody(self, emulator: AidpEmulator) -> None:
        address = urlsplit(emulator.endpoint)
        with socket.create_connection((address.hostname, address.port)):
            assert names(Sdk(emulator)) == []

    def test_the_authority_stays_after_a_restart(
        self, emulator: AidpEmulator, tmp_path: Path
    ) -> None:
        assert emulator.ca_file is not None
        authority = Path(emulator.ca_file).read_bytes()
        emulator.close()
        with AidpEmulator(tmp_path, tls=True) as again:
            assert Path(again.ca_file or "").read_bytes() == authority
            address = urlsplit(again.endpoint)
            context = ssl.create_default_context(cadata=authority.decode())
            for name in ("localhost", "127.0.0.1"):
                plain = socket.create_connection((address.hostname, address.port))
                with context.wrap_socket(plain, server_hostname=name) as connection:
                    assert connection.version()
