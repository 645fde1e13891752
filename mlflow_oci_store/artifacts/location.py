"""Where artifacts are: ``oci://<bucket>@<namespace>/<prefix>``, and what a path below it may be.

An artifact's path becomes part of an object's name, and, when it is downloaded, of a path on disk.
The same rules hold in both directions: a path that could mean another place is refused before
anything is sent, and an object whose name breaks the rules is left out of listings.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mlflow.exceptions import MlflowException
from mlflow.utils.uri import get_uri_scheme

FORM = "oci://<bucket>@<namespace>/<prefix>"
# Object Storage's limit for names, in bytes of UTF-8.
_MAX_NAME_BYTES = 1024

_BUCKET = re.compile(r"[\w.-]+", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9_-]+", re.ASCII | re.IGNORECASE)
# Windows takes both for separators.
_SEPARATOR = re.compile(r"[/\\]")
# Unicode's categories Cc, control characters, and Cs, halves of characters, which are no text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Location(NamedTuple):
    """A place in a bucket.

    Attributes:
        namespace: Object Storage namespace of the tenancy.
        bucket: name of the bucket.
        prefix: what names below this place begin with; empty, or with a ``/`` at its end.
    """

    namespace: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Take an artifact URI apart.

        Args:
            uri: ``oci://<bucket>@<namespace>/<prefix>``. Nothing in it is percent-encoded.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if it is not such a URI.
        """
        scheme, _, rest = uri.partition("://")
        place, _, path = rest.partition("/")
        bucket, _, namespace = place.partition("@")
        if scheme != "oci" or not _BUCKET.fullmatch(bucket) or not _NAMESPACE.fullmatch(namespace):
            raise MlflowException.invalid_parameter_value(
                f"The artifact location {uri!r} cannot be used: write {FORM}. `oci os ns get` "
                "prints the namespace."
            )
        prefix = path.strip("/")
        if prefix and (fault := fault_of(prefix)):
            raise MlflowException.invalid_parameter_value(
                f"The artifact location {uri!r} cannot be used: {fault}."
            )
        return cls(namespace, bucket, f"{prefix}/" if prefix else "")

    def name_of(self, path: str) -> str:
        """Give the name of the object that an artifact is.

        Args:
            path: The artifact's path, below this place.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, if the path could mean another place or cannot
                be a name.
        """
        name = f"{self.prefix}{path}"
        fault = fault_of(path)
        if fault is None and len(name.encode()) > _MAX_NAME_BYTES:
            fault = f"the object's name would be longer than {_MAX_NAME_BYTES} bytes"
        if fault is not None:
            raise MlflowException.invalid_parameter_value(
                f"The artifact path {path!r} cannot be used: {fault}."
            )
        return name

    def folder_of(self, path: str | None) -> str:
        """Give what the names of all artifacts in a folder begin with.

        Args:
            path: The folder's path, with or without a ``/`` at its end; None or empty for all.

        Raises:
            MlflowException: as ``name_of`` does.
        """
        return f"{self.name_of(path.removesuffix('/'))}/" if path else self.prefix


def check_location(uri: str) -> None:
    """Refuse an artifact location that no run could put anything in.

    Args:
        uri: What a user says for ``artifact_location``.

    Raises:
        MlflowException: INVALID_PARAMETER_VALUE, if nothing here knows its scheme, or if it is of
            the scheme ``oci`` and not well formed.
    """
    from mlflow.store.artifact.artifact_repository_registry import (
        get_registered_artifact_repositories,
    )

    scheme = get_uri_scheme(uri)
    known = get_registered_artifact_repositories()
    if scheme not in known:
        raise MlflowException.invalid_parameter_value(
            f"The artifact location {uri!r} cannot be used: no artifact repository for the scheme "
            f"{scheme!r} is installed, only for {', '.join(sorted(filter(None, known)))}. Install "
            f"the MLflow plugin for it, or write {FORM}."
        )
    if scheme == "oci":
        Location.parse(uri)


def fault_of(path: str) -> str | None:
    """Say what is wrong with a path of an artifact; None when nothing is.

    Args:
        path: Segments, with a ``/`` between each two of them.
    """
    segments = _SEPARATOR.split(path)
    if path.startswith("/"):
        return "it begins with '/'"
    if not all(segments):
        return "it has an empty segment"
    if {".", ".."} & set(segments):
        return "it has a segment '.' or '..'"
    if _UNPRINTABLE.search(path):
        return "it has a control character or is no Unicode text"
    return None
