"""The OCI profile: what is taken out of it, and how its faults are explained."""

import builtins
import errno
import os

import pytest
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.profile import read_profile
from mlflow_oci_store.settings import Settings

SECRET = "hunter2"


def read(query=""):
    return read_profile(Settings.from_uri(f"oci-dp://ocid1.aidataplatform.oc1..aaaa/ws?{query}"))


@pytest.fixture
def refusal():
    def refused(query=""):
        with pytest.raises(MlflowException) as caught:
            read(query)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert SECRET not in str(caught.value)
        return str(caught.value)

    return refused


def test_entries_that_are_empty_are_left_out(write_profile):
    write_profile("ME", user="ann", pass_phrase="", log_requests="false")
    assert read("profile=ME").entries == {"user": "ann"}


def test_a_profile_shows_what_it_holds_but_not_the_content(write_profile):
    write_profile(user="ann", pass_phrase=SECRET)
    profile = read()
    assert profile.entries["pass_phrase"] == SECRET
    assert repr(profile) == "Profile('profile DEFAULT in ~/.oci/config', ['pass_phrase', 'user'])"


def test_variables_of_the_oci_cli_replace_single_entries(write_profile, monkeypatch):
    write_profile(user="ann", tenancy="here")
    monkeypatch.setenv("OCI_CLI_USER", "bob")
    monkeypatch.setenv("OCI_CLI_PASSPHRASE", SECRET)
    monkeypatch.setenv("OCI_CLI_TENANCY", "")
    profile = read()
    assert profile.entries == {"user": "bob", "tenancy": "here", "pass_phrase": SECRET}
    assert profile.description == (
        "profile DEFAULT in ~/.oci/config with OCI_CLI_USER, OCI_CLI_PASSPHRASE"
    )


def test_no_profile_at_all_is_an_empty_one():
    assert read().entries == {}


def test_a_path_is_expanded_as_a_shell_would(write_profile, home):
    write_profile(security_token_file="~/token")
    assert read().path("security_token_file") == str(home / "token")


def test_an_entry_that_is_needed_and_missing_is_named(write_profile):
    write_profile(user="ann")
    with pytest.raises(MlflowException, match="There is no key_file in profile DEFAULT in"):
        read().path("key_file")


def test_a_profile_that_was_named_must_exist(write_profile, refusal):
    write_profile(user="ann")
    assert "the file ~/.oci/config has no such profile" in refusal("profile=WORK")
    assert "the file ~/no/config does not exist or may not be read" in refusal(
        "config_file=~/no/config"
    )


def test_a_profile_that_was_named_must_exist_even_if_variables_would_do(refusal, monkeypatch):
    monkeypatch.setenv("OCI_CLI_USER", "bob")
    assert "Profile WORK cannot be read" in refusal("profile=WORK")


def test_a_file_that_may_not_be_read_is_named(write_profile, home, refusal, monkeypatch):
    write_profile("WORK", user="ann")
    config = str(home / ".oci" / "config")
    may_open = builtins.open

    def refusing(file, *args, **kwargs):
        if str(file) == config:
            raise PermissionError(errno.EACCES, "Permission denied", file)
        return may_open(file, *args, **kwargs)

    # What the system says to anybody but root, who reads all files.
    monkeypatch.setattr(builtins, "open", refusing)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != config)
    assert "~/.oci/config does not exist or may not be read" in refusal("profile=WORK")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"pass_phrase={SECRET}".encode(), "no OCI configuration file (MissingSectionHeaderError)"),
        (f"[DEFAULT]\n{SECRET}".encode(), "no OCI configuration file (ParsingError)"),
        (f"[A]\n[A]\nx={SECRET}".encode(), "no OCI configuration file (DuplicateSectionError)"),
        (f"[DEFAULT]\nx={SECRET}\xff".encode("latin-1"), "the file is not UTF-8 text"),
        (f"[DEFAULT]\nkey_content={SECRET}".encode(), "set OCI_CLI_KEY_CONTENT"),
        (f"[DEFAULT]\nlog_requests={SECRET}".encode(), "log_requests must be true or false"),
        (b"[DEFAULT]\nkey_file=/no/key.pem", "the key_file's value '/no/key.pem' at line 2"),
    ],
)
def test_a_fault_in_the_file_is_explained_without_its_content(content, reason, home, refusal):
    (home / ".oci").mkdir()
    (home / ".oci" / "config").write_bytes(content)
    message = refusal()
    assert message.startswith("Profile DEFAULT in ~/.oci/config cannot be used: ")
    assert reason in message
