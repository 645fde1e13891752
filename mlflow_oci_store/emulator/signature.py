"""Request signatures, checked as OCI checks them.

A client sends ``Authorization: Signature version="1",keyId=...,algorithm="rsa-sha256",
headers="...",signature="..."`` after draft-cavage-http-signatures-08. What must be covered, the
body hash and the five minutes of clock difference are those of OCI's request signing reference.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from mlflow_oci_store.emulator.answers import Request, not_authenticated
from mlflow_oci_store.emulator.principals import Principal

CLOCK_DIFFERENCE_SECONDS = 300

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_ALWAYS = ("(request-target)", "host")
# Object Storage's PUT has a body as well; it streams, and is signed without it.
_METHODS_WITH_BODY = ("POST", "PATCH")
_WITH_BODY = ("content-length", "content-type", "x-content-sha256")


def verify(request: Request, find: Callable[[str], Principal], now: float) -> Principal:
    """Check the signature of a request.

    Args:
        request: The request as it came from the socket.
        find: Gives the principal of a ``keyId``, or refuses it.
        now: The service's clock, in seconds since the epoch.

    Returns:
        Who signed.

    Raises:
        Refusal: 401 NotAuthenticated.
    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    said = dict(_PARAMETER.findall(rest))
    if scheme.lower() != "signature" or not {"keyId", "signature", "headers"} <= said.keys():
        raise not_authenticated("the Authorization header is not an OCI signature")
    if said.get("algorithm") != "rsa-sha256" or said.get("version", "1") != "1":
        raise not_authenticated("only rsa-sha256 signatures of version 1 are accepted")
    covered = said["headers"].lower().split()
    _require_coverage(request, covered)
    _require_current(request, covered, now)
    principal = find(said["keyId"])
    try:
        principal.public_key.verify(
            base64.b64decode(said["signature"], validate=True),
            _signing_string(request, covered),
            PKCS1v15(),
            SHA256(),
        )
    except (InvalidSignature, binascii.Error):
        raise not_authenticated("the signature does not match the request") from None
    if request.method in _METHODS_WITH_BODY:
        _require_body_hash(request)
    return principal


def _require_coverage(request: Request, covered: list[str]) -> None:
    required = [*_ALWAYS, *(_WITH_BODY if request.method in _METHODS_WITH_BODY else ())]
    if missing := [name for name in required if name not in covered]:
        raise not_authenticated(f"the signature does not cover {', '.join(missing)}")
    if absent := [name for name in covered if name not in {"(request-target)", *request.headers}]:
        raise not_authenticated(f"the signed header {absent[0]} is not in the request")


def _require_current(request: Request, covered: list[str], now: float) -> None:
    name = next((name for name in ("x-date", "date") if name in covered), None)
    if name is None:
        raise not_authenticated("the signature covers neither date nor x-date")
    try:
        then = parsedate_to_datetime(request.headers[name]).timestamp()
    except ValueError:
        raise not_authenticated(f"the header {name} is not an HTTP date") from None
    if abs(now - then) > CLOCK_DIFFERENCE_SECONDS:
        raise not_authenticated(
            f"the date of the request is {abs(now - then):.0f} seconds off the service's clock"
        )


def _require_body_hash(request: Request) -> None:
    digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    if request.headers["x-content-sha256"] != digest:
        raise not_authenticated("x-content-sha256 is not the hash of the body")


def _signing_string(request: Request, covered: list[str]) -> bytes:
    return "\n".join(
        f"{name}: {request.method.lower()} {request.target}"
        if name == "(request-target)"
        else f"{name}: {request.headers[name]}"
        for name in covered
    ).encode("latin-1")
