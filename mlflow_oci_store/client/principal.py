"""Who signs, and how OCI's signer for that principal is made.

``auth=auto``, the default, comes to the first of these that applies:

1. the profile's ``authentication_type``; with ``delegation_token_file`` in the profile, as in
   Cloud Shell, it is ``delegation_token``;
2. the profile's ``security_token_file``: ``security_token``;
3. the profile's key, or the variables OCI_CLI_KEY_FILE and OCI_CLI_KEY_CONTENT: ``api_key``;
4. KUBERNETES_SERVICE_HOST and OCI_RESOURCE_PRINCIPAL_REGION, but no OCI_RESOURCE_PRINCIPAL_RPST,
   which is how pods with a workload identity are set up: ``oke_workload_identity``;
5. OCI_RESOURCE_PRINCIPAL_VERSION: ``resource_principal``.

An instance principal is never guessed: only a request to the metadata service could tell, and off
OCI that request hangs for minutes. In an OCI configuration file every profile inherits what
``[DEFAULT]`` says; where that misleads rule 2, ``auth=api_key`` decides.

No error repeats what a key, a token or a passphrase is, and errors of libraries, which may, are
not chained.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import UNAUTHENTICATED

from mlflow_oci_store.client.profile import Profile, missing_profile, read_profile
from mlflow_oci_store.settings import AccessSettings

if TYPE_CHECKING:
    from oci.signer import AbstractBaseSigner

_OTHER_KIND = (
    "choose another kind of authentication with ?auth=... in the tracking URI or MLFLOW_OCI_DP_AUTH"
)


class Principal(NamedTuple):
    """A kind of authentication, and the profile that goes with it.

    Attributes:
        kind: one of ``settings.AUTH_KINDS``, but not ``auto``.
        profile: the profile; without entries for the kinds that need none.
        region: the region of the platform, if the settings know it.
    """

    kind: str
    profile: Profile
    region: str | None

    @classmethod
    def of(cls, settings: AccessSettings) -> Principal:
        """Find out who signs.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if the profile is missing or cannot be used;
                UNAUTHENTICATED, if ``auto`` finds nobody.
        """
        kind = settings.auth
        if kind == "auto" or kind in _PROFILE_KINDS:
            profile = read_profile(settings)
            kind = _detected(profile) if kind == "auto" else kind
            if kind in _PROFILE_KINDS:
                if not profile.entries:
                    raise missing_profile(settings)
                return cls(kind, profile, settings.region)
        return cls(kind, Profile("", {}), settings.region)

    @property
    def description(self) -> str:
        """For messages: ``api_key (profile DEFAULT in ~/.oci/config)``."""
        return f"{self.kind} ({self.profile.description})" if self.profile.entries else self.kind

    @property
    def token_file(self) -> str | None:
        """Path of the file that holds a token, for the kinds that have one.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if the profile names none.
        """
        entry = _TOKEN_FILES.get(self.kind)
        return self.profile.path(entry) if entry else None

    @property
    def remedy(self) -> str:
        """What to do about a token that is no good."""
        if self.kind != "security_token":
            return "what provides it must provide a new one"
        region = self.profile.entries.get("region") or self.region
        option = f" --region {region}" if region else ""
        return f"run `oci session authenticate --profile-name {self.profile.name}{option}`"

    def signer(self) -> AbstractBaseSigner:
        """Make OCI's signer for this principal; some ask a service of OCI for a token.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if a file cannot be used; UNAUTHENTICATED, if
                OCI gives no token.
        """
        return _SIGNERS[self.kind](self)


def _detected(profile: Profile) -> str:
    entries = profile.entries
    if declared := entries.get("authentication_type"):
        if declared not in _SIGNERS:
            raise MlflowException.invalid_parameter_value(
                f"The authentication_type of {profile.description} is unknown: write one of "
                f"{', '.join(_SIGNERS)}."
            )
        return "delegation_token" if "delegation_token_file" in entries else declared
    if "security_token_file" in entries:
        return "security_token"
    if "key_file" in entries or "key_content" in entries:
        return "api_key"
    on_oke = {"KUBERNETES_SERVICE_HOST", "OCI_RESOURCE_PRINCIPAL_REGION"} <= os.environ.keys()
    if on_oke and "OCI_RESOURCE_PRINCIPAL_RPST" not in os.environ:
        return "oke_workload_identity"
    if "OCI_RESOURCE_PRINCIPAL_VERSION" in os.environ:
        return "resource_principal"
    raise MlflowException(
        f"Nothing says who signs: {profile.description} has no authentication_type, "
        "security_token_file or key_file, and neither OCI_CLI_KEY_FILE nor "
        "OCI_RESOURCE_PRINCIPAL_VERSION is set. Run `oci setup config` or `oci session "
        "authenticate`, or, on an OCI compute instance, add ?auth=instance_principal to the "
        "tracking URI.",
        UNAUTHENTICATED,
    )


def _api_key(principal: Principal) -> AbstractBaseSigner:
    import oci.config
    import oci.signer
    from oci.exceptions import InvalidConfig

    # A signature needs no region, and a declared type would skip the checks.
    entries = {"region": "", **principal.profile.entries}
    entries.pop("authentication_type", None)
    try:
        oci.config.validate_config(entries)
    except InvalidConfig as error:
        faults = ", ".join(f"{entry} is {fault}" for entry, fault in sorted(error.errors.items()))
    else:
        with _explained_key_faults(principal.profile):
            return _checked(
                oci.signer.Signer(
                    entries["tenancy"],
                    entries["user"],
                    entries["fingerprint"],
                    private_key_file_location=entries.get("key_file"),
                    pass_phrase=entries.get("pass_phrase"),
                    private_key_content=entries.get("key_content"),
                )
            )
    raise MlflowException.invalid_parameter_value(
        f"There is no usable API key in {principal.profile.description}: {faults}. Correct it, or "
        f"{_OTHER_KIND}."
    )


def _security_token(principal: Principal) -> AbstractBaseSigner:
    import oci.auth.signers
    import oci.signer

    token = _read_token(principal)
    key_file = principal.profile.path("key_file")
    with _explained_key_faults(principal.profile):
        key = oci.signer.load_private_key_from_file(
            key_file, principal.profile.entries.get("pass_phrase")
        )
        return _checked(oci.auth.signers.SecurityTokenSigner(token, key))


def _delegation_token(principal: Principal) -> AbstractBaseSigner:
    import oci.auth.signers

    token = _read_token(principal)
    if "OCI_RESOURCE_PRINCIPAL_VERSION" in os.environ:
        make = oci.auth.signers.get_resource_principal_delegation_token_signer
    else:
        make = oci.auth.signers.InstancePrincipalsDelegationTokenSigner
    return _granted(principal, lambda: make(delegation_token=token))


def _instance_principal(principal: Principal) -> AbstractBaseSigner:
    import oci.auth.signers

    return _granted(principal, oci.auth.signers.InstancePrincipalsSecurityTokenSigner)


def _resource_principal(principal: Principal) -> AbstractBaseSigner:
    import oci.auth.signers

    return _granted(principal, oci.auth.signers.get_resource_principals_signer)


def _oke_workload_identity(principal: Principal) -> AbstractBaseSigner:
    import oci.auth.signers

    return _granted(principal, oci.auth.signers.get_oke_workload_identity_resource_principal_signer)


_SIGNERS: Mapping[str, Callable[[Principal], AbstractBaseSigner]] = {
    "api_key": _api_key,
    "security_token": _security_token,
    "delegation_token": _delegation_token,
    "instance_principal": _instance_principal,
    "resource_principal": _resource_principal,
    "oke_workload_identity": _oke_workload_identity,
}
_TOKEN_FILES = {
    "security_token": "security_token_file",
    "delegation_token": "delegation_token_file",
}
_PROFILE_KINDS = ("api_key", *_TOKEN_FILES)


def _granted(principal: Principal, make: Callable[[], AbstractBaseSigner]) -> AbstractBaseSigner:
    import oci.exceptions
    from circuitbreaker import CircuitBreakerError  # type: ignore[import-untyped]
    from oci.auth.certificate_retriever import InvalidCertificateFromInstanceMetadataError
    from oci.auth.security_token_container import jwt  # a copy of oci's own in older releases

    try:
        return make()
    except (OSError, ValueError) as error:
        # Failed connections are OSErrors too. Neither kind quotes what it could not read.
        reason = f"{type(error).__name__}: {error}"
    except oci.exceptions.ServiceError as error:
        reason = f"the answer was {error.status} {error.code}"
    except (
        AttributeError,
        CircuitBreakerError,
        InvalidCertificateFromInstanceMetadataError,
        KeyError,
        RuntimeError,
        TypeError,
        jwt.PyJWTError,
        oci.exceptions.ClientError,
    ) as error:
        # What OCI raises for answers and files it cannot read; some of these quote them.
        reason = type(error).__name__
    raise MlflowException(
        f"OCI gave no token to {principal.description} ({reason}). Check that this runs where that "
        f"principal exists and that its environment variables are set, or {_OTHER_KIND}.",
        UNAUTHENTICATED,
    )


@contextmanager
def _explained_key_faults(profile: Profile) -> Iterator[None]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from oci.exceptions import InvalidPrivateKey, MissingPrivateKeyPassphrase

    try:
        yield
        return
    except OSError as error:
        reason = f"it cannot be read ({error.strerror}); correct key_file"
    except MissingPrivateKeyPassphrase:
        reason = "it is encrypted; add pass_phrase to the profile or set OCI_CLI_PASSPHRASE"
    except InvalidPrivateKey:
        reason = "it is no private key in PEM format, or pass_phrase is wrong"
    except (UnsupportedAlgorithm, TypeError, ValueError):
        reason = "it is no RSA private key in PEM format"
    key = profile.entries.get("key_file", "OCI_CLI_KEY_CONTENT")
    raise MlflowException.invalid_parameter_value(
        f"The private key {key} of {profile.description} cannot be used: {reason}."
    ) from None


def _checked(signer: AbstractBaseSigner) -> AbstractBaseSigner:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(signer.private_key, RSAPrivateKey):
        raise TypeError("OCI verifies RSA signatures only")
    return signer


def _read_token(principal: Principal) -> str:
    path = principal.token_file or ""
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
    raise MlflowException(
        f"The token file {path} of {principal.profile.description} {reason}: {principal.remedy}.",
        UNAUTHENTICATED,
    )
