"""An OCI profile with an API key that nobody has but this run of the benchmark."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key


def write_profile(folder: Path) -> Path:
    """Write an OCI configuration file with a new key.

    Args:
        folder: Where to.

    Returns:
        The configuration file, whose default profile it is.
    """
    key_file, config = folder / "key.pem", folder / "config"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    config.touch(mode=0o600)
    config.write_text(
        "[DEFAULT]\nuser=ocid1.user.oc1..benchmark\ntenancy=ocid1.tenancy.oc1..benchmark\n"
        f"fingerprint={':'.join(['00'] * 16)}\nregion=us-ashburn-1\nkey_file={key_file}\n"
    )
    return config
