"""Who signs: what ``auto`` comes to, and how every fault of a key or token is explained."""

import oci.auth.signers
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from mlflow.exceptions import MlflowException

API_KEY = {
    "user": "ocid1.user.oc1..a",
    "tenancy": "ocid1.tenancy.oc1..a",
    "fingerprint": ":".join(["00"] * 16),
}
SECRET = "hunter2"


@pytest.fixture
def refusal(authenticator):
    def refused(error_code="INVALID_PARAMETER_VALUE", **options):
        with pytest.raises(MlflowException) as caught:
            authenticator(**options).credentials()
        assert caught.value.error_code == error_code
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert SECRET not in str(caught.value)
        return str(caught.value)

    return refused


@pytest.fixture
def oci_makes(monkeypatch, write_key):
    """Let a factory of OCI's make a signer that needs no network, and note how it was called."""
    calls = []

    def patch(name):
        def make(**arguments):
            calls.append((name, arguments))
            signer = oci.signer.Signer(*API_KEY.values(), write_key())
            for argument, value in arguments.items():
                setattr(signer, argument, value)
            return signer

        monkeypatch.setattr(oci.auth.signers, name, make)
        return calls

    return patch


# --- auto -----------------------------------------------------------------------------------------


def test_auto_takes_the_key_of_the_profile(authenticator, write_profile, write_key):
    write_profile(**API_KEY, key_file=write_key())
    found = authenticator()
    assert found.credentials().key_id == (
        "ocid1.tenancy.oc1..a/ocid1.user.oc1..a/" + API_KEY["fingerprint"]
    )
    assert found.description == "api_key (profile DEFAULT in ~/.oci/config)"


def test_auto_prefers_the_session_over_the_key_of_the_profile(
    authenticator, write_session, write_profile, home, write_key
):
    token = write_session("WORK")
    write_profile("DEFAULT", **API_KEY)
    found = authenticator(profile="WORK")
    assert found.credentials().key_id == f"ST${token}"
    assert found.description == "security_token (profile WORK in ~/.oci/config)"


def test_auto_prefers_the_profile_over_a_resource_principal(
    authenticator, write_session, monkeypatch
):
    write_session()
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
    assert authenticator().credentials().key_id.startswith("ST$")


@pytest.mark.parametrize(
    ("entries", "environ", "factory"),
    [
        (
            {"authentication_type": "instance_principal"},
            {},
            "InstancePrincipalsSecurityTokenSigner",
        ),
        ({"authentication_type": "resource_principal"}, {}, "get_resource_principals_signer"),
        (
            {"region": "us-ashburn-1"},
            {"OCI_RESOURCE_PRINCIPAL_VERSION": "2.2"},
            "get_resource_principals_signer",
        ),
        (
            {},
            {
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "OCI_RESOURCE_PRINCIPAL_REGION": "us-ashburn-1",
                "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
            },
            "get_oke_workload_identity_resource_principal_signer",
        ),
        (
            {},
            {
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "OCI_RESOURCE_PRINCIPAL_REGION": "us-ashburn-1",
                "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
                "OCI_RESOURCE_PRINCIPAL_RPST": "a.b.c",
            },
            "get_resource_principals_signer",
        ),
    ],
)
def test_auto_finds_principals_without_a_key(
    entries, environ, factory, authenticator, write_profile, oci_makes, monkeypatch
):
    write_profile(**entries)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    calls = oci_makes(factory)
    authenticator().credentials()
    assert calls == [(factory, {})]


def test_auto_never_asks_the_metadata_service_unasked(refusal, instance):
    message = refusal("UNAUTHENTICATED")
    assert "add ?auth=instance_principal to the tracking URI" in message
    assert instance.grants == 0


def test_an_unknown_authentication_type_is_refused(refusal, write_profile):
    write_profile(authentication_type="magic")
    assert "write one of api_key, security_token, delegation_token" in refusal()


# --- principals that are told apart by the factory of OCI's that makes them -----------------------


@pytest.mark.parametrize(
    ("kind", "factory"),
    [
        ("instance_principal", "InstancePrincipalsSecurityTokenSigner"),
        ("resource_principal", "get_resource_principals_signer"),
        ("oke_workload_identity", "get_oke_workload_identity_resource_principal_signer"),
    ],
)
def test_a_principal_without_a_key_reads_no_profile(kind, factory, authenticator, oci_makes):
    calls = oci_makes(factory)
    found = authenticator(auth=kind, profile="NOWHERE")
    assert found.credentials().headers == {}
    assert found.description == kind
    assert calls == [(factory, {})]


@pytest.mark.parametrize(
    ("environ", "factory"),
    [
        ({}, "InstancePrincipalsDelegationTokenSigner"),
        (
            {"OCI_RESOURCE_PRINCIPAL_VERSION": "2.2"},
            "get_resource_principal_delegation_token_signer",
        ),
    ],
)
def test_a_delegation_token_goes_with_the_principal_of_the_machine(
    environ, factory, authenticator, write_profile, oci_makes, home, monkeypatch
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (home / "delegation").write_text("on-behalf-of-ann\n")
    write_profile(delegation_token_file="~/delegation", region="us-phoenix-1")
    calls = oci_makes(factory)
    found = authenticator(auth="delegation_token")
    assert found.credentials().headers == {"opc-obo-token": "on-behalf-of-ann"}
    assert found.region == "us-phoenix-1"
    assert calls == [(factory, {"delegation_token": "on-behalf-of-ann"})]


def test_a_rewritten_delegation_token_is_used(authenticator, write_profile, oci_makes, home):
    (home / "delegation").write_text("first")
    write_profile(delegation_token_file="~/delegation")
    oci_makes("InstancePrincipalsDelegationTokenSigner")
    found = authenticator(auth="delegation_token")
    assert found.credentials().headers == {"opc-obo-token": "first"}
    (home / "delegation").write_text("the second")
    assert found.credentials().headers == {"opc-obo-token": "the second"}


def test_the_region_of_a_resource_principal_is_the_one_it_runs_in(
    authenticator, emulator, private_key_pem, public_key_pem, monkeypatch
):
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_RPST", emulator.issue_token(public_key_pem))
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", private_key_pem.decode())
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_REGION", "fra")
    assert authenticator().region == "eu-frankfurt-1"


# --- faults ---------------------------------------------------------------------------------------


def test_without_any_profile_an_api_key_is_refused(refusal):
    message = refusal(auth="api_key")
    assert "Profile DEFAULT cannot be read: the file ~/.oci/config does not exist" in message
    assert "Make one with `oci setup config`" in message


def test_missing_and_malformed_entries_of_an_api_key_are_named(refusal, write_profile, write_key):
    write_profile(user=SECRET, fingerprint="aa", key_file=write_key())
    assert "fingerprint is malformed, tenancy is missing, user is malformed" in refusal()


@pytest.mark.parametrize(
    ("passphrase", "entries", "reason"),
    [
        ("open sesame", {}, "it is encrypted; add pass_phrase to the profile"),
        ("open sesame", {"pass_phrase": SECRET}, "pass_phrase is wrong"),
        ("open sesame", {"pass_phrase": f"{SECRET}é"}, "it is no RSA private key"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_explained(
    passphrase, entries, reason, refusal, write_profile, write_key, home
):
    write_profile(**API_KEY, **entries, key_file=write_key(passphrase=passphrase))
    message = refusal()
    assert f"The private key {home}/key.pem of profile DEFAULT in ~/.oci/config" in message
    assert reason in message


def test_a_passphrase_that_is_not_needed_does_no_harm(authenticator, write_profile, write_key):
    write_profile(**API_KEY, pass_phrase=SECRET, key_file=write_key())
    assert authenticator().credentials().key_id.startswith("ocid1.tenancy.oc1..a/")


@pytest.mark.parametrize("auth", ["api_key", "security_token"])
@pytest.mark.parametrize("content", ["public", "text", "empty"])
def test_a_file_that_is_no_private_key_is_refused(
    auth, content, refusal, write_session, write_profile, public_key_pem, home
):
    write_session()
    write_profile("ME", **API_KEY, key_file=home / "session.pem")
    contents = {"public": public_key_pem, "text": SECRET.encode(), "empty": b""}
    (home / "session.pem").write_bytes(contents[content])
    message = refusal(auth=auth, profile="ME")
    assert f"The private key {home}/session.pem of profile ME in ~/.oci/config" in message
    assert "it is no private key in PEM format" in message


def test_a_key_that_is_not_rsa_is_refused(refusal, write_profile, write_key):
    key_file = write_key(key=ec.generate_private_key(ec.SECP256R1()))
    write_profile(**API_KEY, key_file=key_file)
    assert "it is no RSA private key in PEM format" in refusal()


def test_a_key_from_a_variable_is_refused_by_the_name_of_the_variable(refusal, monkeypatch):
    for entry, value in API_KEY.items():
        monkeypatch.setenv(f"OCI_CLI_{entry.upper()}", value)
    monkeypatch.setenv("OCI_CLI_KEY_CONTENT", SECRET)
    message = refusal()
    assert "The private key OCI_CLI_KEY_CONTENT of profile DEFAULT" in message


def test_a_key_file_that_only_a_variable_names_must_exist(refusal, monkeypatch):
    for entry, value in API_KEY.items():
        monkeypatch.setenv(f"OCI_CLI_{entry.upper()}", value)
    monkeypatch.setenv("OCI_CLI_KEY_FILE", "/no/key.pem")
    message = refusal()
    assert "/no/key.pem" in message
    assert "it cannot be read (No such file or directory); correct key_file" in message


def test_a_session_without_a_key_is_refused(refusal, write_profile, home):
    (home / "token").write_text("a.b.c")
    write_profile(security_token_file="~/token")
    assert "There is no key_file in profile DEFAULT in ~/.oci/config: add it" in refusal()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "is empty"),
        (f"{SECRET}é", "holds no token"),
        (SECRET, "is no JSON web token"),
    ],
)
def test_a_session_token_that_is_none_is_refused(
    content, reason, refusal, write_session, write_profile, home
):
    write_session("WORK")
    (home / "token").unlink()
    if content is not None:
        (home / "token").write_text(content, encoding="utf-8")
    message = refusal("UNAUTHENTICATED", profile="WORK")
    assert reason in message
    assert f"{home}/token" in message
    assert "profile WORK in ~/.oci/config" in message
    assert "run `oci session authenticate --profile-name WORK --region us-phoenix-1`" in message


def test_an_expired_resource_principal_is_refused_before_it_is_sent(
    refusal, emulator, private_key_pem, public_key_pem, monkeypatch
):
    token = emulator.issue_token(public_key_pem, lifetime_seconds=-1)
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_RPST", token)
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", private_key_pem.decode())
    message = refusal("UNAUTHENTICATED")
    assert "The token of resource_principal has expired" in message
    assert token not in message


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "OCI_RESOURCE_PRINCIPAL_VERSION is not defined"),
        ({"OCI_RESOURCE_PRINCIPAL_VERSION": "9"}, "Unsupported OCI_RESOURCE_PRINCIPAL_VERSION: 9"),
        ({"OCI_RESOURCE_PRINCIPAL_VERSION": "2.2"}, "session_token was not provided"),
        (
            {
                "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
                "OCI_RESOURCE_PRINCIPAL_RPST": SECRET,
                "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": SECRET,
            },
            "InvalidPrivateKey",
        ),
        (
            {
                "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
                "OCI_RESOURCE_PRINCIPAL_RPST": "/no/token",
                "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": "/no/key.pem",
            },
            "No such file or directory: '/no/key.pem'",
        ),
    ],
)
def test_a_resource_principal_that_is_not_set_up_is_explained(
    environ, reason, refusal, monkeypatch
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    message = refusal("UNAUTHENTICATED", auth="resource_principal")
    assert reason in message
    assert "OCI gave no token to resource_principal" in message


def test_a_resource_principal_whose_token_is_none_is_explained(
    refusal, private_key_pem, monkeypatch
):
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_RPST", SECRET)
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", private_key_pem.decode())
    assert "(DecodeError)" in refusal("UNAUTHENTICATED", auth="resource_principal")


def test_an_instance_that_is_refused_a_token_is_told_the_answer(refusal, instance):
    instance.tenancy_id = "another"
    message = refusal("UNAUTHENTICATED", auth="instance_principal")
    assert (
        "OCI gave no token to instance_principal (the answer was 401 NotAuthenticated)" in message
    )


def test_metadata_that_is_no_certificate_is_not_repeated(refusal, instance):
    instance.metadata["/opc/v2/identity/cert.pem"] = SECRET.encode()
    message = refusal("UNAUTHENTICATED", auth="instance_principal")
    assert "(InvalidCertificateFromInstanceMetadataError)" in message
