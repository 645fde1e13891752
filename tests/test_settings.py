"""Settings: where each value comes from, and what is refused."""

import dataclasses
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from mlflow_oci_store.settings import AUTH_KINDS, Settings, default_endpoint
from mlflow_oci_store.uri import OPTIONS

PLATFORM = "ocid1.aidataplatform.oc1.iad.amaaaaaaXYZ0123456789abcDEF"
URI = f"oci-dp://{PLATFORM}/ws-1"


def settings(query="", /, **environ):
    return Settings.from_uri(URI + (query and f"?{query}"), environ)


def refusal(uri, environ):
    with pytest.raises(MlflowException) as caught:
        Settings.from_uri(uri, environ)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    return str(caught.value)


def test_a_bare_uri_is_enough():
    assert settings() == Settings(
        platform_id=PLATFORM,
        workspace_key="ws-1",
        api_version="20260430",
        auth="auto",
        config_file="~/.oci/config",
        profile="DEFAULT",
        region="us-ashburn-1",
        endpoint=None,
        object_storage_endpoint=None,
        user_principal=None,
        max_retries=7,
        backoff_factor=2.0,
        backoff_jitter=1.0,
        timeout=120.0,
        deadline=300.0,
        reserved_tags="hidden",
        on_outage="raise",
        outbox_dir=os.path.expanduser("~/.local/state/mlflow-oci-store/outbox"),
        outbox_sync="normal",
        outbox_exit_seconds=30.0,
        verify=True,
        client_cert=None,
    )


def test_the_outbox_is_where_xdg_puts_state():
    here = settings(XDG_STATE_HOME="/var/state").outbox_dir
    assert here == "/var/state/mlflow-oci-store/outbox"
    # The specification has relative paths ignored.
    assert settings(XDG_STATE_HOME="state").outbox_dir == settings().outbox_dir
    assert settings("outbox_dir=~/box").outbox_dir == os.path.expanduser("~/box")
    assert "absolute path" in refusal(f"{URI}?outbox_dir=box", {})


# Per option: a value in the URI, in our variable, and in each of theirs.
SOURCES = {
    "profile": ("A", "B", {"OCI_CLI_PROFILE": "C"}),
    "config_file": ("/a", "/b", {"OCI_CLI_CONFIG_FILE": "/c", "OCI_CONFIG_FILE": "/d"}),
    "auth": ("api_key", "security_token", {"OCI_CLI_AUTH": "instance_principal"}),
    "region": ("eu-frankfurt-1", "uk-london-1", {"OCI_CLI_REGION": "ap-tokyo-1"}),
    "endpoint": ("https://a", "https://b:1", {"AIDP_ENDPOINT": "https://c"}),
    "object_storage_endpoint": ("https://a", "https://b:1", {}),
    "api_version": ("20240831", "20250101", {}),
    "user_principal": ("ann", "bob", {}),
    "deadline": ("1.5", "2.5", {}),
    "reserved_tags": ("shown", "hidden", {}),
    "on_outage": ("queue", "raise", {}),
    "outbox_dir": ("/a", "/b", {}),
    "outbox_sync": ("full", "normal", {}),
    "outbox_exit_seconds": ("1.5", "2.5", {}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_the_uri_wins_over_our_variable_and_ours_over_theirs(option):
    in_uri, ours, theirs = SOURCES[option]
    environ = {f"MLFLOW_OCI_DP_{option.upper()}": ours, **theirs}
    expected = [in_uri, ours, *theirs.values()]
    found = [getattr(settings(f"{option}={in_uri}", **environ), option)]
    while environ:
        found.append(getattr(settings(**environ), option))
        environ.pop(next(iter(environ)))
    assert found == [type(found[0])(value) for value in expected]


def test_platform_and_workspace_come_from_the_environment_where_the_uri_leaves_them_out():
    ours = {"MLFLOW_OCI_DP_PLATFORM_ID": PLATFORM, "MLFLOW_OCI_DP_WORKSPACE_KEY": "a/b"}
    theirs = {"AIDP_INSTANCE_ID": PLATFORM.replace("iad", "phx")}
    from_environ = Settings.from_uri("oci-dp://", ours | theirs)
    assert (from_environ.platform_id, from_environ.workspace_key) == (PLATFORM, "a/b")
    assert Settings.from_uri("oci-dp:///ws-2", ours).workspace_key == "ws-2"
    del ours["MLFLOW_OCI_DP_PLATFORM_ID"]
    assert Settings.from_uri("oci-dp://", ours | theirs).region == "us-phoenix-1"
    assert settings(**ours, **theirs) == settings()


def test_without_an_explicit_environment_the_process_has_the_say(monkeypatch):
    monkeypatch.setenv("MLFLOW_OCI_DP_USER_PRINCIPAL", "ann")
    assert Settings.from_uri(URI).user_principal == "ann"


def test_an_empty_variable_counts_as_unset():
    names = [f"MLFLOW_OCI_DP_{option.upper()}" for option in OPTIONS]
    names += ["OCI_CLI_REGION", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_TRACKING_INSECURE_TLS"]
    assert settings(**dict.fromkeys(names, "")) == settings()


@pytest.mark.parametrize(
    ("key", "region", "endpoint"),
    [
        ("iad", "us-ashburn-1", "https://aidp.us-ashburn-1.oci.oraclecloud.com"),
        ("eu-milan-1", "eu-milan-1", "https://aidp.eu-milan-1.oci.oraclecloud.com"),
        ("luf", "us-luke-1", "https://aidp.us-luke-1.oci.oraclegovcloud.com"),
        ("ric", "us-gov-ashburn-1", "https://aidp.us-gov-ashburn-1.oci.oraclegovcloud.com"),
        ("ltn", "uk-gov-london-1", "https://aidp.uk-gov-london-1.oci.oraclegovcloud.uk"),
        ("nja", "ap-chiyoda-1", "https://aidp.ap-chiyoda-1.oci.oraclecloud8.com"),
        ("str", "eu-frankfurt-2", "https://aidp.eu-frankfurt-2.oci.oraclecloud.eu"),
        ("xx-brandnew-1", "xx-brandnew-1", "https://aidp.xx-brandnew-1.oci.oraclecloud.com"),
    ],
)
def test_region_and_endpoint_follow_from_the_ocid_in_every_realm(key, region, endpoint):
    uri = f"oci-dp://ocid1.aidataplatform.oc1.{key}.aaaa/ws"
    found = Settings.from_uri(uri, {}).region
    assert found == region
    assert default_endpoint(found) == endpoint


@pytest.mark.parametrize("key", ["", "zzz"])
def test_an_ocid_without_a_known_region_leaves_it_to_the_principal(key):
    assert Settings.from_uri(f"oci-dp://ocid1.aidataplatform.oc1.{key}.aaaa/ws", {}).region is None


@pytest.mark.parametrize("text", ["phx", "PHX", "US-Phoenix-1"])
def test_a_region_may_be_written_as_oci_lets_it_be_written(text):
    assert settings(f"region={text}").region == "us-phoenix-1"
    assert default_endpoint(text) == "https://aidp.us-phoenix-1.oci.oraclecloud.com"


@pytest.mark.parametrize("region", ["", "evil.example", "a/b", "us-ashburn-1:80"])
def test_a_profile_cannot_lead_to_another_host_by_its_region(region):
    with pytest.raises(MlflowException, match="write the name of a region, as in us-ashburn-1"):
        default_endpoint(region)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://datalake.us-ashburn-1.oci.oraclecloud.com", None),
        ("https://host:8443/", "https://host:8443"),
        ("HTTPS://Host", "https://host"),
        ("datalake.us-ashburn-1.oci.oraclecloud.com:443", None),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_is_taken_in_the_forms_oracles_tools_take(text, endpoint):
    found = settings(f"endpoint={text}").endpoint
    assert found == (endpoint or f"https://{text.removeprefix('https://')}")


@pytest.mark.parametrize("kind", AUTH_KINDS)
def test_every_kind_of_authentication_is_accepted(kind):
    assert settings(f"auth={kind}").auth == kind


def test_cloud_shells_name_for_a_delegation_token_is_understood():
    assert settings(OCI_CLI_AUTH="instance_obo_user").auth == "delegation_token"


def test_http_is_done_as_mlflows_variables_say(tmp_path):
    bundle, certificate = tmp_path / "ca.pem", tmp_path / "client.pem"
    bundle.touch()
    certificate.touch()
    found = settings(
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="3",
        MLFLOW_HTTP_REQUEST_BACKOFF_JITTER="0.5",
        MLFLOW_HTTP_REQUEST_TIMEOUT="7",
        MLFLOW_TRACKING_SERVER_CERT_PATH=str(bundle),
        MLFLOW_TRACKING_CLIENT_CERT_PATH=str(certificate),
    )
    assert (found.max_retries, found.backoff_factor) == (0, 3.0)
    assert (found.backoff_jitter, found.timeout) == (0.5, 7.0)
    assert (found.verify, found.client_cert) == (str(bundle), str(certificate))


@pytest.mark.parametrize(
    ("text", "verify"), [("true", False), ("1", False), ("False", True), ("0", True)]
)
def test_certificates_are_checked_unless_mlflow_is_told_not_to(text, verify):
    assert settings(MLFLOW_TRACKING_INSECURE_TLS=text).verify is verify


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("oci-dp://", "No AI Data Platform is named: write oci-dp://<ai-data-platform-ocid>"),
        (f"oci-dp://{PLATFORM}", "No workspace is named: write oci-dp://<ai-data-platform-ocid>"),
        ("oci-dp://my-platform/ws", "write the OCID of an AI Data Platform"),
        (f"oci-dp://{PLATFORM.lower().upper()}/ws", "in the letter case the console shows"),
        ("oci-dp://ocid1.workspace.oc1.iad.aa/ws", "ocid1.aidataplatform.<realm>.<region>."),
        ("oci-dp://ocid1.aidataplatform.oc1/ws", "write the OCID of an AI Data Platform"),
        (f"oci-dp://{PLATFORM}/..", "write the key of a workspace, not a relative path"),
        (f"oci-dp://{PLATFORM}/a%0Ab", "remove control characters and outer spaces"),
        (f"{URI}?auth=apikey", "write one of auto, api_key, security_token, instance_principal"),
        (f"{URI}?region=us_ashburn_1", "write the name of a region, as in us-ashburn-1"),
        (f"{URI}?api_version=2026-04-30", "write a date of eight digits, as in 20260430"),
        (f"{URI}?reserved_tags=yes", "write one of hidden, shown"),
        (f"{URI}?on_outage=ignore", "write one of raise, queue"),
        (f"{URI}?outbox_sync=off", "write one of normal, full"),
        (f"{URI}?outbox_exit_seconds=-1", "write a number of seconds, 0 or more"),
        (f"{URI}?deadline=soon", "write a number of seconds above 0"),
        (f"{URI}?deadline=0", "write a number of seconds above 0"),
        (f"{URI}?deadline=inf", "write a number of seconds above 0"),
        (f"{URI}?user_principal=%C3%A9", "write it in ASCII"),
        (f"{URI}?user_principal=a%0D%0Ab", "remove control characters"),
        (f"{URI}?profile=%20a", "remove control characters and outer spaces"),
        (f"{URI}?endpoint=http://example.com", "write https://, since http is for loopback only"),
        (f"{URI}?endpoint=HTTP://example.com", "write https://, since http is for loopback only"),
        (f"{URI}?endpoint=http://127.0.0.1.example.com", "http is for loopback only"),
        (f"{URI}?endpoint=ftp://example.com", "write https://<host> or https://<host>:<port>"),
        (f"{URI}?endpoint=https://example.com/v1", "and no path"),
        (f"{URI}?endpoint=https://example.com?a=b", "and no path"),
        (f"{URI}?endpoint=https://example.com:0", "write https://<host> or https://<host>:<port>"),
        (f"{URI}?endpoint=https://example.com:65536", "write https://<host> or"),
        (f"{URI}?endpoint=https://", "write https://<host> or https://<host>:<port>"),
        (f"{URI}?endpoint=https://user:hunter2@example.com", "remove the user info"),
    ],
)
def test_a_refusal_says_what_to_write_instead(uri, sentence):
    message = refusal(uri, {})
    assert sentence in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("MLFLOW_OCI_DP_AUTH", "none", "write one of auto, api_key"),
        ("OCI_CLI_AUTH", "none", "write one of auto, api_key"),
        ("AIDP_ENDPOINT", "http://example.com", "http is for loopback only"),
        ("OCI_CLI_REGION", "a b", "write the name of a region"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "0", "write a number of seconds above 0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon", "write a whole number, 0 or more"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "-1", "write a whole number, 0 or more"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "nan", "write a number, 0 or more"),
        ("MLFLOW_TRACKING_INSECURE_TLS", "yes", "write true or false"),
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", "/no/ca.pem", "write the path of a file that exists"),
        ("MLFLOW_TRACKING_CLIENT_CERT_PATH", "/no/c.pem", "write the path of a file that exists"),
    ],
)
def test_a_refusal_names_the_variable(variable, text, sentence):
    message = refusal(URI, {variable: text})
    assert variable in message
    assert text in message
    assert sentence in message


def test_an_unchecked_connection_with_a_ca_bundle_is_refused_as_mlflow_refuses_it(tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    environ = {
        "MLFLOW_TRACKING_INSECURE_TLS": "true",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(bundle),
    }
    assert "contradict each other: unset one" in refusal(URI, environ)


@given(
    st.dictionaries(
        st.sampled_from([f"MLFLOW_OCI_DP_{option.upper()}" for option in OPTIONS]), st.text()
    )
)
def test_any_environment_is_either_read_or_refused(environ):
    try:
        found = Settings.from_uri(URI, environ)
    except MlflowException as error:
        outcome = error.error_code
    else:
        outcome = found.platform_id
    assert outcome in (PLATFORM, "INVALID_PARAMETER_VALUE")


def test_settings_do_not_change_and_travel_between_processes():
    found = settings("profile=ME")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.profile = "YOU"
    assert pickle.loads(pickle.dumps(found)) == found
