"""Credentials: made once, kept up to date, the same for all threads, and new in a new process."""

import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from mlflow.exceptions import MlflowException

from mlflow_oci_store.client import auth


@pytest.fixture
def clock(monkeypatch):
    """Our clock, which only the test moves."""

    class Clock:
        now = auth.time.time()

        def time(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(auth, "time", clock)
    return clock


def belong_together(credentials):
    """Whether the key is the one that the token was issued for."""
    claims = jwt.decode(credentials.key_id.removeprefix("ST$"), options={"verify_signature": False})
    issued_for = jwt.algorithms.RSAAlgorithm.from_jwk(claims["jwk"])
    return issued_for.public_numbers() == credentials.private_key.public_key().public_numbers()


def test_nothing_is_read_before_the_first_call(authenticator, write_session):
    found = authenticator()
    assert found.description == "auto"
    token = write_session()
    assert found.credentials().key_id == f"ST${token}"
    assert found.description == "security_token (profile DEFAULT in ~/.oci/config)"


def test_credentials_are_the_same_until_something_changes(authenticator, write_session):
    write_session()
    found = authenticator()
    assert found.credentials() is found.credentials()
    assert found.signer() is found.signer()
    assert found.signer().api_key == found.credentials().key_id


def test_credentials_show_nothing_of_what_they_are(authenticator, write_session):
    token = write_session()
    credentials = authenticator().credentials()
    assert token not in repr(credentials)
    assert token not in f"{credentials}"


def test_the_profile_says_the_region_that_nothing_else_names(authenticator, write_session):
    write_session()
    assert authenticator().region == "us-phoenix-1"


# --- renewal --------------------------------------------------------------------------------------


def test_a_session_that_was_renewed_on_disk_is_used_at_once(authenticator, write_session):
    write_session()
    found = authenticator()
    first = found.credentials()
    token = write_session(lifetime_seconds=7200)
    assert found.credentials().key_id == f"ST${token}" != first.key_id
    assert found.signer().api_key == f"ST${token}"


def test_a_token_file_that_is_half_written_does_no_harm(authenticator, write_session, home):
    write_session()
    found = authenticator()
    good = found.credentials()
    for content in ("", "eyJhbGciOi"):
        (home / "token").write_text(content)
        assert found.credentials() is good
    token = write_session(lifetime_seconds=7200)
    assert found.credentials().key_id == f"ST${token}"


def test_a_session_is_refused_as_soon_as_it_has_expired(authenticator, write_session, clock):
    write_session(lifetime_seconds=100)
    found = authenticator()
    clock.now += 98
    found.credentials()
    clock.now += 2
    with pytest.raises(MlflowException, match="has expired"):
        found.credentials()
    token = write_session()
    assert found.credentials().key_id == f"ST${token}"


def test_an_instance_asks_for_a_new_token_when_half_its_life_is_over(
    authenticator, instance, emulator, clock
):
    instance.grant = lambda key: emulator.issue_token(key, lifetime_seconds=1000)
    found = authenticator(auth="instance_principal")
    first = found.credentials()
    clock.now += 490
    assert found.credentials() is first
    clock.now += 20
    second = found.credentials()
    assert second.key_id != first.key_id
    assert belong_together(second)
    assert instance.grants == 2


def test_an_instance_goes_on_with_a_good_token_while_none_is_granted(
    authenticator, instance, emulator, clock
):
    grant, tenancy_id = instance.grant, instance.tenancy_id
    instance.grant = lambda key: emulator.issue_token(key, lifetime_seconds=1000)
    found = authenticator(auth="instance_principal")
    good = found.credentials()
    instance.tenancy_id = "another, so that every request is refused"
    clock.now += 510
    assert found.credentials() is good
    clock.now += 500
    with pytest.raises(MlflowException, match="the answer was 401 NotAuthenticated"):
        found.credentials()
    instance.grant, instance.tenancy_id = grant, tenancy_id
    assert belong_together(found.credentials())


# --- after a 401 ----------------------------------------------------------------------------------


def test_a_key_that_is_still_the_same_is_not_worth_another_try(
    authenticator, write_profile, write_key
):
    entries = {
        "user": "ocid1.user.oc1..a",
        "tenancy": "ocid1.tenancy.oc1..a",
        "key_file": write_key(),
    }
    write_profile("ME", **entries, fingerprint=":".join(["00"] * 16))
    found = authenticator(profile="ME")
    assert found.refresh(found.credentials()) is False


def test_a_session_is_worth_another_try_only_if_it_was_renewed(authenticator, write_session):
    write_session()
    found = authenticator()
    rejected = found.credentials()
    assert found.refresh(rejected) is False
    assert found.refresh(rejected) is False
    write_session(lifetime_seconds=7200)
    assert found.refresh(rejected) is True
    assert found.refresh(rejected) is True
    assert found.refresh(found.credentials()) is False


def test_a_session_that_cannot_be_read_again_says_why(authenticator, write_session, home):
    write_session()
    found = authenticator()
    rejected = found.credentials()
    (home / "token").unlink()
    with pytest.raises(MlflowException, match="cannot be read"):
        found.refresh(rejected)


def test_an_instance_gets_a_new_token(authenticator, instance):
    found = authenticator(auth="instance_principal")
    rejected = found.credentials()
    assert found.refresh(rejected) is True
    assert belong_together(found.credentials())
    assert instance.grants == 2


# --- threads, forks and pickles -------------------------------------------------------------------


def test_threads_that_call_at_once_cause_one_grant(authenticator, instance):
    found = authenticator(auth="instance_principal")
    barrier = threading.Barrier(8)

    def call(_):
        barrier.wait()
        return found.credentials()

    with ThreadPoolExecutor(8) as pool:
        [credentials] = set(map(id, pool.map(call, range(8))))
    assert credentials == id(found.credentials())
    assert instance.grants == 1


def test_threads_whose_calls_were_rejected_at_once_cause_one_grant(authenticator, instance):
    found = authenticator(auth="instance_principal")
    rejected = found.credentials()
    barrier = threading.Barrier(8)

    def call(_):
        barrier.wait()
        return found.refresh(rejected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
    assert instance.grants == 2


def test_token_and_key_belong_together_in_every_thread(authenticator, instance):
    found = authenticator(auth="instance_principal")
    over = threading.Event()

    def look(_):
        seen = {}
        while True:
            credentials = found.credentials()
            seen.setdefault(credentials.key_id, credentials)
            if over.is_set():
                return seen

    with ThreadPoolExecutor(2) as pool:
        looking = pool.map(look, range(2))
        for _ in range(5):
            found.refresh(found.credentials())
        over.set()
        seen = [credentials for seen in looking for credentials in seen.values()]
    assert len(seen) >= 2
    assert all(map(belong_together, seen))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_wait_for_a_thread_of_its_parent(authenticator, instance):
    found = authenticator(auth="instance_principal")
    instance.open.clear()
    waiting = threading.Thread(target=found.credentials)
    waiting.start()
    assert instance.arrived.wait(60)
    # The thread now holds the lock, and waits for a token that the parent does not let through.
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os.write(write_end, b"ok" if belong_together(found.credentials()) else b"no")
        finally:
            os._exit(0)
    os.close(write_end)
    instance.open.set()
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    waiting.join()
    assert said == b"ok"
    assert instance.grants == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_goes_on_with_the_credentials_of_its_parent(authenticator, write_session):
    write_session()
    found = authenticator()
    expected = found.credentials()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os.write(write_end, b"ok" if found.credentials() is expected else b"no")
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said == b"ok"


def test_a_pickle_holds_no_secret_and_finds_its_credentials_again(authenticator, write_session):
    token = write_session()
    found = authenticator()
    found.credentials()
    pickled = pickle.dumps(found)
    assert token.encode() not in pickled
    token = write_session(lifetime_seconds=7200)
    assert pickle.loads(pickled).credentials().key_id == f"ST${token}"
