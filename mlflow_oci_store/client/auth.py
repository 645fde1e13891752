"""Who signs: ``Settings`` come in, credentials for one request go out.

The signers are OCI's own. They are made by the first call, never before, and made anew when what
they were made of has changed: the token file was rewritten, half of what a token had left to live
is over, or the service answered 401. A signer is published only when it is complete, as one
immutable ``Credentials``, so a thread never signs with the key of one token in the name of another
(OCI's signers replace the two one after the other).

``auth=auto``, the default, comes to the first of these that applies:

1. the profile's ``authentication_type``, with ``delegation_token_file`` for a delegation token;
2. the profile's ``security_token_file``: ``security_token``;
3. the profile's key, or the variables ``OCI_CLI_KEY_FILE`` and ``_KEY_CONTENT``: ``api_key``;
4. KUBERNETES_SERVICE_HOST and OCI_RESOURCE_PRINCIPAL_REGION, but no OCI_RESOURCE_PRINCIPAL_RPST:
   ``oke_workload_identity``, which Oracle has configured like this;
5. OCI_RESOURCE_PRINCIPAL_VERSION: ``resource_principal``.

Instance principals are never guessed: only a request to the metadata service could tell, and off
OCI that request hangs for minutes.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import UNAUTHENTICATED

from mlflow_oci_store.client.profile import Profile, missing_profile, read_profile
from mlflow_oci_store.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_TOKEN_PREFIX = "ST$"  # noqa: S105 - how OCI marks a keyId that is a token
# Credentials are not renewed more often than this, however little they have left to live.
_SHORTEST_RENEWAL_SECONDS = 1.0


class Credentials(NamedTuple):
    """What one request is signed with.

    Attributes:
        key_id: the signature's ``keyId``: ``tenancy/user/fingerprint`` or ``ST$<token>``.
        private_key: the key that belongs to it.
        headers: headers to send and to sign after ``host``, in this order (``opc-obo-token`` for
            a delegation token, otherwise none).
    """

    key_id: str
    private_key: RSAPrivateKey
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Credentials(...)"


class Authenticator:
    """The credentials of one store, kept up to date.

    It may be shared by threads and used on both sides of a fork. Pickled, it takes only its
    settings along, and finds its credentials again where it is unpickled.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._issued: _Issued | None = None
        # A lock held by another thread while this process forks would stay held in the child for
        # ever, so every process has its own.
        self._locks: dict[int, threading.Lock] = {}

    def __reduce__(self) -> tuple[type[Authenticator], tuple[Settings]]:
        return type(self), (self._settings,)

    def credentials(self) -> Credentials:
        """Return what to sign the next request with.

        Raises:
            MlflowException: UNAUTHENTICATED, if a token has expired or none is to be had;
                INVALID_PARAMETER_VALUE, if the profile or its files cannot be used. The message
                names file, profile and fix, and repeats no content.
        """
        return self._up_to_date().credentials

    def signer(self) -> Any:
        """Return OCI's signer for the same principal, for OCI's own clients.

        Raises:
            MlflowException: as ``credentials`` does.
        """
        return self._up_to_date().signer

    def refresh(self, rejected: Credentials | None = None) -> bool:
        """Look for other credentials, after the service answered 401.

        Args:
            rejected: the credentials of the request in question. If another thread has replaced
                them meanwhile, nothing more is done. None means the present ones.

        Returns:
            True if the credentials are others than the rejected, so that repeating is worth it.

        Raises:
            MlflowException: as ``credentials`` does.
        """
        with self._lock():
            issued = self._issued
            rejected = rejected or (issued and issued.credentials)
            if issued is None or issued.credentials is rejected:
                self._issued = issued = _issue(self._settings)
            return rejected is None or issued.credentials.key_id != rejected.key_id

    @property
    def region(self) -> str | None:
        """The region that the principal or the profile names, or None.

        Raises:
            MlflowException: as ``credentials`` does.
        """
        return self._up_to_date().region

    @property
    def description(self) -> str:
        """Who signs, for messages: ``api_key (profile DEFAULT in ~/.oci/config)``."""
        return self._issued.description if self._issued else self._settings.auth

    def _up_to_date(self) -> _Issued:
        issued = self._issued
        if issued is None or issued.is_due():
            with self._lock():
                issued = self._issued
                if issued is None or issued.is_due():
                    self._issued = issued = self._renewed(issued)
        return issued

    def _renewed(self, old: _Issued | None) -> _Issued:
        try:
            return _issue(self._settings)
        except MlflowException:
            # A file that is being rewritten or a service that is out for a moment does no harm as
            # long as the old token is good.
            if old is None or old.expires_at <= time.time():
                raise
            return old._replace(renew_at=_renewal(old.expires_at))

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())


class _Issued(NamedTuple):
    """Credentials with what they were made of and how long they are good."""

    credentials: Credentials
    signer: Any
    region: str | None
    description: str
    expires_at: float
    renew_at: float
    token_file: str | None
    stamp: tuple[int, ...]

    def is_due(self) -> bool:
        if time.time() >= self.renew_at:
            return True
        return self.token_file is not None and _stamp(self.token_file) != self.stamp


def _issue(settings: Settings) -> _Issued:
    kind, profile = _chosen(settings)
    token_file = profile.path(_TOKEN_ENTRIES[kind]) if kind in _TOKEN_ENTRIES else None
    # Taken before the file is read: if it changes in between, it is read once more.
    stamp = _stamp(token_file)
    signer = _SIGNERS[kind](profile)
    description = f"{kind} ({profile.name})" if profile.name else kind
    expires_at = _expiry(signer.api_key, token_file or description)
    if expires_at <= time.time():
        raise _expired(settings, kind, token_file or description)
    delegation_token = getattr(signer, "delegation_token", None)
    headers = {"opc-obo-token": delegation_token} if delegation_token else {}
    return _Issued(
        credentials=Credentials(signer.api_key, signer.private_key, headers),
        signer=signer,
        region=getattr(signer, "region", None) or profile.entries.get("region"),
        description=description,
        expires_at=expires_at,
        renew_at=_renewal(expires_at),
        token_file=token_file,
        stamp=stamp,
    )


def _chosen(settings: Settings) -> tuple[str, Profile]:
    kind = settings.auth
    if kind != "auto" and kind not in _PROFILE_KINDS:
        return kind, _NO_PROFILE
    profile = read_profile(settings)
    if kind == "auto":
        kind = _detected(profile)
    if kind not in _PROFILE_KINDS:
        return kind, _NO_PROFILE
    if not profile.entries:
        raise missing_profile(settings)
    return kind, profile


def _detected(profile: Profile) -> str:
    entries = profile.entries
    if declared := entries.get("authentication_type"):
        if declared not in _SIGNERS:
            raise MlflowException.invalid_parameter_value(
                f"{profile.name} has an unknown authentication_type: write one of "
                f"{', '.join(_SIGNERS)}."
            )
        return "delegation_token" if "delegation_token_file" in entries else declared
    if "security_token_file" in entries:
        return "security_token"
    if "key_file" in entries or "key_content" in entries:
        return "api_key"
    variables = os.environ.keys()
    if {"KUBERNETES_SERVICE_HOST", "OCI_RESOURCE_PRINCIPAL_REGION"} <= variables and (
        "OCI_RESOURCE_PRINCIPAL_RPST" not in variables
    ):
        return "oke_workload_identity"
    if "OCI_RESOURCE_PRINCIPAL_VERSION" in variables:
        return "resource_principal"
    raise MlflowException(
        f"Nothing says who signs: {profile.name} has no authentication_type, no "
        "security_token_file and no key_file, and neither OCI_CLI_KEY_FILE nor "
        "OCI_RESOURCE_PRINCIPAL_VERSION is set. Run `oci setup config` or `oci session "
        "authenticate`, or, on an OCI compute instance, add ?auth=instance_principal to the "
        "tracking URI.",
        UNAUTHENTICATED,
    )


def _api_key(profile: Profile) -> Any:
    import oci.config
    import oci.signer

    # The region is nobody's business here, and a declared type would skip the checks.
    entries = {"region": "", **profile.entries}
    entries.pop("authentication_type", None)
    try:
        oci.config.validate_config(entries)
    except oci.exceptions.InvalidConfig as error:
        faults = ", ".join(f"{entry} is {fault}" for entry, fault in sorted(error.errors.items()))
        raise MlflowException.invalid_parameter_value(
            f"{profile.name} is no API key: {faults}. Correct it, or choose another kind of "
            "authentication with ?auth=... in the tracking URI."
        ) from None
    with _explained_key_faults(profile):
        return _with_rsa_key(
            oci.signer.Signer(
                entries["tenancy"],
                entries["user"],
                entries["fingerprint"],
                private_key_file_location=entries.get("key_file"),
                pass_phrase=entries.get("pass_phrase"),
                private_key_content=entries.get("key_content"),
            )
        )


def _security_token(profile: Profile) -> Any:
    import oci.auth.signers
    import oci.signer

    token = _read_token(profile, "security_token_file")
    key_file = profile.path("key_file")
    with _explained_key_faults(profile):
        key = oci.signer.load_private_key_from_file(key_file, profile.entries.get("pass_phrase"))
        return _with_rsa_key(oci.auth.signers.SecurityTokenSigner(token, key))


def _delegation_token(profile: Profile) -> Any:
    import oci.auth.signers

    token = _read_token(profile, "delegation_token_file")
    if "OCI_RESOURCE_PRINCIPAL_VERSION" in os.environ:
        return _obtained(
            oci.auth.signers.get_resource_principal_delegation_token_signer,
            delegation_token=token,
        )
    return _obtained(
        oci.auth.signers.InstancePrincipalsDelegationTokenSigner, delegation_token=token
    )


def _instance_principal(_profile: Profile) -> Any:
    import oci.auth.signers

    return _obtained(oci.auth.signers.InstancePrincipalsSecurityTokenSigner)


def _resource_principal(_profile: Profile) -> Any:
    import oci.auth.signers

    return _obtained(oci.auth.signers.get_resource_principals_signer)


def _oke_workload_identity(_profile: Profile) -> Any:
    import oci.auth.signers

    return _obtained(oci.auth.signers.get_oke_workload_identity_resource_principal_signer)


_SIGNERS: Mapping[str, Callable[[Profile], Any]] = {
    "api_key": _api_key,
    "security_token": _security_token,
    "delegation_token": _delegation_token,
    "instance_principal": _instance_principal,
    "resource_principal": _resource_principal,
    "oke_workload_identity": _oke_workload_identity,
}
_PROFILE_KINDS = ("api_key", "security_token", "delegation_token")
_TOKEN_ENTRIES = {
    "security_token": "security_token_file",
    "delegation_token": "delegation_token_file",
}
_NO_PROFILE = Profile("", {})


def _obtained(make: Callable[..., Any], **arguments: str) -> Any:
    """Make a signer that asks OCI for a token, and explain it if that fails."""
    import jwt
    import oci.exceptions
    from circuitbreaker import CircuitBreakerError  # type: ignore[import-untyped]
    from oci.auth.certificate_retriever import InvalidCertificateFromInstanceMetadataError

    try:
        return make(**arguments)
    except (OSError, ValueError) as error:
        # Connection errors of requests are OSErrors; neither kind quotes what it could not read.
        reason = f"{type(error).__name__}: {error}"
    except oci.exceptions.ServiceError as error:
        reason = f"the answer was {error.status} {error.code}"
    except (
        AttributeError,
        CircuitBreakerError,
        InvalidCertificateFromInstanceMetadataError,
        KeyError,
        RuntimeError,
        jwt.PyJWTError,
        oci.exceptions.ClientError,
    ) as error:
        reason = type(error).__name__
    raise MlflowException(
        f"OCI gave no token to {getattr(make, '__name__', make)} ({reason}). Is this running where "
        "that principal exists, and are its environment variables set? Otherwise choose another "
        "kind of authentication with ?auth=... in the tracking URI.",
        UNAUTHENTICATED,
    )


@contextmanager
def _explained_key_faults(profile: Profile) -> Iterator[None]:
    import oci.exceptions
    from cryptography.exceptions import UnsupportedAlgorithm

    where = profile.entries.get("key_file", "OCI_CLI_KEY_CONTENT")
    try:
        yield
    except OSError as error:
        reason = f"it cannot be read ({error.strerror}); correct key_file"
    except oci.exceptions.MissingPrivateKeyPassphrase:
        reason = "it is encrypted; add pass_phrase to the profile or set OCI_CLI_PASSPHRASE"
    except oci.exceptions.InvalidPrivateKey:
        reason = "it is no private key in PEM format, or its pass_phrase is wrong"
    except (UnsupportedAlgorithm, TypeError, ValueError):
        reason = "it is no RSA private key in PEM format"
    else:
        return
    raise MlflowException.invalid_parameter_value(
        f"The private key {where} of {profile.name} cannot be used: {reason}."
    )


def _with_rsa_key(signer: Any) -> Any:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(signer.private_key, RSAPrivateKey):
        raise TypeError("OCI signs with RSA keys only")
    return signer


def _read_token(profile: Profile, entry: str) -> str:
    path = profile.path(entry)
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        reason = "holds no token"
    else:
        if token:
            return token
        reason = "is empty"
    raise MlflowException.invalid_parameter_value(
        f"The {entry} {path} of {profile.name} {reason}. `oci session authenticate` writes a new "
        "one."
    )


def _expiry(key_id: str, source: str) -> float:
    import jwt

    if not key_id.startswith(_TOKEN_PREFIX):
        return math.inf
    try:
        claims = jwt.decode(key_id.removeprefix(_TOKEN_PREFIX), options={"verify_signature": False})
        return float(claims.get("exp", math.inf))
    except (jwt.PyJWTError, TypeError, ValueError):
        raise MlflowException(
            f"The token of {source} is no JSON web token: have a new one issued.", UNAUTHENTICATED
        ) from None


def _expired(settings: Settings, kind: str, source: str) -> MlflowException:
    if kind == "security_token":
        region = f" --region {settings.region}" if settings.region else ""
        fix = (
            f"run `oci session authenticate --profile-name {settings.profile}{region}`, or `oci "
            f"session refresh --profile {settings.profile}` before it expires"
        )
    else:
        fix = "what provides it must provide a new one"
    return MlflowException(
        f"The token of {source} (profile {settings.profile}) has expired: {fix}.", UNAUTHENTICATED
    )


def _renewal(expires_at: float) -> float:
    now = time.time()
    return min(expires_at, now + max((expires_at - now) / 2, _SHORTEST_RENEWAL_SECONDS))


def _stamp(path: str | None) -> tuple[int, ...]:
    if path is None:
        return ()
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
