"""A home without an OCI configuration, keys, and the services that principals get tokens from."""

import base64
import datetime
import itertools
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads

import oci.auth.signers
import oci.regions
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from mlflow import MlflowClient  # noqa: F401 - MLflow must be complete before its plugin is

from mlflow_oci_store.client.auth import Authenticator
from mlflow_oci_store.emulator import AidpEmulator
from mlflow_oci_store.settings import Settings

FOREIGN = ("OCI_", "AIDP_", "MLFLOW_OCI_DP_", "KUBERNETES_")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home folder, and no variable that says who signs."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def private_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def private_key_pem(private_key):
    return pem(private_key)


@pytest.fixture(scope="session")
def public_key_pem(private_key):
    return private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.fixture(scope="session")
def emulator():
    with AidpEmulator() as emulator:
        yield emulator


@pytest.fixture
def write_profile(home):
    """Add a profile to ``~/.oci/config``."""

    def write(name="DEFAULT", **entries):
        path = home / ".oci" / "config"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            print(
                f"[{name}]",
                *(f"{key}={value}" for key, value in entries.items()),
                sep="\n",
                file=file,
            )

    return write


@pytest.fixture
def write_key(home, private_key):
    """Write a key file, and return its path."""

    def write(name="key.pem", *, key=private_key, passphrase=None):
        path = home / name
        path.write_bytes(pem(key, passphrase))
        return str(path)

    return write


@pytest.fixture
def write_session(home, emulator, public_key_pem, write_key, write_profile):
    """Write what ``oci session authenticate`` writes; a second time, only the token."""
    serial = itertools.count()

    def write(name="DEFAULT", *, lifetime_seconds=3600.0):
        token = emulator.issue_token(public_key_pem, lifetime_seconds=lifetime_seconds)
        path = home / "token"
        # As a new file in the place of the old, so that every write is a visible change.
        fresh = home / f"token-{next(serial)}"
        fresh.write_text(token)
        first = not path.exists()
        fresh.replace(path)
        if first:
            write_profile(
                name,
                security_token_file=path,
                key_file=write_key("session.pem"),
                region="us-phoenix-1",
                tenancy="ocid1.tenancy.oc1..a",
                fingerprint=":".join(["00"] * 16),
            )
        return token

    return write


@pytest.fixture
def authenticator(emulator):
    """Make the authenticator of a tracking URI with these options."""

    def make(**options):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        uri = f"oci-dp://{emulator.platform_id}/{emulator.workspace_key}?{query}"
        return Authenticator(Settings.from_uri(uri.rstrip("?")))

    return make


def pem(key, passphrase=None):
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


class InstanceServices(ThreadingHTTPServer):
    """What a compute instance has: the metadata service, and the one that grants it tokens."""

    daemon_threads = True

    def __init__(self, grant, private_key):
        super().__init__(("127.0.0.1", 0), InstanceRequest)
        self.grant = grant
        self.grants = 0
        self.tenancy_id = "ocid1.tenancy.oc1..instance"
        certificate = self._certificate(private_key)
        self.fingerprint = ":".join(
            f"{byte:02X}" for byte in certificate.fingerprint(hashes.SHA1())
        )
        certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.metadata = {
            "/opc/v2/instance/region": b"iad",
            "/opc/v2/identity/cert.pem": certificate_pem,
            "/opc/v2/identity/key.pem": pem(private_key),
            "/opc/v2/identity/intermediate.pem": certificate_pem,
        }
        self.arrived = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def _certificate(self, private_key):
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "ocid1.instance.oc1.iad.a"),
                x509.NameAttribute(
                    NameOID.ORGANIZATIONAL_UNIT_NAME, f"opc-tenant:{self.tenancy_id}"
                ),
            ]
        )
        today = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private_key.public_key())
            .serial_number(1)
            .not_valid_before(today)
            .not_valid_after(today + datetime.timedelta(days=1))
            .sign(private_key, hashes.SHA256())
        )


class InstanceRequest(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.metadata.get(self.path)
        if content is None or self.headers["Authorization"] != "Bearer Oracle":
            self.answer(404, b"")
        else:
            self.answer(200, content)

    def do_POST(self):
        self.server.arrived.set()
        self.server.open.wait()
        body = loads(self.rfile.read(int(self.headers["Content-Length"])))
        key_id = f"{self.server.tenancy_id}/fed-x509/{self.server.fingerprint}"
        if self.path != "/us-ashburn-1.oraclecloud.com/v1/x509" or (
            f'keyId="{key_id}"' not in self.headers["Authorization"]
        ):
            self.answer(401, dumps({"code": "NotAuthenticated", "message": "no"}).encode())
            return
        der = base64.b64decode(body["publicKey"])
        key = serialization.load_der_public_key(der)
        token = self.server.grant(
            key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        self.server.grants += 1
        self.answer(200, dumps({"token": token}).encode())

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture
def instance(emulator, private_key, monkeypatch):
    """The services of a compute instance, which this process is made to believe it runs on."""

    def grant(public_key_pem):
        return emulator.issue_token(public_key_pem, subject="ocid1.instance.oc1.iad.a")

    with InstanceServices(grant, private_key) as services:
        address = f"http://127.0.0.1:{services.server_port}"
        monkeypatch.setenv("OCI_METADATA_BASE_URL", f"{address}/opc/v2")
        # Older releases of oci know no such variable.
        for name, path in (
            ("GET_REGION_URL", "instance/region"),
            ("LEAF_CERTIFICATE_URL", "identity/cert.pem"),
            ("LEAF_CERTIFICATE_PRIVATE_KEY_URL", "identity/key.pem"),
            ("INTERMEDIATE_CERTIFICATE_URL", "identity/intermediate.pem"),
        ):
            monkeypatch.setattr(
                oci.auth.signers.InstancePrincipalsSecurityTokenSigner,
                name,
                f"{address}/opc/v2/{path}",
            )
        monkeypatch.setitem(oci.regions.SERVICE_ENDPOINTS, "auth", f"{address}/{{domain}}")
        thread = threading.Thread(target=services.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield services
        services.open.set()
        services.shutdown()
        thread.join()
