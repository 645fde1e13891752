"""Who may call: what OCI would not accept is 401 NotAuthenticated."""

from __future__ import annotations

import json
import re
import stat
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import jwt
import oci
import pytest
import requests
from aidp_python_client.aidataplatform_dp import models as m
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from oci.auth.security_token_container import SecurityTokenContainer
from oci.auth.signers import SecurityTokenSigner

from mlflow_oci_store.emulator import AidpEmulator

from .conftest import Sdk, Wire

CREATE = ("POST", "experiments/create", {"name": "mine"})
SEARCH = ("GET", "experiments/get-by-name?experiment_name=mine")


def assert_not_authenticated(answer: requests.Response, reason: str) -> None:
    assert answer.status_code == 401
    assert answer.json()["code"] == "NotAuthenticated"
    assert reason in answer.json()["message"]


def sign_only(wire: Wire, headers: str) -> None:
    """Let signatures cover just these headers; they are right for what they cover."""
    signer = wire._signer
    signer.create_signers(signer.api_key, signer.private_key, headers.split(), [])


@pytest.fixture
def session_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_an_api_key_is_accepted(wire: Wire) -> None:
    assert wire(*CREATE).status_code == 200
    assert wire(*SEARCH).status_code == 200


def test_the_first_profile_is_valid_for_oci(aidp_emulator: AidpEmulator) -> None:
    config = oci.config.from_file(aidp_emulator.config_file, aidp_emulator.profile)
    oci.config.validate_config(config)


@pytest.mark.parametrize(
    "header", ["", "Bearer abc", 'Signature keyId="a/b/c"', 'Signature headers="date"']
)
def test_what_is_no_signature_is_refused(wire: Wire, header: str) -> None:
    request = wire.signed(*SEARCH)
    request.headers["authorization"] = header
    assert_not_authenticated(wire.send(request), "not an OCI signature")


@pytest.mark.parametrize("part", ['algorithm="hmac-sha256"', 'version="2"'])
def test_another_algorithm_or_version_is_refused(wire: Wire, part: str) -> None:
    request = wire.signed(*SEARCH)
    name = part.partition("=")[0]
    request.headers["authorization"] = re.sub(
        f'{name}="[^"]*"', part, request.headers["authorization"]
    )
    assert_not_authenticated(wire.send(request), "only rsa-sha256 signatures of version 1")


@pytest.mark.parametrize(
    ("request_", "covered", "missing"),
    [
        (SEARCH, "date host", "(request-target)"),
        (SEARCH, "date (request-target)", "host"),
        (SEARCH, "(request-target) host", "neither date nor x-date"),
        (CREATE, "date (request-target) host", "content-length, content-type, x-content-sha256"),
        (CREATE, "date (request-target) host content-length content-type", "x-content-sha256"),
    ],
)
def test_a_signature_must_cover_what_oci_requires(
    wire: Wire, request_: tuple[Any, ...], covered: str, missing: str
) -> None:
    sign_only(wire, covered)
    assert_not_authenticated(wire(*request_), missing)


def test_x_date_stands_in_for_date(wire: Wire) -> None:
    sign_only(wire, "x-date (request-target) host")
    answer = wire(*SEARCH, x_date=formatdate(usegmt=True))
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("date", formatdate(0, usegmt=True), "seconds off"),
        ("date", "yesterday", "not an HTTP date"),
        ("host", "elsewhere", "does not match"),
        ("content-type", "text/plain", "does not match"),
        ("x-content-sha256", "AAAA", "does not match"),
    ],
)
def test_a_signed_header_cannot_be_changed(
    wire: Wire, header: str, value: str, reason: str
) -> None:
    request = wire.signed(*CREATE)
    request.headers[header] = value
    assert_not_authenticated(wire.send(request), reason)


def test_a_signed_header_must_be_there(wire: Wire) -> None:
    request = wire.signed(*CREATE)
    del request.headers["x-content-sha256"]
    assert_not_authenticated(wire.send(request), "x-content-sha256 is not in the request")


def test_the_target_cannot_be_changed(wire: Wire) -> None:
    request = wire.signed(*SEARCH)
    assert request.url is not None
    request.url = request.url.replace("mine", "yours")
    assert_not_authenticated(wire.send(request), "does not match")


def test_the_signature_itself_must_be_base64(wire: Wire) -> None:
    request = wire.signed(*SEARCH)
    request.headers["authorization"] = re.sub(
        'signature="[^"]*"', 'signature="?"', request.headers["authorization"]
    )
    assert_not_authenticated(wire.send(request), "does not match")


def test_the_body_cannot_be_changed(wire: Wire) -> None:
    request = wire.signed(*CREATE)
    request.body = str(request.body).replace("mine", "ours")
    assert_not_authenticated(wire.send(request), "not the hash of the body")


def test_the_target_is_verified_as_it_was_sent(wire: Wire) -> None:
    answer = wire("GET", "experiments/get-by-name?experiment_name=a%2Fb%20%C3%BC+%2b")
    assert answer.status_code == 404
    assert "'a/b ü +'" in answer.json()["message"]


@pytest.mark.parametrize(("seconds", "status"), [(299, 404), (-299, 404), (301, 401), (-301, 401)])
def test_the_clock_may_be_five_minutes_off(seconds: int, status: int) -> None:
    now = time.time()
    with AidpEmulator(clock=lambda: now + seconds) as emulator:
        answer = Wire(emulator)(*SEARCH, date=formatdate(now, usegmt=True))
        assert answer.status_code == status
        assert answer.headers["date"] == formatdate(now + seconds, usegmt=True)


def test_a_key_of_another_emulator_is_refused(wire: Wire) -> None:
    with AidpEmulator() as other:
        stranger = Wire.api_key_signer(other.config_file, other.profile)
    wire._signer = stranger
    assert_not_authenticated(wire(*SEARCH), "no API key of this emulator")


def test_a_further_user_signs_with_an_encrypted_key(aidp_emulator: AidpEmulator) -> None:
    user_id = aidp_emulator.add_user("ada", passphrase="correct horse")
    config = oci.config.from_file(aidp_emulator.config_file, "ada")
    assert config["user"] == user_id
    assert config["pass_phrase"] == "correct horse"
    key_file = Path(config["key_file"])
    assert b"ENCRYPTED" in key_file.read_bytes()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    sdk = Sdk(aidp_emulator, config=config)
    sdk.create_experiment(m.CreateExperimentDetails(name="hers"))
    assert [record.principal for record in aidp_emulator.audit()] == ["ada"]


def test_a_user_is_added_once(aidp_emulator: AidpEmulator) -> None:
    with pytest.raises(ValueError, match="has a user 'EMULATOR' already"):
        aidp_emulator.add_user("EMULATOR")


def test_a_security_token_is_accepted(
    aidp_emulator: AidpEmulator, session_key: rsa.RSAPrivateKey
) -> None:
    token = aidp_emulator.issue_token(public_pem(session_key).decode())
    container = SecurityTokenContainer(None, token)
    assert container.valid()
    assert container.valid_with_half_expiration_time()
    claims = container.get_jwt()
    config = oci.config.from_file(aidp_emulator.config_file, aidp_emulator.profile)
    assert claims["sub"] == config["user"]
    assert claims["tenant"] == claims["res_tenant"] == config["tenancy"]
    assert claims["res_compartment"] == config["tenancy"]
    assert json.loads(claims["jwk"])["kty"] == "RSA"
    sdk = Sdk(aidp_emulator, config={}, signer=SecurityTokenSigner(token, session_key))
    sdk.create_experiment(m.CreateExperimentDetails(name="mine"))
    assert [record.principal for record in aidp_emulator.audit()] == [aidp_emulator.profile]


def test_a_resource_is_its_own_principal(
    aidp_emulator: AidpEmulator, session_key: rsa.RSAPrivateKey
) -> None:
    resource = "ocid1.instance.oc1.iad.abc"
    token = aidp_emulator.issue_token(public_pem(session_key), subject=resource)
    Wire(aidp_emulator, SecurityTokenSigner(token, session_key))(*CREATE)
    assert [record.principal for record in aidp_emulator.audit()] == [resource]


def test_a_token_expires(session_key: rsa.RSAPrivateKey) -> None:
    now = time.time()
    ahead = 0.0
    with AidpEmulator(clock=lambda: now + ahead) as emulator:
        token = emulator.issue_token(public_pem(session_key), lifetime_seconds=60)
        wire = Wire(emulator, SecurityTokenSigner(token, session_key))
        assert wire(*CREATE).status_code == 200
        ahead = 61.0
        assert_not_authenticated(wire(*CREATE), "has expired")


def test_a_token_of_another_issuer_is_refused(
    aidp_emulator: AidpEmulator, session_key: rsa.RSAPrivateKey
) -> None:
    genuine = aidp_emulator.issue_token(public_pem(session_key))
    claims = jwt.decode(genuine, options={"verify_signature": False})
    forged = jwt.encode(claims, session_key, algorithm="RS256")
    wire = Wire(aidp_emulator, SecurityTokenSigner(forged, session_key))
    assert_not_authenticated(wire(*CREATE), "no security token of this emulator")


def test_a_token_is_of_no_use_without_its_key(
    aidp_emulator: AidpEmulator, session_key: rsa.RSAPrivateKey
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = aidp_emulator.issue_token(public_pem(session_key))
    wire = Wire(aidp_emulator, SecurityTokenSigner(token, other))
    assert_not_authenticated(wire(*CREATE), "does not match")


def test_a_token_needs_an_rsa_key(aidp_emulator: AidpEmulator) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ValueError, match="RSA public key"):
        aidp_emulator.issue_token(public_pem(key))
