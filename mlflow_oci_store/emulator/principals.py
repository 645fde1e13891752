"""Who may call: API keys the emulator made, and security tokens it issued.

On first start a user ``EMULATOR`` gets a key pair and a profile in an OCI configuration file of
the data folder, so that every OCI client can sign without further set-up. Folders are made with
mode 0700 and files with 0600; of private keys nothing but the file is kept. Tokens are JWTs that
carry the session's public key in the ``jwk`` claim, as those of OCI's identity service do.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mlflow_oci_store.emulator.answers import not_authenticated
from mlflow_oci_store.emulator.state import State

DEFAULT_PROFILE = "EMULATOR"
REGION = "us-ashburn-1"

_TOKEN_PREFIX = "ST$"  # noqa: S105 - a marker, not a secret


@dataclass(frozen=True)
class Principal:
    """An authenticated caller: its OCID, its short name, and the key it signs with."""

    id: str
    name: str
    public_key: rsa.RSAPublicKey = field(repr=False)


def unique() -> str:
    """Make the unique part of an OCID: 60 letters and digits."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(60))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)


class Principals:
    """The callers the emulator knows.

    Args:
        state: Where public keys are kept.
        folder: Where private keys and the OCI configuration file are kept.
        clock: Seconds since the epoch.
    """

    def __init__(self, state: State, folder: Path, clock: Callable[[], float]) -> None:
        self._state = state
        self._folder = folder
        self._clock = clock
        self.tenancy_id = state.name("tenancy", f"ocid1.tenancy.oc1..{unique()}")
        self._api_key = lru_cache(maxsize=256)(self._load_api_key)
        self._token = lru_cache(maxsize=256)(self._read_token)
        if not self.config_file.exists():
            self.add_user(DEFAULT_PROFILE)

    @property
    def config_file(self) -> Path:
        """The OCI configuration file."""
        return self._folder / "config"

    def add_user(self, name: str, passphrase: str | None = None) -> str:
        """Make a user with an API key, and an OCI profile of the same name.

        Args:
            name: Name of user and profile.
            passphrase: Encrypts the private key; the profile then holds it as ``pass_phrase``.

        Returns:
            The user's OCID.

        Raises:
            ValueError: There is such a user already.
        """
        config = configparser.RawConfigParser()
        config.read(self.config_file)
        if config.has_section(name):
            raise ValueError(f"The emulator has a user {name!r} already")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        # An API key's fingerprint is defined as the MD5 of the public key; nothing relies on it.
        digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
        fingerprint = ":".join(digest[index : index + 2] for index in range(0, 32, 2))
        user_id = f"ocid1.user.oc1..{unique()}"
        key_file = self._folder / f"key-{digest}.pem"
        write_private(key_file, _private_pem(key, passphrase))
        self._state.execute(
            "INSERT OR REPLACE INTO api_keys VALUES (?, ?, ?, ?)",
            (f"{self.tenancy_id}/{user_id}/{fingerprint}", user_id, name, der),
        )
        config[name] = {
            "user": user_id,
            "fingerprint": fingerprint,
            "tenancy": self.tenancy_id,
            "region": REGION,
            "key_file": str(key_file),
            **({"pass_phrase": passphrase} if passphrase else {}),
        }
        self._write_config(config)
        return user_id

    def issue_token(
        self,
        public_key_pem: bytes | str,
        *,
        lifetime_seconds: float = 3600,
        subject: str | None = None,
    ) -> str:
        """Issue a security token for a session key, as OCI's identity service does.

        Args:
            public_key_pem: The session's RSA public key.
            lifetime_seconds: How long it is accepted, by the emulator's clock.
            subject: OCID of the user or resource; the emulator's first user when absent.

        Returns:
            The token; requests name it in their ``keyId`` as ``ST$<token>``.
        """
        pem = public_key_pem.encode() if isinstance(public_key_pem, str) else public_key_pem
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("A security token needs an RSA public key")
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
        now = self._clock()
        claims = {
            "iss": "authService.oracle.com",
            "sub": subject or self._first_user_id(),
            "iat": int(now),
            "exp": int(now + lifetime_seconds),
            "jti": secrets.token_hex(16),
            "tenant": self.tenancy_id,
            "res_tenant": self.tenancy_id,
            "res_compartment": self.tenancy_id,
            "jwk": json.dumps({**jwk, "kid": "session", "alg": "RS256", "use": "sig"}),
        }
        return jwt.encode(claims, self._token_key, algorithm="RS256")

    def find(self, key_id: str) -> Principal:
        """Give the principal of a ``keyId``.

        Raises:
            Refusal: 401 NotAuthenticated for a key or a token that is not the emulator's, or that
                has expired.
        """
        if not key_id.startswith(_TOKEN_PREFIX):
            return self._api_key(key_id)
        principal, expires = self._token(key_id.removeprefix(_TOKEN_PREFIX))
        if self._clock() >= expires:
            raise not_authenticated("the security token has expired")
        return principal

    def _load_api_key(self, key_id: str) -> Principal:
        rows = self._state.execute(
            "SELECT user_id, name, public_key FROM api_keys WHERE key_id = ?", (key_id,)
        )
        if not rows:
            raise not_authenticated("its keyId is no API key of this emulator")
        [(user_id, name, der)] = rows
        return Principal(user_id, name, _rsa_public(serialization.load_der_public_key(der)))

    def _read_token(self, token: str) -> tuple[Principal, float]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._token_key.public_key(),
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise not_authenticated("its keyId is no security token of this emulator") from None
        key = jwt.algorithms.RSAAlgorithm.from_jwk(claims["jwk"])
        subject = claims["sub"]
        names = self._state.execute("SELECT name FROM api_keys WHERE user_id = ?", (subject,))
        name = names[0][0] if names else subject
        return Principal(subject, name, _rsa_public(key)), float(claims["exp"])

    def _first_user_id(self) -> str:
        [(user_id,)] = self._state.execute(
            "SELECT user_id FROM api_keys WHERE name = ?", (DEFAULT_PROFILE,)
        )
        return str(user_id)

    @cached_property
    def _token_key(self) -> rsa.RSAPrivateKey:
        path = self._folder / "token-issuer.pem"
        if not path.exists():
            new = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            write_private(path, _private_pem(new, None))
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    def _write_config(self, config: configparser.RawConfigParser) -> None:
        text = io.StringIO()
        config.write(text)
        write_private(self.config_file, text.getvalue().encode())


def _rsa_public(key: Any) -> rsa.RSAPublicKey:
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def _private_pem(key: rsa.RSAPrivateKey, passphrase: str | None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption(),
    )
