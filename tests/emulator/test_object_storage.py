"""Object Storage as Oracle's SDK and ocifs use it: what is put is got, whole and in ranges."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oci
import pytest
from oci.object_storage import ObjectStorageClient, UploadManager
from oci.object_storage.models import (
    CommitMultipartUploadDetails,
    CommitMultipartUploadPartDetails,
    CreateMultipartUploadDetails,
)

from mlflow_oci_store.emulator import AidpEmulator, CloseAfter, Fail, Fault, Truncate

from .conftest import Wire

Refused = Callable[..., oci.exceptions.ServiceError]


class Storage:
    """Oracle's client in the emulator's bucket, without retries of its own.

    ``storage.put_object(name, body)`` calls the client's method with the place before the name.
    """

    def __init__(self, emulator: AidpEmulator, *place: str) -> None:
        self.place = place or (emulator.namespace, emulator.bucket)
        self.client = ObjectStorageClient(
            oci.config.from_file(emulator.config_file, emulator.profile),
            service_endpoint=emulator.endpoint,
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
        )

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self.client, operation)
        return lambda *values, **options: method(*self.place, *values, **options)


@pytest.fixture
def storage(aidp_emulator: AidpEmulator) -> Storage:
    return Storage(aidp_emulator)


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def files(folder: str) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def names(listing: Any) -> list[str]:
    return [each.name for each in listing.data.objects]


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 20_000], ids=len)
@pytest.mark.parametrize("name", ["a", "a/b c/ü+&?#%2F;=.txt", "a//b", "..a", " a "])
def test_what_is_put_is_got(storage: Storage, name: str, content: bytes) -> None:
    put = storage.put_object(name, content, content_type="text/plain", opc_meta={"k": "v"})
    assert put.headers["opc-content-md5"] == md5(content)
    got = storage.get_object(name)
    assert got.data.content == content
    assert got.headers["content-md5"] == md5(content)
    assert got.headers["etag"] == put.headers["etag"]
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["opc-meta-k"] == "v"
    head = storage.head_object(name)
    assert head.headers["content-length"] == str(len(content))
    assert head.headers["content-md5"] == md5(content)
    assert names(storage.list_objects()) == [name]


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=5-50", b"56789", "bytes 5-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
    ],
)
def test_a_range_is_got(storage: Storage, asked: str, expected: bytes, content_range: str) -> None:
    storage.put_object("digits", b"0123456789")
    got = storage.get_object("digits", range=asked)
    assert (got.status, got.data.content) == (206, expected)
    assert got.headers["content-range"] == content_range


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=20-30", "bytes=-0"])
def test_a_range_past_the_end_is_refused(storage: Storage, refused: Refused, asked: str) -> None:
    storage.put_object("digits", b"0123456789")
    assert refused(storage.get_object, "digits", range=asked).status == 416


def test_what_is_not_there_is_told_apart(
    aidp_emulator: AidpEmulator, storage: Storage, refused: Refused
) -> None:
    elsewhere = Storage(aidp_emulator, aidp_emulator.namespace, "other")
    nowhere = Storage(aidp_emulator, "other", aidp_emulator.bucket)
    for place, code in (
        (storage, "ObjectNotFound"),
        (elsewhere, "BucketNotFound"),
        (nowhere, "NamespaceNotFound"),
    ):
        error = refused(place.get_object, "a")
        assert (error.status, error.code) == (404, code)
    assert refused(storage.head_object, "a").status == 404
    assert refused(storage.delete_object, "a").code == "ObjectNotFound"


def test_namespace_and_bucket_are_named(aidp_emulator: AidpEmulator, storage: Storage) -> None:
    assert storage.client.get_namespace().data == aidp_emulator.namespace
    assert storage.get_bucket().data.name == aidp_emulator.bucket
    assert storage.head_bucket().status == 200


def test_an_object_is_replaced_and_deleted_with_its_file(
    aidp_emulator: AidpEmulator, storage: Storage
) -> None:
    folder = str(Path(aidp_emulator.config_file).with_name("objects"))
    storage.put_object("a", b"old")
    storage.put_object("a", b"new")
    assert storage.get_object("a").data.content == b"new"
    assert len(files(folder)) == 1
    storage.delete_object("a")
    assert names(storage.list_objects()) == []
    assert files(folder) == []


def test_a_wrong_checksum_is_refused_and_nothing_kept(
    aidp_emulator: AidpEmulator, storage: Storage, refused: Refused
) -> None:
    error = refused(storage.put_object, "a", b"content", content_md5=md5(b"other"))
    assert (error.status, error.code) == (400, "UnmatchedContentMD5")
    assert md5(b"content") in error.message
    assert names(storage.list_objects()) == []
    assert files(str(Path(aidp_emulator.config_file).with_name("objects"))) == []


def test_conditions_are_kept(storage: Storage, refused: Refused) -> None:
    first = storage.put_object("a", b"1", if_none_match="*")
    assert refused(storage.put_object, "a", b"2", if_none_match="*").code == "IfNoneMatchFailed"
    etag = first.headers["etag"]
    assert storage.get_object("a", if_match=etag).data.content == b"1"
    second = storage.put_object("a", b"2", if_match=etag)
    assert refused(storage.get_object, "a", if_match=etag).code == "IfMatchFailed"
    assert refused(storage.delete_object, "a", if_match=etag).status == 412
    storage.delete_object("a", if_match=second.headers["etag"])


def test_folders_are_listed_one_level_at_a_time(storage: Storage) -> None:
    for name in ("a", "b/1", "b/2", "b/c/3", "b0", "c/4"):
        storage.put_object(name, name.encode())
    top = storage.list_objects(delimiter="/", fields="name,size,md5")
    assert names(top) == ["a", "b0"]
    assert top.data.prefixes == ["b/", "c/"]
    assert [(each.size, each.md5) for each in top.data.objects] == [
        (1, md5(b"a")),
        (2, md5(b"b0")),
    ]
    below = storage.list_objects(prefix="b/", delimiter="/")
    assert (names(below), below.data.prefixes) == (["b/1", "b/2"], ["b/c/"])
    assert names(storage.list_objects(prefix="b")) == ["b/1", "b/2", "b/c/3", "b0"]
    assert names(storage.list_objects(start="b/2", end="c")) == ["b/2", "b/c/3", "b0"]
    assert names(storage.list_objects(start_after="b0")) == ["c/4"]
    assert top.data.objects[0].time_modified is None


def test_long_lists_come_in_pages(storage: Storage) -> None:
    for number in range(12):
        storage.put_object(f"f{number % 4}/{number:02}", b"")
        storage.put_object(f"o{number:02}", b"")
    everything = names(storage.list_objects())
    assert everything == sorted(everything)
    for delimiter, items in ((None, 24), ("/", 16)):
        options = {"delimiter": delimiter} if delimiter else {}
        found: list[str] = []
        start = ""
        while start is not None:
            page = storage.list_objects(limit=5, start=start, **options).data
            assert len(page.objects) + len(page.prefixes or ()) <= 5
            found += [each.name for each in page.objects] + list(page.prefixes or ())
            start = page.next_start_with
        assert len(found) == len(set(found)) == items


def test_an_object_is_put_together_of_its_parts(
    aidp_emulator: AidpEmulator, storage: Storage, refused: Refused
) -> None:
    details = CreateMultipartUploadDetails(object="big", metadata={"opc-meta-k": "v"})
    upload = storage.create_multipart_upload(details).data.upload_id
    parts = {1: b"first", 2: b"dropped", 3: b"last"}
    etags = {}
    for number, content in parts.items():
        answer = storage.upload_part("big", upload, number, content, content_md5=md5(content))
        assert answer.headers["opc-content-md5"] == md5(content)
        etags[number] = answer.headers["etag"]
    listed = storage.list_multipart_upload_parts("big", upload, limit=2)
    assert [part.part_number for part in listed.data] == [1, 2]
    listed = storage.list_multipart_upload_parts("big", upload, page=listed.next_page)
    assert [(part.part_number, part.size) for part in listed.data] == [(3, 4)]
    assert [each.upload_id for each in storage.list_multipart_uploads().data] == [upload]
    assert names(storage.list_objects()) == []

    def commit(**chosen: str) -> Any:
        return CommitMultipartUploadDetails(
            parts_to_commit=[
                CommitMultipartUploadPartDetails(part_num=int(number[1:]), etag=etag)
                for number, etag in chosen.items()
            ]
        )

    wrong = refused(storage.commit_multipart_upload, "big", upload, commit(p1="other"))
    assert wrong.code == "InvalidUploadPart"
    done = storage.commit_multipart_upload("big", upload, commit(p1=etags[1], p3=etags[3]))
    digests = hashlib.md5(b"first").digest() + hashlib.md5(b"last").digest()
    assert done.headers["opc-multipart-md5"] == f"{md5(digests)}-2"
    got = storage.get_object("big")
    assert got.data.content == b"firstlast"
    assert got.headers["opc-multipart-md5"] == done.headers["opc-multipart-md5"]
    assert "content-md5" not in got.headers
    assert got.headers["opc-meta-k"] == "v"
    assert storage.get_object("big", range="bytes=3-6").data.content == b"stla"
    assert len(files(str(Path(aidp_emulator.config_file).with_name("objects")))) == 2
    assert refused(storage.upload_part, "big", upload, 4, b"x").code == "NoSuchUpload"


def test_an_aborted_upload_leaves_nothing(aidp_emulator: AidpEmulator, storage: Storage) -> None:
    upload = storage.create_multipart_upload(CreateMultipartUploadDetails(object="a")).data
    storage.upload_part("a", upload.upload_id, 1, b"part")
    storage.upload_part("a", upload.upload_id, 1, b"again")
    storage.abort_multipart_upload("a", upload.upload_id)
    assert storage.list_multipart_uploads().data == []
    assert files(str(Path(aidp_emulator.config_file).with_name("objects"))) == []


@pytest.mark.parametrize("number", [0, 10_001])
def test_a_part_has_a_number_within_limits(storage: Storage, refused: Refused, number: int) -> None:
    upload = storage.create_multipart_upload(CreateMultipartUploadDetails(object="a")).data
    assert refused(storage.upload_part, "a", upload.upload_id, number, b"").status == 400


def test_oracles_upload_manager_uploads_in_parts(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 10_000)
    UploadManager(storage.client).upload_file(*storage.place, "big", str(file), part_size=1_000_000)
    assert storage.get_object("big").data.content == file.read_bytes()
    assert storage.head_object("big").headers["opc-multipart-md5"].endswith("-3")


def test_objects_last_longer_than_the_emulator(tmp_path: Path) -> None:
    with AidpEmulator(tmp_path) as emulator:
        place = (emulator.namespace, emulator.bucket)
        Storage(emulator).put_object("a", b"kept")
    with AidpEmulator(tmp_path) as emulator:
        assert (emulator.namespace, emulator.bucket) == place
        assert Storage(emulator).get_object("a").data.content == b"kept"


def test_what_is_signed_for_another_object_is_refused(
    aidp_emulator: AidpEmulator, wire: Wire
) -> None:
    base = f"{aidp_emulator.endpoint}/n/{aidp_emulator.namespace}/b/{aidp_emulator.bucket}/o/"
    request = wire.signed("GET", f"{base}a")
    request.url = f"{base}b"
    assert wire.send(request).status_code == 401


def test_a_wrong_method_is_not_allowed(aidp_emulator: AidpEmulator, wire: Wire) -> None:
    answer = wire("DELETE", f"{aidp_emulator.endpoint}/n")
    assert (answer.status_code, answer.json()["code"]) == (405, "MethodNotAllowed")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "delimiter=-"])
def test_a_wrong_query_is_refused(aidp_emulator: AidpEmulator, wire: Wire, query: str) -> None:
    base = f"{aidp_emulator.endpoint}/n/{aidp_emulator.namespace}/b/{aidp_emulator.bucket}"
    assert wire("GET", f"{base}/o?{query}").status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("u", "{", "CannotParseRequest"),
        ("u", [], "InvalidParameter"),
        ("u", {}, "MissingParameter"),
    ],
)
def test_a_wrong_body_is_refused(
    aidp_emulator: AidpEmulator, wire: Wire, path: str, body: Any, code: str
) -> None:
    base = f"{aidp_emulator.endpoint}/n/{aidp_emulator.namespace}/b/{aidp_emulator.bucket}"
    answer = wire("POST", f"{base}/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_faults_meet_object_storage_by_the_sdks_names(
    aidp_emulator: AidpEmulator, storage: Storage, refused: Refused
) -> None:
    aidp_emulator.faults.add(Fault(Fail(503, "ServiceUnavailable"), "put_object", times=1))
    assert refused(storage.put_object, "a", b"x" * 10_000_000).status == 503
    aidp_emulator.faults.add(Fault(CloseAfter(), "put_object", times=1))
    with pytest.raises(oci.exceptions.RequestException):
        storage.put_object("a", b"x" * 1000)
    aidp_emulator.faults.add(Fault(Truncate(), "get_object", times=1))
    broken = storage.get_object("a").data.raw
    assert len(broken.read(1000)) == 500
    assert storage.get_object("a").data.content == b"x" * 1000
    assert aidp_emulator.audit() == []


def test_a_put_that_breaks_off_leaves_nothing(
    aidp_emulator: AidpEmulator,
    storage: Storage,
    wire: Wire,
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = f"{aidp_emulator.endpoint}/n/{aidp_emulator.namespace}/b/{aidp_emulator.bucket}/o/a"
    request = wire.signed("PUT", base, "0123456789")
    lines = [f"PUT {request.path_url} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    address = aidp_emulator.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall("\r\n".join([*lines, "", "01234"]).encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert names(storage.list_objects()) == []
    assert files(str(Path(aidp_emulator.config_file).with_name("objects"))) == []
    assert "failed" not in caplog.text
