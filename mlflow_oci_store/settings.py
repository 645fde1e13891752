"""Everything a store must know before its first call, as one frozen ``Settings``.

Each value is looked for in four places, and the first that has it wins:

1. the tracking URI (``?region=...``);
2. our own variable (``MLFLOW_OCI_DP_REGION``);
3. the variable of Oracle's tools (``OCI_CLI_REGION``; the table is ``OCI_VARIABLES``);
4. the OCI profile, for what only it may know: who signs, and a region nothing else names. That
   is read by ``client.auth``, with the first call, so building settings opens no file.

How HTTP is done (retries, timeouts, TLS) is said by MLflow's own variables, as for any other
MLflow server. Everything is checked here, wherever it came from, so that a mistake is refused with
a sentence before anything is sent. No secret is ever kept here: settings may be printed and
pickled.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mlflow import environment_variables
from mlflow.exceptions import MlflowException

from mlflow_oci_store.uri import FORM, TrackingUri

AUTH_KINDS = (
    "auto",
    "api_key",
    "security_token",
    "instance_principal",
    "resource_principal",
    "delegation_token",
    "oke_workload_identity",
)
DEFAULTS = {
    "profile": "DEFAULT",
    "config_file": "~/.oci/config",
    "auth": "auto",
    "api_version": "20260430",
    "deadline": "300",
}
OCI_VARIABLES = {
    "platform_id": ("AIDP_INSTANCE_ID",),
    "profile": ("OCI_CLI_PROFILE",),
    "config_file": ("OCI_CLI_CONFIG_FILE", "OCI_CONFIG_FILE"),
    "auth": ("OCI_CLI_AUTH",),
    "region": ("OCI_CLI_REGION",),
    "endpoint": ("AIDP_ENDPOINT",),
}

# The OCI CLI calls a delegation token so, and Cloud Shell sets OCI_CLI_AUTH to it.
_AUTH_SYNONYMS = {"instance_obo_user": "delegation_token"}
_PLATFORM_ID = re.compile(
    r"ocid1\.aidataplatform\.[a-z0-9-]+\.(?P<region>[a-z0-9-]*)(\.[\w-]*)?\.[\w-]+", re.ASCII
)
_REGION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.IGNORECASE | re.ASCII)
_API_VERSION = re.compile(r"20[0-9]{6}")


@dataclass(frozen=True)
class Settings:
    """What a store was told, checked and complete.

    Attributes:
        platform_id: OCID of the AI Data Platform.
        workspace_key: key of the workspace, decoded.
        api_version: version of the service's API, eight digits.
        auth: one of ``AUTH_KINDS``. ``auto`` stays ``auto`` here: which kind it comes to is found
            out by ``client.auth.Authenticator`` from the profile and the environment.
        config_file: path of the OCI configuration file, ``~`` not expanded.
        profile: name of the profile in it.
        region: full name of the region, or None if only the profile or principal can say.
        endpoint: ``https://host[:port]`` to call, or None for ``default_endpoint`` of the region.
        user_principal: value of the header ``dh-user-principal``, or None to send none.
        max_retries: tries after the first, from MLFLOW_HTTP_REQUEST_MAX_RETRIES.
        backoff_factor: seconds, from MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.
        backoff_jitter: seconds, from MLFLOW_HTTP_REQUEST_BACKOFF_JITTER.
        timeout: seconds for one try, from MLFLOW_HTTP_REQUEST_TIMEOUT.
        deadline: seconds for one call with all its tries.
        verify: whether to check the server's certificate, or the path of the CA bundle to check it
            with, from MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH.
        client_cert: path of a client certificate with its key, from
            MLFLOW_TRACKING_CLIENT_CERT_PATH.
    """

    platform_id: str
    workspace_key: str
    api_version: str
    auth: str
    config_file: str
    profile: str
    region: str | None
    endpoint: str | None
    user_principal: str | None
    max_retries: int
    backoff_factor: float
    backoff_jitter: float
    timeout: float
    deadline: float
    verify: bool | str
    client_cert: str | None

    @classmethod
    def from_uri(cls, uri: str, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings of a store from its URI and the environment.

        Args:
            uri: the tracking URI, see ``uri.TrackingUri``.
            environ: the environment variables; None means those of this process. An empty
                variable counts as unset.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if a value is missing or cannot be right. The
                message names the value, where it was found, and what to write instead.
        """
        environ = os.environ if environ is None else environ
        parsed = TrackingUri.parse(uri)

        def given(option: str) -> _Given | None:
            return _given(option, parsed, environ)

        platform_id, region_key = _platform_id(given("platform_id"))
        return cls(
            platform_id=platform_id,
            workspace_key=_workspace_key(given("workspace_key")),
            api_version=_api_version(_required(given("api_version"))),
            auth=_auth(_required(given("auth"))),
            config_file=_required(given("config_file")).text,
            profile=_required(given("profile")).text,
            region=_region(given("region"), region_key),
            endpoint=_endpoint(given("endpoint")),
            user_principal=_user_principal(given("user_principal")),
            max_retries=int(_http("MLFLOW_HTTP_REQUEST_MAX_RETRIES", environ)),
            backoff_factor=_http("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", environ),
            backoff_jitter=_http("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", environ),
            timeout=_timeout(environ),
            deadline=_deadline(_required(given("deadline"))),
            verify=_verify(environ),
            client_cert=_certificate("MLFLOW_TRACKING_CLIENT_CERT_PATH", environ),
        )


def default_endpoint(region: str) -> str:
    """Return where the service is in a region, in whatever realm the region belongs to.

    Args:
        region: name or key of a region, such as ``us-ashburn-1`` or ``iad``. One that the
            installed ``oci`` does not know is taken to be in the commercial realm, as ``oci``
            itself does; OCI_REGION_METADATA teaches it another.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if it cannot be the name of a region.
    """
    import oci.regions

    endpoint: str = oci.regions.endpoint_for(
        "aidp",
        region=_region_name(_Given(region, "the OCI profile")),
        service_endpoint_template="https://aidp.{region}.oci.{secondLevelDomain}",
    )
    return endpoint


class _Given(NamedTuple):
    """A value as somebody wrote it, and where, so that a refusal can point there."""

    text: str
    source: str

    def refused(self, option: str, instead: str) -> MlflowException:
        return MlflowException.invalid_parameter_value(
            f"{option} {self.text!r}, from {self.source}, cannot be used: {instead}"
        )


def _given(option: str, uri: TrackingUri, environ: Mapping[str, str]) -> _Given | None:
    variables = (f"MLFLOW_OCI_DP_{option.upper()}", *OCI_VARIABLES.get(option, ()))
    in_uri = {"platform_id": uri.platform_id, "workspace_key": uri.workspace_key, **uri.options}
    candidates = (
        (in_uri.get(option), "the tracking URI"),
        *((environ.get(variable), variable) for variable in variables),
        (DEFAULTS.get(option), "the defaults"),
    )
    for text, source in candidates:
        if text:
            found = _Given(text, source)
            if text != text.strip() or not text.isprintable():
                raise found.refused(option, "remove control characters and outer spaces.")
            return found
    return None


def _required(given: _Given | None) -> _Given:
    assert given is not None, "an option with a default is always given"
    return given


def _platform_id(given: _Given | None) -> tuple[str, str]:
    if given is None:
        raise MlflowException.invalid_parameter_value(
            f"No AI Data Platform is named: write {FORM}, or set MLFLOW_OCI_DP_PLATFORM_ID."
        )
    if match := _PLATFORM_ID.fullmatch(given.text):
        return given.text, match["region"]
    raise given.refused(
        "platform_id",
        "write the OCID of the AI Data Platform, ocid1.aidataplatform.<realm>.<region>.<unique>, "
        "in the letter case the console shows.",
    )


def _workspace_key(given: _Given | None) -> str:
    if given is None:
        raise MlflowException.invalid_parameter_value(
            f"No workspace is named: write {FORM}, or set MLFLOW_OCI_DP_WORKSPACE_KEY."
        )
    if given.text in (".", ".."):
        raise given.refused("workspace_key", "write the key of the workspace, not a relative path.")
    return given.text


def _api_version(given: _Given) -> str:
    if not _API_VERSION.fullmatch(given.text):
        raise given.refused("api_version", f"write eight digits, as in {DEFAULTS['api_version']}.")
    return given.text


def _auth(given: _Given) -> str:
    kind = _AUTH_SYNONYMS.get(given.text, given.text)
    if kind not in AUTH_KINDS:
        near = difflib.get_close_matches(kind.lower(), AUTH_KINDS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise given.refused("auth", f"write one of {', '.join(AUTH_KINDS)}{hint}.")
    return kind


def _region(given: _Given | None, region_key: str) -> str | None:
    import oci.regions

    if given is not None:
        region: str = oci.regions.get_region_from_short_name(_region_name(given))
        return region
    region = oci.regions.get_region_from_short_name(region_key) if region_key else ""
    # A key that the installed oci does not know says nothing of the region's name.
    return region if "-" in region else None


def _region_name(given: _Given) -> str:
    if not _REGION.fullmatch(given.text):
        raise given.refused("region", "write the name of a region, as in us-ashburn-1.")
    return given.text.lower()


def _endpoint(given: _Given | None) -> str | None:
    if given is None:
        return None
    # AIDP_ENDPOINT may be a bare host for Oracle's CLI, which then means https.
    text = given.text if "://" in given.text else f"https://{given.text}"
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or not _HOST.fullmatch(host) or parts.scheme not in ("https", "http"):
        raise _Given("...", given.source).refused("endpoint", "write https://<host>[:<port>].")
    if "@" in parts.netloc:
        raise _Given("...", given.source).refused(
            "endpoint", "remove the user info; an OCI profile holds the key."
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise given.refused("endpoint", f"write {parts.scheme}://{parts.netloc} without a path.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise given.refused("endpoint", f"write https://{parts.netloc}; http is for loopback only.")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _user_principal(given: _Given | None) -> str | None:
    if given is None:
        return None
    if not given.text.isascii():
        raise given.refused("user_principal", "write it in ASCII: it travels as an HTTP header.")
    return given.text


def _deadline(given: _Given) -> float:
    try:
        seconds = float(given.text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise given.refused("deadline", "write a number of seconds above 0, as in 300.")
    return seconds


def _http(variable: str, environ: Mapping[str, str]) -> float:
    declared = getattr(environment_variables, variable)
    value = _converted(declared, environ)
    if not 0 <= value < math.inf:
        raise _Given(str(value), variable).refused("It", "write a number that is not negative.")
    return value


def _timeout(environ: Mapping[str, str]) -> float:
    seconds = _http("MLFLOW_HTTP_REQUEST_TIMEOUT", environ)
    if not seconds:
        raise _Given("0", "MLFLOW_HTTP_REQUEST_TIMEOUT").refused(
            "timeout", "write a number of seconds above 0."
        )
    return seconds


def _converted(declared: Any, environ: Mapping[str, str]) -> float:
    text = environ.get(declared.name)
    if not text:
        return float(declared.default)
    try:
        return float(declared.type(text))
    except ValueError:
        raise _Given(text, declared.name).refused("It", "write a number.") from None


def _verify(environ: Mapping[str, str]) -> bool | str:
    variable = "MLFLOW_TRACKING_INSECURE_TLS"
    text = environ.get(variable, "").lower() or "false"
    if text not in ("true", "false", "1", "0"):
        raise _Given(text, variable).refused("It", "write true or false.")
    insecure = text in ("true", "1")
    bundle = _certificate("MLFLOW_TRACKING_SERVER_CERT_PATH", environ)
    if insecure and bundle:
        raise MlflowException.invalid_parameter_value(
            f"{variable} and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each other: unset one."
        )
    return bundle or not insecure


def _certificate(variable: str, environ: Mapping[str, str]) -> str | None:
    path = environ.get(variable) or None
    if path and not os.path.exists(path):
        raise _Given(path, variable).refused("It", "write the path of a file that exists.")
    return path
