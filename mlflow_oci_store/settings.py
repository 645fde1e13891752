"""Everything a store must know before its first call, as one frozen ``Settings``.

Each value is looked for in four places, and the first that has it wins:

1. the tracking URI (``?region=...``);
2. our own variable (``MLFLOW_OCI_DP_REGION``);
3. the variable of Oracle's tools (``OCI_CLI_REGION``; the table is ``OCI_VARIABLES``);
4. the OCI profile, for what only it may know: who signs, and a region nothing else names. It
   is read by ``client.auth``, with the first call, so building settings opens no file.

How HTTP is done (retries, timeouts, TLS) is said by MLflow's own variables, as for any other
MLflow server. Everything is checked here, wherever it came from, so that a mistake is refused with
a sentence before anything is sent. No secret is ever kept here: settings may be printed and
pickled.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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
RESERVED_TAGS = ("hidden", "shown")
ON_OUTAGE = ("raise", "queue")
OUTBOX_SYNC = ("normal", "full")
DEFAULTS = {
    "profile": "DEFAULT",
    "config_file": "~/.oci/config",
    "auth": "auto",
    "api_version": "20260430",
    "deadline": "300",
    "reserved_tags": "hidden",
    "on_outage": "raise",
    "outbox_sync": "normal",
    "outbox_exit_seconds": "30",
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
_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)
_NOWHERE = TrackingUri(None, None, {})
_API_VERSION = re.compile(r"20[0-9]{6}")


@dataclass(frozen=True)
class AccessSettings:
    """Who calls Oracle's cloud, and how: all that Object Storage needs to know.

    Attributes:
        auth: one of ``AUTH_KINDS``. ``auto`` stays ``auto`` here: which kind it comes to is found
            out by ``client.auth.Authenticator`` from the profile and the environment.
        config_file: path of the OCI configuration file, ``~`` not expanded.
        profile: name of the profile in it.
        region: full name of the region, or None if only the profile or principal can say.
        object_storage_endpoint: ``https://host[:port]`` for artifacts, or None for the region's.
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

    auth: str
    config_file: str
    profile: str
    region: str | None
    object_storage_endpoint: str | None
    max_retries: int
    backoff_factor: float
    backoff_jitter: float
    timeout: float
    deadline: float
    verify: bool | str
    client_cert: str | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> AccessSettings:
        """Read the settings for artifacts of a tracking server that is not AI Data Platform.

        Args:
            environ: as for ``Settings.from_uri``.

        Raises:
            MlflowException: as ``Settings.from_uri`` does.
        """
        environ = os.environ if environ is None else environ
        return cls(**_access(_NOWHERE, environ, region_key=""))


@dataclass(frozen=True)
class Settings(AccessSettings):
    """What a store was told, checked and complete.

    Attributes:
        platform_id: OCID of the AI Data Platform.
        workspace_key: key of the workspace, decoded.
        api_version: version of the service's API, eight digits.
        endpoint: ``https://host[:port]`` to call, or None for ``default_endpoint`` of the region.
        user_principal: value of the header ``dh-user-principal``, or None to send none.
        reserved_tags: one of ``RESERVED_TAGS``: whether tags that this package keeps for itself
            show up among those of runs and experiments.
        on_outage: one of ``ON_OUTAGE``: what becomes of a synchronous logging call that the
            service does not answer, an error or an entry in the outbox.
        outbox_dir: absolute path of the folder that keeps what is logged asynchronously.
        outbox_sync: one of ``OUTBOX_SYNC``: whether what was accepted is on disk (full), or with
            the operating system, which survives everything but the machine's own end (normal).
        outbox_exit_seconds: how long a process that ends waits for the outbox to be empty.
    """

    platform_id: str
    workspace_key: str
    api_version: str
    endpoint: str | None
    user_principal: str | None
    reserved_tags: str
    on_outage: str
    outbox_dir: str
    outbox_sync: str
    outbox_exit_seconds: float

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
        platform_id, region_key = _platform_id(_given("platform_id", parsed, environ))
        return cls(
            platform_id=platform_id,
            workspace_key=_workspace_key(_given("workspace_key", parsed, environ)),
            api_version=_api_version(_defaulted("api_version", parsed, environ)),
            endpoint=_endpoint(_given("endpoint", parsed, environ)),
            user_principal=_user_principal(_given("user_principal", parsed, environ)),
            reserved_tags=_one_of(RESERVED_TAGS, _defaulted("reserved_tags", parsed, environ)),
            on_outage=_one_of(ON_OUTAGE, _defaulted("on_outage", parsed, environ)),
            outbox_dir=_outbox_dir(_given("outbox_dir", parsed, environ), environ),
            outbox_sync=_one_of(OUTBOX_SYNC, _defaulted("outbox_sync", parsed, environ)),
            outbox_exit_seconds=_exit_seconds(_defaulted("outbox_exit_seconds", parsed, environ)),
            **_access(parsed, environ, region_key),
        )


def default_endpoint(region: str) -> str:
    """Return where the service is in a region, in whatever realm the region belongs to.

    Args:
        region: name or key of a region, such as ``us-ashburn-1`` or ``iad``. One that the
            installed ``oci`` does not know is taken to be in the commercial realm, as ``oci``
            itself does; the variable OCI_REGION_METADATA teaches it another.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if it cannot be the name of a region.
    """
    import oci.regions

    endpoint: str = oci.regions.endpoint_for(
        "aidp",
        region=_region_name(_Given("region", region, "the OCI profile or principal")),
        service_endpoint_template="https://aidp.{region}.oci.{secondLevelDomain}",
    )
    return endpoint


class _Given(NamedTuple):
    """A value as somebody wrote it, and where, so that a refusal can point there."""

    name: str
    text: str
    source: str

    def refused(self, instead: str) -> MlflowException:
        return MlflowException.invalid_parameter_value(
            f"{self.name} {self.text!r}, from {self.source}, cannot be used: {instead}"
        )


def _given(option: str, uri: TrackingUri, environ: Mapping[str, str]) -> _Given | None:
    in_uri = {"platform_id": uri.platform_id, "workspace_key": uri.workspace_key, **uri.options}
    variables = (f"MLFLOW_OCI_DP_{option.upper()}", *OCI_VARIABLES.get(option, ()))
    candidates = (
        (in_uri.get(option), "the tracking URI"),
        *((environ.get(variable), variable) for variable in variables),
    )
    for text, source in candidates:
        if text:
            found = _Given(option, text, source)
            if text != text.strip() or not text.isprintable():
                raise found.refused("remove control characters and outer spaces.")
            return found
    return None


def _defaulted(option: str, uri: TrackingUri, environ: Mapping[str, str]) -> _Given:
    return _given(option, uri, environ) or _Given(option, DEFAULTS[option], "the defaults")


def _access(uri: TrackingUri, environ: Mapping[str, str], region_key: str) -> dict[str, Any]:
    """The fields of ``AccessSettings``."""
    mlflow = environment_variables
    return {
        "auth": _auth(_defaulted("auth", uri, environ)),
        "config_file": _defaulted("config_file", uri, environ).text,
        "profile": _defaulted("profile", uri, environ).text,
        "region": _region(_given("region", uri, environ), region_key),
        "object_storage_endpoint": _endpoint(_given("object_storage_endpoint", uri, environ)),
        "max_retries": int(_number(mlflow.MLFLOW_HTTP_REQUEST_MAX_RETRIES, environ)),
        "backoff_factor": _number(mlflow.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR, environ),
        "backoff_jitter": _number(mlflow.MLFLOW_HTTP_REQUEST_BACKOFF_JITTER, environ),
        "timeout": _timeout(environ),
        "deadline": _deadline(_defaulted("deadline", uri, environ)),
        "verify": _verify(environ),
        "client_cert": _existing(mlflow.MLFLOW_TRACKING_CLIENT_CERT_PATH, environ),
    }


def _platform_id(given: _Given | None) -> tuple[str, str]:
    if given is None:
        raise MlflowException.invalid_parameter_value(
            f"No AI Data Platform is named: write {FORM}, or set MLFLOW_OCI_DP_PLATFORM_ID."
        )
    match = _PLATFORM_ID.fullmatch(given.text)
    if match is None:
        raise given.refused(
            "write the OCID of an AI Data Platform, ocid1.aidataplatform.<realm>.<region>."
            "<unique>, in the letter case the console shows."
        )
    return given.text, match["region"]


def _workspace_key(given: _Given | None) -> str:
    if given is None:
        raise MlflowException.invalid_parameter_value(
            f"No workspace is named: write {FORM}, or set MLFLOW_OCI_DP_WORKSPACE_KEY."
        )
    if given.text in (".", ".."):
        raise given.refused("write the key of a workspace, not a relative path.")
    return given.text


def _api_version(given: _Given) -> str:
    if not _API_VERSION.fullmatch(given.text):
        raise given.refused(f"write a date of eight digits, as in {DEFAULTS['api_version']}.")
    return given.text


def _auth(given: _Given) -> str:
    kind = _AUTH_SYNONYMS.get(given.text, given.text)
    if kind not in AUTH_KINDS:
        raise given.refused(f"write one of {', '.join(AUTH_KINDS)}.")
    return kind


def _region(given: _Given | None, region_key: str) -> str | None:
    import oci.regions

    name = _region_name(given) if given else region_key
    region: str = oci.regions.get_region_from_short_name(name) if name else ""
    # A key in an OCID that the installed oci does not know says nothing of the region's name.
    return region if given or "-" in region else None


def _region_name(given: _Given) -> str:
    if not _REGION.fullmatch(given.text):
        raise given.refused("write the name of a region, as in us-ashburn-1.")
    return given.text.lower()


def _endpoint(given: _Given | None) -> str | None:
    if given is None:
        return None
    if "@" in given.text:
        raise given._replace(text="(hidden)").refused(
            "remove the user info, since an OCI profile holds the key."
        )
    # AIDP_ENDPOINT may be a bare host for Oracle's CLI, which then means https.
    text = given.text if "://" in given.text else f"https://{given.text}"
    match = _ENDPOINT.fullmatch(text)
    if match is None or not 0 < int(match["port"] or "443") < 65536:
        raise given.refused("write https://<host> or https://<host>:<port>, and no path.")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if scheme == "http" and not _is_loopback(host):
        raise given.refused("write https://, since http is for loopback only.")
    return f"{scheme}://{host}:{match['port']}" if match["port"] else f"{scheme}://{host}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _user_principal(given: _Given | None) -> str | None:
    if given is not None and not given.text.isascii():
        raise given.refused("write it in ASCII, since it travels as an HTTP header.")
    return given.text if given else None


def _one_of(values: tuple[str, ...], given: _Given) -> str:
    if given.text not in values:
        raise given.refused(f"write one of {', '.join(values)}.")
    return given.text


def _outbox_dir(given: _Given | None, environ: Mapping[str, str]) -> str:
    if given is None:
        return os.path.join(state_home(environ), "mlflow-oci-store", "outbox")
    path = os.path.expanduser(given.text)
    if not os.path.isabs(path):
        raise given.refused("write an absolute path, since a script may change its folder.")
    return path


def default_outbox_dir(environ: Mapping[str, str] | None = None) -> str:
    """The outbox folder of stores whose URI names none.

    Args:
        environ: as for ``Settings.from_uri``.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if the environment names an impossible one.
    """
    environ = os.environ if environ is None else environ
    return _outbox_dir(_given("outbox_dir", _NOWHERE, environ), environ)


def state_home(environ: Mapping[str, str]) -> str:
    """The folder for data that outlives a program, by the XDG Base Directory Specification.

    Args:
        environ: the environment variables. A relative path in XDG_STATE_HOME does not count, as
            the specification asks.
    """
    given = environ.get("XDG_STATE_HOME") or ""
    return given if os.path.isabs(given) else os.path.expanduser("~/.local/state")


def _exit_seconds(given: _Given) -> float:
    seconds = _seconds(given)
    if not 0 <= seconds < math.inf:
        raise given.refused("write a number of seconds, 0 or more.")
    return seconds


def _deadline(given: _Given) -> float:
    seconds = _seconds(given)
    if not 0 < seconds < math.inf:
        raise given.refused("write a number of seconds above 0, as in 300.")
    return seconds


def _seconds(given: _Given) -> float:
    try:
        return float(given.text)
    except ValueError:
        return math.nan


def _number(variable: Any, environ: Mapping[str, str]) -> float:
    """Read one of MLflow's numeric variables; its type and default are MLflow's."""
    text = environ.get(variable.name) or str(variable.default)
    try:
        number = float(variable.type(text))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise _Given(variable.name, text, "the environment").refused(
            f"write {'a whole number' if variable.type is int else 'a number'}, 0 or more."
        )
    return number


def _timeout(environ: Mapping[str, str]) -> float:
    variable = environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT
    seconds = _number(variable, environ)
    if not seconds:
        raise _Given(variable.name, "0", "the environment").refused(
            "write a number of seconds above 0."
        )
    return seconds


def _verify(environ: Mapping[str, str]) -> bool | str:
    variable = environment_variables.MLFLOW_TRACKING_INSECURE_TLS.name
    text = environ.get(variable) or "false"
    if text.lower() not in ("true", "1", "false", "0"):
        raise _Given(variable, text, "the environment").refused("write true or false.")
    insecure = text.lower() in ("true", "1")
    bundle = _existing(environment_variables.MLFLOW_TRACKING_SERVER_CERT_PATH, environ)
    if insecure and bundle:
        raise MlflowException.invalid_parameter_value(
            f"{variable} and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each other: unset one."
        )
    return bundle or not insecure


def _existing(variable: Any, environ: Mapping[str, str]) -> str | None:
    path = environ.get(variable.name) or None
    if path and not os.path.exists(path):
        raise _Given(variable.name, path, "the environment").refused(
            "write the path of a file that exists."
        )
    return path
