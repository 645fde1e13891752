"""Each kind of principal logs and reads through MLflow, and the service knows who it was."""

import time
from urllib.parse import quote

import oci.config
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_oci_store.emulator import AidpEmulator


@pytest.fixture
def caller(emulator):
    """Do some work through MLflow with these options, and return whom the service saw."""

    def call(service=emulator, **options):
        platform_id, workspace_key = service.create_workspace()
        query = "&".join(
            f"{name}={quote(value, safe='')}"
            for name, value in {"endpoint": service.endpoint, **options}.items()
        )
        client = MlflowClient(f"oci-dp://{platform_id}/{workspace_key}?{query}")
        run = client.create_run(client.create_experiment("first"))
        client.log_metric(run.info.run_id, "loss", 0.5)
        assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
        [principal] = {
            record.principal for record in service.audit() if record.workspace_key == workspace_key
        }
        return principal

    return call


def test_api_key(emulator, caller):
    assert caller(config_file=emulator.config_file, profile=emulator.profile) == "EMULATOR"


def test_encrypted_api_key_with_its_passphrase_in_the_profile(emulator, caller):
    emulator.add_user("ENCRYPTED", passphrase="open sesame")
    assert caller(config_file=emulator.config_file, profile="ENCRYPTED") == "ENCRYPTED"


def test_api_key_from_variables_alone(emulator, caller, monkeypatch):
    emulator.add_user("VARIABLES", passphrase="open sesame")
    profile = oci.config.from_file(emulator.config_file, "VARIABLES")
    for variable, entry in (
        ("USER", "user"),
        ("TENANCY", "tenancy"),
        ("FINGERPRINT", "fingerprint"),
        ("PASSPHRASE", "pass_phrase"),
    ):
        monkeypatch.setenv(f"OCI_CLI_{variable}", profile[entry])
    with open(profile["key_file"]) as file:
        monkeypatch.setenv("OCI_CLI_KEY_CONTENT", file.read())
    assert caller() == "VARIABLES"


def test_session_token(caller, write_session):
    write_session()
    assert caller() == "EMULATOR"


def test_session_token_with_an_encrypted_key(caller, write_session, write_key, write_profile, home):
    write_session("PLAIN")
    write_profile(
        "ENCRYPTED",
        security_token_file=home / "token",
        key_file=write_key("encrypted.pem", passphrase="open sesame"),
        pass_phrase="open sesame",
    )
    assert caller(profile="ENCRYPTED") == "EMULATOR"


@pytest.mark.parametrize("kept_in", ["variables", "files"])
def test_resource_principal(
    kept_in, emulator, caller, private_key_pem, public_key_pem, home, monkeypatch
):
    secrets = {
        "OCI_RESOURCE_PRINCIPAL_RPST": emulator.issue_token(
            public_key_pem, subject="ocid1.datasciencenotebook.oc1.iad.a"
        ),
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": private_key_pem.decode(),
    }
    for name, content in secrets.items():
        path = home / name
        path.write_text(content)
        monkeypatch.setenv(name, content if kept_in == "variables" else str(path))
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
    monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_REGION", "us-ashburn-1")
    assert caller() == "ocid1.datasciencenotebook.oc1.iad.a"


def test_instance_principal(caller, instance):
    assert caller(auth="instance_principal") == "ocid1.instance.oc1.iad.a"
    assert instance.grants == 1


def test_delegation_token(caller, instance, home, write_profile):
    (home / "delegation").write_text("on-behalf-of-ann")
    write_profile(
        authentication_type="instance_principal", delegation_token_file=home / "delegation"
    )
    assert caller() == "ocid1.instance.oc1.iad.a"


class Clock:
    """The service's clock, which may be ahead of ours."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


def test_a_token_that_only_the_service_takes_for_expired_is_renewed_without_a_word(
    caller, instance, authenticator
):
    clock = Clock()
    with AidpEmulator(clock=clock) as service:

        def grant(public_key_pem):
            token = service.issue_token(
                public_key_pem, lifetime_seconds=100, subject="ocid1.instance.oc1.iad.a"
            )
            # The next request finds the token of the first grant expired, but not of the second.
            clock.ahead = 150
            return token

        instance.grant = grant
        assert caller(service, auth="instance_principal") == "ocid1.instance.oc1.iad.a"
    assert instance.grants == 2


def test_an_expired_session_is_an_error_that_says_how_to_get_a_new_one(caller, write_session):
    write_session("WORK", lifetime_seconds=-1)
    with pytest.raises(MlflowException, match="has expired") as caught:
        caller(profile="WORK")
    assert caught.value.error_code == "UNAUTHENTICATED"
    assert "`oci session authenticate --profile-name WORK --region us-phoenix-1`" in str(
        caught.value
    )


def test_a_key_the_service_does_not_know_is_an_error_that_says_who_signed(
    caller, write_profile, write_key
):
    write_profile(
        user="ocid1.user.oc1..a",
        tenancy="ocid1.tenancy.oc1..a",
        fingerprint=":".join(["00"] * 16),
        key_file=write_key(),
    )
    with pytest.raises(MlflowException, match=r"api_key \(profile DEFAULT in ~/.oci/config\)"):
        caller()


def test_a_client_can_be_made_where_nobody_can_sign_and_the_first_call_says_so(emulator):
    client = MlflowClient(f"oci-dp://{emulator.platform_id}/ws?endpoint={emulator.endpoint}")
    with pytest.raises(MlflowException, match="Nothing says who signs") as caught:
        client.search_experiments()
    assert caught.value.error_code == "UNAUTHENTICATED"


def test_a_region_that_only_the_profile_knows_makes_the_endpoint(write_profile, write_key):
    write_profile(
        user="ocid1.user.oc1..a",
        tenancy="ocid1.tenancy.oc1..a",
        fingerprint=":".join(["00"] * 16),
        key_file=write_key(),
        region="not.a.region",
    )
    client = MlflowClient("oci-dp://ocid1.aidataplatform.oc1..aaaa/ws")
    with pytest.raises(MlflowException, match=r"region 'not\.a\.region', from the OCI profile"):
        client.search_experiments()
