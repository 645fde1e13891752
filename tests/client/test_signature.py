"""Our signatures, byte for byte against those of ``oci.signer``."""

from __future__ import annotations

import string
import time
from collections.abc import Callable
from unittest import mock

import oci.signer
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_oci_store.client.auth import Credentials
from mlflow_oci_store.client.signature import body_headers, sign

from .conftest import ApiKey

EPOCH_TO_9999 = st.floats(0, 253402300799)
HOSTS = st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,4}(:[1-9][0-9]{0,3})?", fullmatch=True)
UNRESERVED = string.ascii_letters + string.digits + "-._~"
ENCODED = st.lists(st.sampled_from([*UNRESERVED, "%2F", "%C3%9F", "%20"]), min_size=1).map("".join)
# A dot segment would be resolved by the library that the reference sends with.
PATHS = st.lists(ENCODED.filter(lambda it: it.strip(".")), min_size=1).map(
    lambda it: f"/{'/'.join(it)}"
)
QUERIES = st.lists(st.tuples(ENCODED, ENCODED).map("=".join)).map("&".join)
TARGETS = st.tuples(PATHS, QUERIES).map(lambda it: "?".join(part for part in it if part))

for_each_example = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def reference(
    signer: Callable[[requests.PreparedRequest], requests.PreparedRequest],
    method: str,
    host: str,
    target: str,
    body: bytes | None,
) -> dict[str, str]:
    """The headers that OCI's signer adds to a request."""
    request = requests.Request(method, f"https://{host}{target}", data=body).prepare()
    assert request.path_url == target
    return {name.lower(): value for name, value in signer(request).headers.items()}


@pytest.fixture
def credentials(api_key: ApiKey) -> Credentials:
    return Credentials(api_key.signer.api_key, api_key.private_key, {})


@for_each_example
@given(host=HOSTS, target=TARGETS, now=EPOCH_TO_9999)
def test_a_get_is_signed_as_ocis_signer_signs_it(
    api_key: ApiKey, credentials: Credentials, host: str, target: str, now: float
) -> None:
    with mock.patch.object(time, "time", return_value=now):
        ours = sign(credentials, "GET", target, host, body_headers(None))
        theirs = reference(api_key.signer, "GET", host, target, None)

    assert ours == {name: theirs[name] for name in ("date", "host", "authorization")}


@for_each_example
@given(host=HOSTS, target=TARGETS, body=st.binary(min_size=1), now=EPOCH_TO_9999)
def test_a_post_is_signed_as_ocis_signer_signs_it(
    api_key: ApiKey, credentials: Credentials, host: str, target: str, body: bytes, now: float
) -> None:
    with mock.patch.object(time, "time", return_value=now):
        ours = sign(credentials, "POST", target, host, body_headers(body))
        theirs = reference(api_key.signer, "POST", host, target, body)

    covered = ("date", "host", "content-length", "content-type", "x-content-sha256")
    assert ours == {name: theirs[name] for name in (*covered, "authorization")}


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"{}")])
def test_a_delegation_token_is_sent_and_signed_as_ocis_signer_does(
    api_key: ApiKey, method: str, body: bytes | None
) -> None:
    # As in oci.auth.signers.InstancePrincipalsDelegationTokenSigner, which exists only on OCI.
    signer = oci.signer.AbstractBaseSigner()
    signer.create_signers(
        "ST$token",
        api_key.private_key,
        ["date", "(request-target)", "host", "opc-obo-token"],
        ["content-length", "content-type", "x-content-sha256"],
    )
    credentials = Credentials("ST$token", api_key.private_key, {"opc-obo-token": "delegated"})

    def signed_by_oci(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["opc-obo-token"] = "delegated"
        return signer.do_request_sign(request)

    with mock.patch.object(time, "time", return_value=1_700_000_000.0):
        ours = sign(credentials, method, "/path?a=b", "host", body_headers(body))
        theirs = reference(signed_by_oci, method, "host", "/path?a=b", body)

    assert ours["opc-obo-token"] == "delegated"
    assert ours["authorization"] == theirs["authorization"]
    assert 'headers="date (request-target) host opc-obo-token' in ours["authorization"]


def test_signing_changes_nothing_that_is_used_again_for_the_next_try(
    credentials: Credentials,
) -> None:
    hashed = body_headers(b"{}")
    before = dict(hashed)

    sign(credentials, "POST", "/", "host", hashed)

    assert hashed == before
