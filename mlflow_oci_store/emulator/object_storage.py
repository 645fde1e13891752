"""The part of OCI Object Storage that artifacts need, for the one bucket of the emulator.

Addresses, headers, error codes and the names of the operations are those of the Object Storage
API, version 20160918, as Oracle's Python SDK speaks it. Unlike the MLOps API it has no retry
tokens: what is put twice is the same as what is put once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from mlflow_oci_store.emulator.answers import Answer, Refusal, Request, encode, invalid
from mlflow_oci_store.emulator.object_storage_bucket import Bucket, Part, StoredObject, Upload

MAX_LIMIT = 1000

_PATH = re.compile(
    r"/n(?:/(?P<namespace>[^/]+)/b/(?P<bucket>[^/]+)(?:/(?P<kind>[ou])(?:/(?P<object>.+))?)?)?/?"
)
_BUCKET, _OBJECTS, _OBJECT, _UPLOADS, _UPLOAD = "bucket", "o", "o/", "u", "u/"
_OPERATIONS = {
    ("n", "GET"): "get_namespace",
    (_BUCKET, "GET"): "get_bucket",
    (_BUCKET, "HEAD"): "head_bucket",
    (_OBJECTS, "GET"): "list_objects",
    (_OBJECT, "PUT"): "put_object",
    (_OBJECT, "GET"): "get_object",
    (_OBJECT, "HEAD"): "head_object",
    (_OBJECT, "DELETE"): "delete_object",
    (_UPLOADS, "POST"): "create_multipart_upload",
    (_UPLOADS, "GET"): "list_multipart_uploads",
    (_UPLOAD, "PUT"): "upload_part",
    (_UPLOAD, "GET"): "list_multipart_upload_parts",
    (_UPLOAD, "POST"): "commit_multipart_upload",
    (_UPLOAD, "DELETE"): "abort_multipart_upload",
}
_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")
_KEPT_HEADERS = ("content-type", "content-encoding", "content-language", "cache-control")
_METADATA = "opc-meta-"
# What a multipart upload's JSON calls the headers that a put sends.
_UPLOAD_FIELDS = {
    "contentType": "content-type",
    "contentEncoding": "content-encoding",
    "contentLanguage": "content-language",
    "cacheControl": "cache-control",
}


class Route(NamedTuple):
    """Where a request for Object Storage goes."""

    operation: str
    namespace: str
    bucket: str
    name: str
    query: Mapping[str, str]


def operations() -> frozenset[str]:
    """The names of all operations, as the SDK has them."""
    return frozenset(_OPERATIONS.values())


def route(method: str, target: str) -> Route | None:
    """Find the operation a request is for; None when it is not for Object Storage.

    Raises:
        Refusal: 405 MethodNotAllowed for a wrong method.
    """
    parts = urlsplit(target)
    path = _PATH.fullmatch(parts.path)
    if path is None:
        return None
    namespace, bucket, kind, name = path.groups()
    place = (f"{kind}/" if name else kind) if kind else (_BUCKET if bucket else "n")
    operation = _OPERATIONS.get((place, method))
    if operation is None:
        raise Refusal(405, "MethodNotAllowed", f"{parts.path} does not take {method}")
    query = {key: values[-1] for key, values in parse_qs(parts.query, True).items()}
    return Route(
        operation, unquote(namespace or ""), unquote(bucket or ""), unquote(name or ""), query
    )


class ObjectStorage:
    """Answers requests for the objects of one bucket, once they are authenticated."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def answer(self, route: Route, request: Request) -> Answer:
        """Answer a request.

        Raises:
            Refusal: It asks for what is not there, or in a way that is not possible.
        """
        if route.operation == "get_namespace":
            return _json(self._bucket.namespace)
        if route.namespace != self._bucket.namespace:
            raise Refusal(
                404,
                "NamespaceNotFound",
                f"You are not authorized for the namespace {route.namespace!r}, or there is none",
            )
        if route.bucket != self._bucket.name:
            raise Refusal(
                404,
                "BucketNotFound",
                f"Either the bucket named {route.bucket!r} does not exist in the namespace "
                f"{route.namespace!r} or you are not authorized to access it",
            )
        perform: Callable[[Route, Request], Answer] = getattr(self, f"_{route.operation}")
        answer = perform(route, request)
        client_id = request.headers.get("opc-client-request-id")
        if client_id is None:
            return answer
        return Answer(
            answer.status, answer.body, {**answer.headers, "opc-client-request-id": client_id}
        )

    def _get_bucket(self, route: Route, request: Request) -> Answer:
        return _json({"namespace": self._bucket.namespace, "name": self._bucket.name})

    _head_bucket = _get_bucket

    def _list_objects(self, route: Route, request: Request) -> Answer:
        query = route.query
        if query.get("delimiter", "/") != "/":
            raise invalid("The only delimiter is '/'")
        start = query.get("start", "")
        if "startAfter" in query:
            start = max(start, query["startAfter"] + "\0")
        page = self._bucket.listing(
            query.get("prefix", ""), start, query.get("end"), query.get("delimiter"), _limit(query)
        )
        fields = {"name", *query.get("fields", "").split(",")}
        document: dict[str, Any] = {
            "objects": [
                {key: value for key, value in _summary(stored).items() if key in fields}
                for stored in page.objects
            ],
            "prefixes": page.folders,
        }
        if page.next_start is not None:
            document["nextStartWith"] = page.next_start
        return _json(document)

    def _put_object(self, route: Route, request: Request) -> Answer:
        self._require_preconditions(route.name, request)
        stored = self._bucket.put(
            route.name, request.upload, request.headers.get("content-md5"), _kept(request.headers)
        )
        return Answer(200, b"", {**_identity(stored), "opc-content-md5": stored.md5})

    def _get_object(self, route: Route, request: Request) -> Answer:
        stored = self._existing(route.name)
        self._require_preconditions(route.name, request)
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        if asked is None or asked["first"] == asked["last"] == "":
            content = self._bucket.content(stored, 0, stored.size)
            return Answer(200, content, {**_described(stored), **_checksum(stored)})
        start, stop = _stretch(asked["first"], asked["last"], stored.size)
        headers = {"content-range": f"bytes {start}-{stop - 1}/{stored.size}"}
        return Answer(
            206, self._bucket.content(stored, start, stop), {**_described(stored), **headers}
        )

    def _head_object(self, route: Route, request: Request) -> Answer:
        return self._get_object(route, request)

    def _delete_object(self, route: Route, request: Request) -> Answer:
        stored = self._existing(route.name)
        self._require_preconditions(route.name, request)
        self._bucket.delete(stored)
        return Answer(204, b"", {"last-modified": formatdate(stored.modified, usegmt=True)})

    def _create_multipart_upload(self, route: Route, request: Request) -> Answer:
        details = _document(request)
        name = details.get("object")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "MissingParameter", "body.object is required")
        self._require_preconditions(name, request)
        headers = {
            header: details[field] for field, header in _UPLOAD_FIELDS.items() if details.get(field)
        }
        upload = self._bucket.create_upload(
            name, {**_kept(headers), **(details.get("metadata") or {})}
        )
        return _json(self._upload_summary(upload))

    def _list_multipart_uploads(self, route: Route, request: Request) -> Answer:
        return _json([self._upload_summary(upload) for upload in self._bucket.uploads()])

    def _upload_part(self, route: Route, request: Request) -> Answer:
        number = route.query.get("uploadPartNum", "")
        if not number.isdecimal() or not 1 <= int(number) <= 10_000:
            raise invalid("query.uploadPartNum is a number from 1 to 10000")
        part = self._bucket.put_part(
            self._upload(route), int(number), request.upload, request.headers.get("content-md5")
        )
        return Answer(200, b"", {"etag": part.etag, "opc-content-md5": part.md5})

    def _list_multipart_upload_parts(self, route: Route, request: Request) -> Answer:
        parts = self._bucket.parts(self._upload(route))
        limit, first = _limit(route.query), int(route.query.get("page", "1"))
        page = [part for part in parts if part.number >= first]
        following = {"opc-next-page": str(page[limit].number)} if page[limit:] else {}
        return _json([_part_summary(part) for part in page[:limit]], following)

    def _commit_multipart_upload(self, route: Route, request: Request) -> Answer:
        upload = self._upload(route)
        self._require_preconditions(upload.name, request)
        details = _document(request)
        chosen = {part["partNum"]: part["etag"] for part in details.get("partsToCommit") or ()}
        if not chosen:
            raise Refusal(400, "MissingParameter", "body.partsToCommit is required")
        stored = self._bucket.commit(upload, chosen)
        return Answer(200, b"", {**_identity(stored), **_checksum(stored)})

    def _abort_multipart_upload(self, route: Route, request: Request) -> Answer:
        self._bucket.abort(self._upload(route))
        return Answer(204, b"")

    def _upload(self, route: Route) -> Upload:
        return self._bucket.upload(route.query.get("uploadId", ""), route.name)

    def _existing(self, name: str) -> StoredObject:
        stored = self._bucket.find(name)
        if stored is None:
            raise Refusal(
                404,
                "ObjectNotFound",
                f"The object {name!r} was not found in the bucket {self._bucket.name!r}",
            )
        return stored

    def _require_preconditions(self, name: str, request: Request) -> None:
        wanted, unwanted = (request.headers.get(f"if-{it}match") for it in ("", "none-"))
        if wanted is None and unwanted is None:
            return
        stored = self._bucket.find(name)
        etag = stored.etag if stored else None
        if wanted is not None and wanted not in (etag, "*" if etag else None):
            raise Refusal(412, "IfMatchFailed", f"{name!r} does not have the etag {wanted}")
        if unwanted is not None and etag is not None and unwanted in ("*", etag):
            raise Refusal(412, "IfNoneMatchFailed", f"{name!r} exists, with the etag {etag}")

    def _upload_summary(self, upload: Upload) -> dict[str, Any]:
        return {
            "namespace": self._bucket.namespace,
            "bucket": self._bucket.name,
            "object": upload.name,
            "uploadId": upload.upload_id,
            "timeCreated": _time(upload.created),
        }


def _document(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError as error:
        raise Refusal(400, "CannotParseRequest", f"The body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise invalid("The body must be an object")
    return document


def _json(document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(200, encode(document), headers or {})


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(MAX_LIMIT))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
        raise invalid(f"query.limit is a number from 1 to {MAX_LIMIT}")
    return int(text)


def _stretch(first: str, last: str, size: int) -> tuple[int, int]:
    """Read a range (RFC 9110, section 14.1.2) as first byte and byte after the last."""
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last or size) + 1, size)
    if start >= stop:
        raise Refusal(
            416,
            "RangeNotSatisfiable",
            f"The object has {size} bytes",
            {"content-range": f"bytes */{size}"},
        )
    return start, stop


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in headers.items()
        if name in _KEPT_HEADERS or name.startswith(_METADATA)
    }
    return {"content-type": "application/octet-stream", **kept}


def _identity(stored: StoredObject) -> dict[str, str]:
    return {
        "etag": stored.etag,
        "version-id": stored.etag,
        "last-modified": formatdate(stored.modified, usegmt=True),
    }


def _described(stored: StoredObject) -> dict[str, str]:
    return {
        **stored.headers,
        **_identity(stored),
        "accept-ranges": "bytes",
        "storage-tier": "Standard",
    }


def _checksum(stored: StoredObject) -> dict[str, str]:
    if stored.parts is None:
        return {"content-md5": stored.md5}
    return {"opc-multipart-md5": f"{stored.md5}-{stored.parts}"}


def _summary(stored: StoredObject) -> dict[str, Any]:
    return {
        "name": stored.name,
        "size": stored.size,
        "etag": stored.etag,
        "md5": stored.md5 if stored.parts is None else f"{stored.md5}-{stored.parts}",
        "timeCreated": _time(stored.created),
        "timeModified": _time(stored.modified),
        "storageTier": "Standard",
    }


def _part_summary(part: Part) -> dict[str, Any]:
    return {
        "partNumber": part.number,
        "etag": part.etag,
        "md5": part.md5,
        "size": part.piece.size,
    }


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
