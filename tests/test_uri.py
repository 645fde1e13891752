"""The tracking URI: what is read out of one, and what is refused."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_oci_store.uri import OPTIONS, TrackingUri

PLATFORM = "ocid1.aidataplatform.oc1.iad.amaaaaaaXYZ0123456789abcDEF"

# What a URI can hold once it is encoded: no lone surrogates, which UTF-8 lacks.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_takes_platform_workspace_and_options_apart():
    uri = TrackingUri.parse(f"oci-dp://{PLATFORM}/ws-1?profile=ME&region=us-ashburn-1")
    assert uri == TrackingUri(PLATFORM, "ws-1", {"profile": "ME", "region": "us-ashburn-1"})


@pytest.mark.parametrize("uri", ["oci-dp:", "oci-dp://", "oci-dp:///", "OCI-DP://"])
def test_both_parts_may_be_left_to_the_environment(uri):
    assert TrackingUri.parse(uri) == TrackingUri(None, None, {})


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("oci-dp:///?profile=ME", TrackingUri(None, None, {"profile": "ME"})),
        ("oci-dp://?profile=ME", TrackingUri(None, None, {"profile": "ME"})),
        ("oci-dp:///ws-1", TrackingUri(None, "ws-1", {})),
        (f"oci-dp://{PLATFORM}", TrackingUri(PLATFORM, None, {})),
        (f"oci-dp://{PLATFORM}/", TrackingUri(PLATFORM, None, {})),
        (f"oci-dp://{PLATFORM}/ws-1/", TrackingUri(PLATFORM, "ws-1", {})),
    ],
)
def test_either_part_may_be_left_to_the_environment(uri, expected):
    assert TrackingUri.parse(uri) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/a%20b/config", "/home/a b/config"),
        ("/home/a b/config", "/home/a b/config"),
        ("/home/a+b/config", "/home/a+b/config"),
        ("/home/a=b/config", "/home/a=b/config"),
        ("/home/%C3%A9t%C3%A9", "/home/été"),
        ("/home/été", "/home/été"),
    ],
)
def test_an_option_is_decoded_as_a_path_needs_it(value, expected):
    uri = TrackingUri.parse(f"oci-dp://?config_file={value}")
    assert uri.options == {"config_file": expected}


@given(
    workspace=texts,
    options=st.dictionaries(st.sampled_from(OPTIONS), texts),
)
@example(workspace="a/b?c#d%e&f=g+h", options={"profile": "a/b?c#d%e&f=g+h"})
def test_whatever_is_encoded_comes_back_the_same(workspace, options):
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    uri = TrackingUri.parse(f"oci-dp://{PLATFORM}/{quote(workspace, safe='')}?{query}".rstrip("?"))
    assert uri == TrackingUri(PLATFORM, workspace, options)


@given(st.text() | st.text().map(lambda text: f"oci-dp://{text}"))
@example("oci-dp://[::1]/ws")
@example("oci-dp://℀/ws")
@example("oci-dp://[x")
def test_any_text_is_either_read_or_refused(text):
    try:
        uri = TrackingUri.parse(text)
    except MlflowException as error:
        outcome = error.error_code
    else:
        outcome = set(uri.options) <= set(OPTIONS)
    assert outcome in (True, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        (f"http://{PLATFORM}/ws", "it has another scheme"),
        (f"oci-dp://user:secret@{PLATFORM}/ws", "it carries user info; remove it"),
        (f"oci-dp://{PLATFORM}:443/ws", r"write \?endpoint=https://<host>:<port> instead"),
        (f"oci-dp://{PLATFORM}/a/b", "write '/' inside a key as %2F"),
        ("oci-dp:ws", "a single workspace key follows the platform"),
        (f"oci-dp://{PLATFORM}/ws#part", "write '#' inside a value as %23"),
        (f"oci-dp://{PLATFORM}/ws#", "it has a fragment"),
        (f"oci-dp://{PLATFORM}/50%", "'%' stands for itself only when written as %25"),
        (f"oci-dp://{PLATFORM}/%ff", "percent-encoded text must be UTF-8"),
        (f"oci-dp://{PLATFORM}/ws?profile=%ff", "in UTF-8"),
        (f"oci-dp://{PLATFORM}/ws\n", "it contains control characters"),
        (f"oci-dp://{PLATFORM}/w\ts", "it contains control characters"),
        (f" oci-dp://{PLATFORM}/ws", "begins or ends with a space"),
        ("oci-dp://[::1/ws", "its first part is not an OCID"),
        (f"oci-dp://{PLATFORM}/ws?profil=ME", "no option 'profil'; did you mean 'profile'?"),
        (f"oci-dp://{PLATFORM}/ws?Region=x", "no option 'Region'; did you mean 'region'?"),
        (f"oci-dp://{PLATFORM}/ws?zzz=1", "no option 'zzz'; known are profile, config_file, auth"),
        (f"oci-dp://{PLATFORM}/ws?profile=A&profile=B", "'profile' is given twice; keep one"),
        (f"oci-dp://{PLATFORM}/ws?profile=", "'profile' is empty; give it a value"),
        (f"oci-dp://{PLATFORM}/ws?profile", r"options are written \?name=value&name=value"),
        (f"oci-dp://{PLATFORM}/ws?profile=A&", r"options are written \?name=value&name=value"),
    ],
)
def test_a_refusal_says_what_to_write_instead(uri, sentence):
    with pytest.raises(MlflowException, match=sentence) as caught:
        TrackingUri.parse(uri)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "oci-dp://<ai-data-platform-ocid>/<workspace-key>" in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        f"oci-dp://user:hunter2@{PLATFORM}/ws",
        f"oci-dp://{PLATFORM}/ws?pass_phrase=hunter2",
        f"oci-dp://{PLATFORM}/ws?profile=hunter2&profile=hunter2",
    ],
)
def test_a_refusal_repeats_no_secret(uri):
    with pytest.raises(MlflowException) as caught:
        TrackingUri.parse(uri)
    assert "hunter2" not in str(caught.value)


def test_mlflow_hands_the_uri_on_unchanged(aidp_emulator):
    place = ("ocid1.aidataplatform.oc1.iad.MixedCase", "Mixed Case/Key")
    aidp_emulator.create_workspace(*place)
    client = MlflowClient(aidp_emulator.uri_of(*place))
    experiment_id = client.create_experiment("first")
    assert client.get_experiment(experiment_id).name == "first"
    [record] = aidp_emulator.audit()
    assert (record.platform_id, record.workspace_key) == place
