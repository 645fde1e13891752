"""TLS for the emulator: a certificate authority of its own, kept in the data folder.

Clients trust ``ca.pem``; it stays the same when the emulator starts again on the folder.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from mlflow_oci_store.emulator.principals import write_private

_NAMES = ("localhost", "127.0.0.1", "::1")


def ca_file(folder: Path) -> Path:
    """Where the authority's certificate is."""
    return folder / "ca.pem"


def server_context(folder: Path) -> ssl.SSLContext:
    """Make a server's TLS context, with a certificate for the names of loopback.

    Args:
        folder: The data folder; the authority is made there when it is missing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority(folder).issue_cert(*_NAMES).configure_cert(context)
    return context


def _authority(folder: Path) -> trustme.CA:
    key_file = folder / "ca-key.pem"
    if key_file.exists():
        return trustme.CA.from_pem(ca_file(folder).read_bytes(), key_file.read_bytes())
    authority = trustme.CA()
    write_private(ca_file(folder), authority.cert_pem.bytes())
    write_private(key_file, authority.private_key_pem.bytes())
    return authority
