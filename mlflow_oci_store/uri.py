"""The tracking URI: ``oci-dp://<ai-data-platform-ocid>/<workspace-key>[?option=value...]``.

This module knows how such a URI is written, and nothing of what its values mean: it takes the URI
apart, undoes percent-encoding, and refuses what cannot be one. Whether the values make sense is
decided in ``settings``, where the same values may come from the environment instead. Either part
may therefore be left out: ``oci-dp://`` alone takes everything from the environment.

OCIDs are case-sensitive, so the platform is taken from ``netloc``: ``hostname`` would lower-case
it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from mlflow.exceptions import MlflowException

SCHEME = "oci-dp"
FORM = f"{SCHEME}://<ai-data-platform-ocid>/<workspace-key>"
OPTIONS = (
    "profile",
    "config_file",
    "auth",
    "region",
    "endpoint",
    "object_storage_endpoint",
    "api_version",
    "user_principal",
    "deadline",
    "reserved_tags",
    "on_outage",
    "outbox_dir",
    "outbox_sync",
    "outbox_exit_seconds",
)

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class TrackingUri:
    """A tracking URI, taken apart and percent-decoded.

    ``platform_id`` and ``workspace_key`` are None where the URI leaves them out, ``options`` holds
    only what it spells out.
    """

    platform_id: str | None
    workspace_key: str | None
    options: Mapping[str, str]

    @classmethod
    def parse(cls, uri: str) -> TrackingUri:
        """Take ``uri`` apart, by the rules of RFC 3986.

        Args:
            uri: what ``MLFLOW_TRACKING_URI`` or ``mlflow.set_tracking_uri`` says.

        Returns:
            The parts, decoded, with the case of every letter kept. A ``+`` stays a ``+``.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if it is not such a URI. The message says
                what to write instead and never repeats user info or the value of an option.
        """
        if uri != uri.strip() or not uri.isprintable():
            # urlsplit would drop some of these without a word.
            raise _refused("it contains control characters or begins or ends with a space")
        if _STRAY_PERCENT.search(uri):
            raise _refused("a '%' stands for itself only when written as %25")
        try:
            parts = urlsplit(uri)
        except ValueError:
            raise _refused("its first part is not an OCID") from None
        if parts.scheme != SCHEME:
            raise _refused("it has another scheme")
        if "@" in parts.netloc:
            raise _refused("it carries user info; remove it, since an OCI profile holds the key")
        if ":" in parts.netloc:
            raise _refused("it carries a port; write ?endpoint=https://<host>:<port> instead")
        if parts.fragment or uri.endswith("#"):
            raise _refused("it has a fragment; write '#' inside a value as %23")
        return cls(parts.netloc or None, _workspace_key(parts.path), _options(parts.query))


def _workspace_key(path: str) -> str | None:
    first, *rest = path.removesuffix("/").split("/")
    if first or len(rest) > 1:
        raise _refused("a single workspace key follows the platform; write '/' inside a key as %2F")
    return _decoded(rest[0]) if rest else None


def _options(query: str) -> dict[str, str]:
    if not query:
        return {}
    try:
        # Parsed as a form, '+' would mean a space, which no path on disk wants.
        pairs = parse_qsl(
            query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        raise _refused("options are written ?name=value&name=value, in UTF-8") from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name.lower(), OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(OPTIONS)}"
            raise _refused(f"it has no option {name!r}; {hint}")
        if name in options:
            raise _refused(f"option {name!r} is given twice; keep one")
        if not value:
            raise _refused(f"option {name!r} is empty; give it a value or leave it out")
        options[name] = value
    return options


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _refused("percent-encoded text must be UTF-8") from None


def _refused(reason: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(
        f"This tracking URI cannot be used: {reason}. The form is {FORM}[?option=value...], or "
        f"{SCHEME}:// with MLFLOW_OCI_DP_PLATFORM_ID and MLFLOW_OCI_DP_WORKSPACE_KEY set."
    )
