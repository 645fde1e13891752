"""Credentials for one request, kept up to date.

The signers are OCI's own. They are made by the first call, never before, and made anew when what
they were made of has changed: the token file was rewritten, half of what a token had left to live
is over, or the service answered 401. Credentials are published only when they are complete, and
never change afterwards, so a thread cannot sign with the key of one token in the name of another
(OCI's signers replace the two one after the other).
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import UNAUTHENTICATED

from mlflow_oci_store.client.principal import Principal
from mlflow_oci_store.settings import AccessSettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from oci.signer import AbstractBaseSigner

_TOKEN_PREFIX = "ST$"  # noqa: S105 - how OCI marks a keyId that is a token
# Tokens are not renewed more often than this, however little they have left to live.
_SHORTEST_RENEWAL_SECONDS = 1.0


class Credentials(NamedTuple):
    """What one request is signed with.

    Attributes:
        key_id: the signature's ``keyId``: ``tenancy/user/fingerprint`` or ``ST$<token>``.
        private_key: the key that belongs to it.
        headers: headers to send, and to sign right after ``host``: ``opc-obo-token`` for a
            delegation token, otherwise none.
    """

    key_id: str
    private_key: RSAPrivateKey
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Credentials(...)"


class Authenticator:
    """The credentials of one store.

    It may be shared by threads and used on both sides of a fork. Pickled, it takes only its
    settings along, and finds its credentials again where it is unpickled.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._issued: _Issued | None = None
        # A lock that another thread holds while this process forks would stay locked in the
        # child, so every process has one of its own.
        self._locks: dict[int, threading.Lock] = {}

    def __reduce__(self) -> tuple[type[Authenticator], tuple[AccessSettings]]:
        return type(self), (self._settings,)

    def credentials(self) -> Credentials:
        """Return what to sign the next request with.

        Raises:
            MlflowException: UNAUTHENTICATED, if a token has expired or none is to be had;
                INVALID_PARAMETER_VALUE, if the profile or a file it names cannot be used. The
                message names file, profile and fix, and repeats no content.
        """
        return self._up_to_date().credentials

    def signer(self) -> AbstractBaseSigner:
        """Return OCI's signer for the same principal, for OCI's own clients.

        Raises:
            MlflowException: as ``credentials`` does.
        """
        return self._up_to_date().signer

    def refresh(self, rejected: Credentials) -> bool:
        """Look for other credentials, after the service answered 401.

        Args:
            rejected: the credentials of the request in question. If another thread has replaced
                them meanwhile, nothing more is done.

        Returns:
            True if there are others now, so that the call is worth repeating.

        Raises:
            MlflowException: as ``credentials`` does.
        """
        with self._lock():
            issued = self._issued
            if issued is None or issued.credentials.key_id == rejected.key_id:
                self._issued = issued = _issue(self._settings)
            return issued.credentials.key_id != rejected.key_id

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
            # A file that is just being rewritten, or a service that is out for a moment, does no
            # harm as long as the old token is good.
            if old is None or old.expires_at <= time.time():
                raise
            return old._replace(renew_at=_renewal(old.expires_at))

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())


class _Issued(NamedTuple):
    """Credentials, with what tells when they are due to be renewed."""

    credentials: Credentials
    signer: AbstractBaseSigner
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


def _issue(settings: AccessSettings) -> _Issued:
    principal = Principal.of(settings)
    # Taken before the file is read: if it changes in between, it is read once more.
    stamp = _stamp(principal.token_file)
    signer = principal.signer()
    expires_at = _expiry(signer.api_key, principal)
    delegation_token = getattr(signer, "delegation_token", None)
    return _Issued(
        credentials=Credentials(
            signer.api_key,
            signer.private_key,
            {"opc-obo-token": delegation_token} if delegation_token else {},
        ),
        signer=signer,
        region=getattr(signer, "region", None) or principal.profile.entries.get("region"),
        description=principal.description,
        expires_at=expires_at,
        renew_at=_renewal(expires_at),
        token_file=principal.token_file,
        stamp=stamp,
    )


def _expiry(key_id: str, principal: Principal) -> float:
    from oci.auth.security_token_container import SecurityTokenContainer, jwt

    if not key_id.startswith(_TOKEN_PREFIX):
        return math.inf
    token = key_id.removeprefix(_TOKEN_PREFIX)
    try:
        claims = SecurityTokenContainer(None, token).get_jwt()
        expires_at = float(claims.get("exp", math.inf))
        fault = "has expired"
    except (jwt.PyJWTError, TypeError, ValueError):
        expires_at = -math.inf
        fault = "is no JSON web token"
    if expires_at > time.time():
        return expires_at
    where = f" in {principal.token_file}" if principal.token_file else ""
    raise MlflowException(
        f"The token of {principal.description}{where} {fault}: {principal.remedy}.",
        UNAUTHENTICATED,
    )


def _renewal(expires_at: float) -> float:
    now = time.time()
    return min(expires_at, now + max((expires_at - now) / 2, _SHORTEST_RENEWAL_SECONDS))


def _stamp(path: str | None) -> tuple[int, ...]:
    try:
        status = os.stat(path) if path else None
    except OSError:
        status = None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else ()
