"""OCI request signatures: version 1, draft-cavage-http-signatures-08 with rsa-sha256.

``oci.signer`` builds the same header through an HTTP request object and a generic signing library,
which costs as much again as the RSA signature. The string that is signed is fixed for the two
kinds of request that the service knows, so it is put together here directly; the tests hold the
result byte for byte against OCI's own signer.
"""

from __future__ import annotations

import base64
import hashlib
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256

CONTENT_TYPE = "application/json"

_GET_TEMPLATE = (
    'Signature algorithm="rsa-sha256",headers="date (request-target) host",'
    'keyId="{}",signature="{}",version="1"'
)
_POST_TEMPLATE = (
    'Signature algorithm="rsa-sha256",headers="date (request-target) host '
    'content-length content-type x-content-sha256",keyId="{}",signature="{}",version="1"'
)


@lru_cache(maxsize=1)
def _scheme() -> tuple[PKCS1v15, SHA256]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return PKCS1v15(), SHA256()


def body_headers(body: bytes) -> dict[str, str]:
    """Headers that cover a request's body; made once per call, valid for every try.

    Args:
        body: The request body, JSON in UTF-8.
    """
    return {
        "content-length": str(len(body)),
        "content-type": CONTENT_TYPE,
        "x-content-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode("ascii"),
    }


def sign_get(key_id: str, private_key: RSAPrivateKey, host: str, target: str) -> dict[str, str]:
    """Headers that authenticate a GET sent now.

    Args:
        key_id: ``tenancy/user/fingerprint`` or ``ST$<token>``.
        private_key: The key that belongs to it.
        host: Value of the ``host`` header, with a port where the URL has one.
        target: Path and query as they stand on the request line.
    """
    date = formatdate(usegmt=True)
    signed = f"date: {date}\n(request-target): get {target}\nhost: {host}"
    return {
        "date": date,
        "host": host,
        "authorization": _GET_TEMPLATE.format(key_id, _sign(private_key, signed)),
    }


def sign_post(
    key_id: str, private_key: RSAPrivateKey, host: str, target: str, body: dict[str, str]
) -> dict[str, str]:
    """Headers that authenticate a POST sent now.

    Args:
        key_id: ``tenancy/user/fingerprint`` or ``ST$<token>``.
        private_key: The key that belongs to it.
        host: Value of the ``host`` header, with a port where the URL has one.
        target: Path and query as they stand on the request line.
        body: What ``body_headers`` returned for the request's body.
    """
    date = formatdate(usegmt=True)
    signed = (
        f"date: {date}\n(request-target): post {target}\nhost: {host}\n"
        f"content-length: {body['content-length']}\ncontent-type: {body['content-type']}\n"
        f"x-content-sha256: {body['x-content-sha256']}"
    )
    return {
        **body,
        "date": date,
        "host": host,
        "authorization": _POST_TEMPLATE.format(key_id, _sign(private_key, signed)),
    }


def _sign(private_key: RSAPrivateKey, text: str) -> str:
    padding, digest = _scheme()
    return base64.b64encode(private_key.sign(text.encode(), padding, digest)).decode("ascii")
