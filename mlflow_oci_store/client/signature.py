"""OCI request signatures: version 1, draft-cavage-http-signatures-08 with rsa-sha256.

``oci.signer`` builds the same header through an HTTP request object and a generic signing library,
which costs as much again as the RSA signature. The string that is signed is fixed for the two
kinds of request that the service knows, so it is put together here directly; the tests hold the
result byte for byte against OCI's own signer.
"""

from __future__ import annotations

import base64
import hashlib
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    from mlflow_oci_store.client.auth import Credentials

CONTENT_TYPE = "application/json"

_AUTHORIZATION = (
    'Signature algorithm="rsa-sha256",headers="{}",keyId="{}",signature="{}",version="1"'
)


@lru_cache(maxsize=1)
def _scheme() -> tuple[PKCS1v15, SHA256]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return PKCS1v15(), SHA256()


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def body_headers(body: bytes | None) -> dict[str, str]:
    """Headers that cover a request's body; made once per call, valid for every try.

    Args:
        body: The request body, JSON in UTF-8, or None for a request without one.
    """
    if body is None:
        return {}
    return {
        "content-length": str(len(body)),
        "content-type": CONTENT_TYPE,
        "x-content-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode("ascii"),
    }


def sign(
    credentials: Credentials, method: str, target: str, host: str, body: dict[str, str]
) -> dict[str, str]:
    """Headers that authenticate a request sent now.

    Args:
        credentials: Key id, private key, and what the principal adds to its requests.
        method: HTTP method, in capitals.
        target: Path and query as they stand on the request line.
        host: Value of the ``host`` header, with a port where the URL has one.
        body: What ``body_headers`` returned for the request's body.

    Returns:
        Everything that the signature covers and the signature itself.
    """
    covered = {
        "date": _http_date(int(time.time())),
        "(request-target)": f"{method.lower()} {target}",
        "host": host,
        **credentials.headers,
        **body,
    }
    text = "\n".join([f"{name}: {value}" for name, value in covered.items()])
    padding, digest = _scheme()
    signature = base64.b64encode(credentials.private_key.sign(text.encode(), padding, digest))
    authorization = _AUTHORIZATION.format(
        " ".join(covered), credentials.key_id, signature.decode("ascii")
    )
    del covered["(request-target)"]
    return {**covered, "authorization": authorization}
