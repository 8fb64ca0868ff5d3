"""What each verb of S3Storage costs, counted on the wire: requests and bytes are part of the promise."""

from __future__ import annotations

import io
import random
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.base import ContentFile
from django.core.files.images import get_image_dimensions
from PIL import Image

from storages.contract import ObjectChanged
from tests.buckets import WiredBucket
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

KIB = 1024
MIB = 1024**2
MANY = 1205  # objects: two pages of a listing


@pytest.fixture(scope="module")
def bucket(seaweedfs):
    with Proxy(HOST, seaweedfs.port) as wire, WiredBucket(seaweedfs, wire) as bucket:
        yield bucket


@pytest.fixture
def storage(bucket):
    bucket.put("small.txt", b"small")
    bucket.put("dir/child.txt", b"child")
    return bucket.storage(create_only=True)


@pytest.fixture(scope="module")
def many(bucket):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: bucket.put(f"many/{number:04}", b"x"), range(MANY)))


@pytest.fixture(scope="module")
def large(bucket):
    """An object of 256 MiB, of which little is sent: each part after the first is a copy of it."""
    target = {"Bucket": bucket.name, "Key": "large.bin"}
    upload = {**target, "UploadId": bucket.client.create_multipart_upload(**target)["UploadId"]}
    bucket.put("piece.bin", bytes(32 * MIB))
    parts = []
    for number in range(1, 9):
        source = {"Bucket": bucket.name, "Key": "piece.bin"}
        answer = bucket.client.upload_part_copy(CopySource=source, PartNumber=number, **upload)
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    bucket.client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    return "large.bin"


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


def write(storage, name, *chunks, mode="wb"):
    with storage.open(name, mode) as file:
        for chunk in chunks:
            file.write(chunk)


def save(storage, name, content=b"x"):
    return storage.save(name, ContentFile(content))


@pytest.mark.parametrize(
    ("deed", "methods"),
    [
        pytest.param(lambda storage: save(storage, "small.txt"), ["PUT"], id="save"),
        pytest.param(lambda storage: save(storage, "eight.bin", bytes(8 * MIB)), ["PUT"], id="save one part"),
        pytest.param(lambda storage: read(storage, "small.txt"), ["GET"], id="open and read"),
        pytest.param(lambda storage: list(storage.open("small.txt")), ["GET"], id="open and iterate"),
        pytest.param(lambda storage: list(storage.open("small.txt", "r")), ["GET"], id="open as text"),
        pytest.param(lambda storage: write(storage, "new.txt", b"a", b"b"), ["PUT"], id="open and write"),
        pytest.param(lambda storage: write(storage, "new.txt", "a", mode="w"), ["PUT"], id="open and write text"),
        pytest.param(lambda storage: write(storage, "empty.txt"), ["PUT"], id="open and write nothing"),
        pytest.param(lambda storage: write(storage, "small.txt", b"+", mode="ab"), ["GET", "PUT"], id="append"),
        pytest.param(lambda storage: write(storage, "small.txt", mode="ab"), ["GET"], id="append nothing"),
        pytest.param(lambda storage: write(storage, "small.txt", b"+", mode="r+b"), ["GET", "PUT"], id="update"),
        pytest.param(lambda storage: storage.exists("small.txt"), ["GET"], id="exists yes"),
        pytest.param(lambda storage: storage.exists("missing.txt"), ["GET"], id="exists no"),
        pytest.param(lambda storage: storage.exists("dir"), ["GET"], id="exists directory"),
        pytest.param(lambda storage: storage.exists(""), ["GET"], id="exists bucket"),
        pytest.param(lambda storage: storage.size("small.txt"), ["HEAD"], id="size"),
        pytest.param(lambda storage: storage.get_modified_time("small.txt"), ["HEAD"], id="modified time"),
        pytest.param(lambda storage: storage.url("small.txt"), [], id="url"),
        pytest.param(lambda storage: storage.url("small.txt", http_method="PUT"), [], id="url to put"),
        pytest.param(lambda storage: storage.listdir("dir"), ["GET"], id="listdir"),
        pytest.param(lambda storage: storage.listdir("missing"), ["GET"], id="listdir of nothing"),
        pytest.param(lambda storage: list(storage.walk("dir")), ["GET"], id="walk"),
        pytest.param(lambda storage: storage.delete("small.txt"), ["DELETE"], id="delete"),
        pytest.param(lambda storage: storage.delete("missing.txt"), ["DELETE"], id="delete nothing"),
        pytest.param(lambda storage: storage.copy("small.txt", "copy.txt"), ["PUT"], id="copy"),
        pytest.param(lambda storage: storage.move("small.txt", "moved.txt"), ["PUT", "DELETE"], id="move"),
        pytest.param(lambda storage: storage.open_range("small.txt", 1, 3).read(), ["GET"], id="open range"),
    ],
)
def test_deed_costs_these_requests(bucket, storage, deed, methods):
    with bucket.wire.counting() as seen:
        deed(storage)
    assert seen.methods == methods


def test_open_file_knows_its_size_and_time_for_nothing(bucket, storage):
    with storage.open("small.txt") as file, bucket.wire.counting() as seen:
        known = (file.size, file.stat.modified, file.stat.etag)
    assert known[0] == 5
    assert known[1] == storage.get_modified_time("small.txt")
    assert known[2] == bucket.objects()["small.txt"]
    assert seen.methods == []


def test_open_empty_file_knows_its_time_and_version_too(bucket, storage):
    """S3 refuses a range of an empty object with 416, which tells nothing else."""
    bucket.put("empty.txt", b"")
    with bucket.wire.counting() as seen, storage.open("empty.txt") as file:
        assert (file.read(), file.size) == (b"", 0)
        assert file.stat.etag == bucket.objects()["empty.txt"]
        assert file.stat.modified == storage.get_modified_time("empty.txt")
    assert seen.methods == ["GET", "GET", "HEAD"]


@pytest.mark.parametrize("old", [b"", b"old"])
def test_append_to_what_has_changed_meanwhile_is_refused(bucket, storage, old):
    bucket.put("log.txt", old)
    file = storage.open("log.txt", "ab")
    file.write(b"mine")
    bucket.put("log.txt", b"theirs")
    with pytest.raises(ObjectChanged):
        file.close()
    assert bucket.get("log.txt") == b"theirs"


# Saving without overwriting


def test_save_under_a_free_name_is_one_request(bucket, storage):
    storage.file_overwrite = False
    with bucket.wire.counting() as seen:
        saved = save(storage, "free.txt")
    assert (saved, seen.methods) == ("free.txt", ["PUT"])
    assert seen[0].headers["if-none-match"] == "*"


def test_save_under_a_taken_name_is_two_requests(bucket, storage):
    storage.file_overwrite = False
    with bucket.wire.counting() as seen:
        saved = save(storage, "small.txt", b"other")
    assert [(exchange.method, exchange.status) for exchange in seen] == [("PUT", 412), ("PUT", 200)]
    assert (bucket.get("small.txt"), bucket.get(saved)) == (b"small", b"other")


def test_exclusive_create_is_one_question_and_one_put(bucket, storage):
    with bucket.wire.counting() as seen:
        write(storage, "exclusive.txt", b"x", mode="xb")
    assert seen.methods == ["GET", "PUT"]


def test_finding_out_about_conditions_is_two_more_requests_once_a_process(seaweedfs, wire):
    with WiredBucket(seaweedfs, wire) as bucket:
        first, second = bucket.storage(file_overwrite=False), bucket.storage(file_overwrite=False)
        with wire.counting() as finding_out:
            save(first, "first.txt")
        with wire.counting() as afterwards:
            save(second, "second.txt")
        assert [(exchange.method, exchange.status) for exchange in finding_out] == [
            ("GET", 200),
            ("PUT", 200),
            ("PUT", 412),
        ]
        assert afterwards.methods == ["PUT"]
        assert bucket.get("first.txt") == b"x"


# Writing in parts


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(lambda storage: write(storage, "12.bin", *[bytes(64 * KIB)] * 192), id="handle"),
        pytest.param(lambda storage: save(storage, "12.bin", bytes(12 * MIB)), id="save"),
    ],
)
def test_twelve_mebibytes_are_four_requests(bucket, storage, deed):
    with bucket.wire.counting() as seen:
        deed(storage)
    assert sorted(seen.methods) == ["POST", "POST", "PUT", "PUT"]
    assert bucket.get("12.bin") == bytes(12 * MIB)


def test_no_write_asks_first_or_sends_an_acl(bucket, storage):
    with bucket.wire.counting() as seen:
        save(storage, "one.bin", bytes(3 * MIB))
        save(storage, "parts.bin", bytes(12 * MIB))
        write(storage, "handle.bin", bytes(2 * MIB))
        storage.copy("one.bin", "copy.bin")
        storage.delete_many(["one.bin", "copy.bin"])
    assert len(seen) == 8
    assert [exchange for exchange in seen if exchange.interim_100 or "expect" in exchange.headers] == []
    assert [exchange for exchange in seen if any("acl" in name for name in exchange.headers)] == []


# Many objects


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(lambda storage: storage.listdir("many")[1], id="listdir"),
        pytest.param(lambda storage: list(storage.walk("many")), id="walk"),
    ],
)
def test_a_listing_is_one_request_a_page(bucket, storage, deed):
    with bucket.wire.counting() as seen:
        listed = deed(storage)
    assert len(listed) == MANY
    assert seen.methods == ["GET", "GET"]


@pytest.mark.usefixtures("many")
def test_walk_asks_for_a_page_when_it_gets_there(bucket, storage):
    with bucket.wire.counting() as seen:
        first = next(storage.walk("many"))
    assert first.name == "many/0000"
    assert seen.methods == ["GET"]


def test_deleting_many_is_one_request_a_thousand(bucket, storage):
    names = [f"doomed/{number:04}" for number in range(2500)]
    for number in (0, 999, 1000, 1999, 2000, 2499):
        bucket.put(names[number], b"x")
    with bucket.wire.counting() as seen:
        storage.delete_many(names)
    assert [key for key in bucket.objects() if key.startswith("doomed/")] == []
    assert seen.methods == ["POST"] * 3


# A little of a large object


def test_a_kibibyte_of_a_large_object_is_one_request_and_a_quarter_mebibyte(bucket, storage, large):
    with bucket.wire.counting() as seen, storage.open(large) as file:
        assert file.read(KIB) == bytes(KIB)
    assert seen.methods == ["GET"]
    assert seen.downloaded <= 256 * KIB


def test_a_range_of_a_large_object_is_its_own_bytes(bucket, storage, large):
    with bucket.wire.counting() as seen, storage.open_range(large, 100 * MIB, 100 * MIB + KIB) as body:
        assert body.read() == bytes(KIB)
    assert seen.methods == ["GET"]
    assert seen.downloaded == KIB


@pytest.mark.parametrize(
    ("seeks", "ranges"),
    [
        pytest.param([0, 100 * KIB, 0], [], id="inside the first range"),
        pytest.param([100 * MIB], [(100 * MIB, 64 * KIB)], id="far"),
        pytest.param([100 * MIB, 100 * MIB + 8 * KIB, 0], [(100 * MIB, 64 * KIB)], id="far, near there, back"),
        pytest.param([50 * MIB, 200 * MIB], [(50 * MIB, 64 * KIB), (200 * MIB, 64 * KIB)], id="far twice"),
        pytest.param([256 * MIB - 22, 256 * MIB - 300 * KIB], [(256 * MIB - 512 * KIB, 512 * KIB)], id="end"),
        pytest.param([300 * MIB], [], id="behind the end"),
    ],
)
def test_seeking_fetches_little(bucket, storage, large, seeks, ranges):
    with storage.open(large) as file, bucket.wire.counting() as seen:
        for position in seeks:
            file.seek(position)
            file.read(KIB)
    asked = [exchange.headers["range"] for exchange in seen]
    assert asked == [f"bytes={start}-{start + size - 1}" for start, size in ranges]
    assert seen.downloaded == sum(size for _, size in ranges)


def test_reading_on_holds_to_the_version_that_was_opened(bucket, storage, large):
    etag = bucket.objects()[large]
    with storage.open(large) as file, bucket.wire.counting() as seen:
        file.seek(100 * MIB)
        file.read(KIB)
    assert [exchange.headers["if-match"] for exchange in seen] == [etag]


def test_names_of_a_large_archive_are_two_requests_and_a_mebibyte(bucket, storage):
    member = random.Random(1).randbytes(40 * KIB)
    with storage.open("5000.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for number in range(5000):
            archive.writestr(f"member-{number:04}.bin", member)
    assert storage.size("5000.zip") > 195 * MIB
    with bucket.wire.counting() as seen, storage.open("5000.zip") as file, zipfile.ZipFile(file) as archive:
        assert len(archive.namelist()) == 5000
    assert len(seen) <= 2
    assert seen.downloaded <= MIB


def test_dimensions_of_a_photo_are_one_request_and_a_quarter_mebibyte(bucket, storage):
    photo = io.BytesIO()
    noise = random.Random(2).randbytes(2800 * 2000 * 3)
    Image.frombytes("RGB", (2800, 2000), noise).save(photo, "JPEG", quality=95)
    bucket.put("photo.jpg", photo.getvalue())
    assert len(photo.getvalue()) > 6 * MIB
    with bucket.wire.counting() as seen, storage.open("photo.jpg") as file:
        assert get_image_dimensions(file) == (2800, 2000)
    assert seen.methods == ["GET"]
    assert seen.downloaded <= 256 * KIB


# What is asked once


def test_missing_object_asks_once_whether_its_bucket_is_there(bucket, storage):
    with bucket.wire.counting() as seen:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                storage.size("missing.txt")
    assert seen.methods == ["HEAD", "HEAD", "HEAD"]


def test_making_a_storage_and_its_client_is_free(seaweedfs, wire):
    with WiredBucket(seaweedfs, wire) as bucket:
        assert bucket.storage().client.meta.endpoint_url == wire.url
    assert wire.connections == 0


def test_deeds_in_a_row_share_one_connection(seaweedfs, wire):
    with WiredBucket(seaweedfs, wire) as bucket:
        storage = bucket.storage()
        save(storage, "a.txt")
        read(storage, "a.txt")
        storage.listdir("")
        storage.delete("a.txt")
    assert wire.connections == 1
