"""What S3Storage does with objects, on real servers and on the wire: encryption, compression, ACLs, errors."""

from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import http.server
import io
import ipaddress
import ssl
import threading
import traceback
import warnings

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile, File
from django.test import override_settings

from storages.backends.s3 import S3File, S3Storage
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
CSS = b"body { color: black }\n" * 200
SSE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0123456789abcdef0123456789abcdef"}
SSE_HEADER = "x-amz-server-side-encryption-customer-key"


@pytest.fixture(scope="module")
def bucket(seaweedfs):
    return seaweedfs.make_bucket()


@pytest.fixture
def make(seaweedfs, bucket, wire, request):
    """Make storages whose requests are counted, below a location of the test's own."""

    def make(cls=S3Storage, **options):
        defaults = {
            "bucket_name": bucket,
            "endpoint_url": wire.url,
            "access_key": seaweedfs.access_key,
            "secret_key": seaweedfs.secret_key,
            "region_name": seaweedfs.region,
            "location": f"test-{abs(hash(request.node.nodeid))}",
            "create_only": True,
        }
        return cls(**{**defaults, **options})

    return make


@pytest.fixture
def client(seaweedfs):
    with contextlib.closing(seaweedfs.client()) as client:
        yield client


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


def head(client, storage, name, **parameters):
    return client.head_object(Bucket=storage.bucket_name, Key=storage._key(name), **parameters)


def write(storage, name, content, **options):
    with storage.open(name, "wb", **options) as file:
        file.write(content)


# Encryption with a key of the customer


@pytest.fixture
def encrypted(make):
    return make(object_parameters=SSE)


def sse_less(seen):
    """Return the requests that went without the key."""
    return [f"{exchange.method} {exchange.path}" for exchange in seen if SSE_HEADER not in exchange.headers]


def test_every_request_for_an_encrypted_object_carries_the_key(encrypted, wire):
    with wire.counting() as seen:
        encrypted.save("a.txt", ContentFile(b"secret"))
        assert read(encrypted, "a.txt") == b"secret"
        with encrypted.open_range("a.txt", 2, 4) as part:
            assert part.read() == b"cr"
        assert encrypted.size("a.txt") == 6
        assert encrypted.get_modified_time("a.txt")
        with encrypted.open("a.txt", "ab") as file:
            file.write(b"!")
        assert read(encrypted, "a.txt") == b"secret!"
    assert len(seen) == 8
    assert sse_less(seen) == []


def test_every_part_of_a_long_encrypted_write_carries_the_key(encrypted, wire):
    content = b"12345678" * (9 * MIB // 8)
    with wire.counting() as seen:
        write(encrypted, "long.bin", content)
    kept = [exchange for exchange in seen if exchange.method == "PUT"]
    assert len(kept) == 2
    assert sse_less(exchange for exchange in seen if "uploads" in exchange.path or exchange.method == "PUT") == []
    assert read(encrypted, "long.bin") == content


def test_copy_of_an_encrypted_object_carries_both_keys(encrypted, wire):
    encrypted.save("a.txt", ContentFile(b"secret"))
    with wire.counting() as seen:
        encrypted.copy("a.txt", "b.txt")
    assert [exchange.method for exchange in seen] == ["PUT"]
    assert {SSE_HEADER, "x-amz-copy-source-server-side-encryption-customer-key"} <= seen[0].headers.keys()
    assert read(encrypted, "b.txt") == b"secret"


def test_encrypted_object_is_not_given_without_the_key(encrypted, make):
    encrypted.save("a.txt", ContentFile(b"secret"))
    with pytest.raises(Exception) as caught:
        read(make(), "a.txt")
    assert SSE["SSECustomerKey"] not in str(caught.value)
    with pytest.raises(PermissionError):
        read(make(object_parameters={**SSE, "SSECustomerKey": "another key of thirty-two bytes!"}), "a.txt")


# Parameters of objects


def test_object_parameters_reach_every_way_of_writing(make, wire):
    parameters = {"CacheControl": "max-age=60", "Metadata": {"colour": "red"}, "StorageClass": "STANDARD_IA"}
    storage = make(object_parameters=parameters)
    with wire.counting() as seen:
        storage.save("saved.txt", ContentFile(b"x"))
        write(storage, "written.txt", b"x")
        write(storage, "long.bin", b"x" * 9 * MIB)
    sent = [exchange for exchange in seen if exchange.method == "PUT" and "partNumber" not in exchange.path]
    sent += [exchange for exchange in seen if exchange.path.endswith("?uploads")]
    assert len(sent) == 3
    for exchange in sent:
        assert exchange.headers["cache-control"] == "max-age=60"
        assert exchange.headers["x-amz-meta-colour"] == "red"
        assert exchange.headers["x-amz-storage-class"] == "STANDARD_IA"


def test_callable_parameters_see_key_and_content(make, client):
    asked = []

    def parameters(key, content):
        asked.append((key, content))
        return {"CacheControl": "private"} if getattr(content, "size", 0) > 3 else {}

    storage = make(object_parameters=parameters, location="media")
    small, large = ContentFile(b"123"), ContentFile(b"12345")
    storage.save("small.txt", small)
    storage.save("large.txt", large)
    assert asked == [("media/small.txt", small), ("media/large.txt", large)]
    assert "CacheControl" not in head(client, storage, "small.txt")
    assert head(client, storage, "large.txt")["CacheControl"] == "private"


def test_overridden_parameters_are_asked_with_the_key_of_an_object(make):
    asked = []

    class Subclass(S3Storage):
        def get_object_parameters(self, name):
            asked.append(name)
            return {"CacheControl": "max-age=1"}

    storage = make(Subclass, location="asked", file_overwrite=False)
    storage.save("a.txt", ContentFile(b"x"))
    read(storage, "a.txt")
    storage.copy("a.txt", "b.txt")
    storage.exists("a.txt")
    storage.size("a.txt")
    storage.listdir("")
    list(storage.walk())
    storage.exists("")
    storage.delete("b.txt")
    storage.delete_many(["a.txt"])
    assert set(asked) == {"asked/a.txt", "asked/b.txt"}


def test_overridden_write_parameters_are_asked_with_key_and_content(make, client):
    asked = []

    class Subclass(S3Storage):
        def _get_write_parameters(self, name, content=None):
            asked.append((name, content))
            return {**super()._get_write_parameters(name, content), "ContentLanguage": "mi"}

    storage, content = make(Subclass, location="media"), ContentFile(b"x")
    storage.save("a.txt", content)
    write(storage, "b.txt", b"x")
    assert asked == [("media/a.txt", content), ("media/b.txt", None)]
    assert [head(client, storage, name)["ContentLanguage"] for name in ("a.txt", "b.txt")] == ["mi", "mi"]


@pytest.mark.parametrize(
    ("parameters", "content_type", "sent"),
    [
        ({}, None, "text/css"),
        ({}, "text/x-upload", "text/x-upload"),
        ({"ContentType": "text/x-option"}, "text/x-upload", "text/x-option"),
        ({}, "", "text/css"),
    ],
)
def test_type_comes_from_parameters_then_content_then_name(make, client, parameters, content_type, sent):
    storage, content = make(object_parameters=parameters), ContentFile(b"x")
    content.content_type = content_type
    storage.save("a.css", content)
    assert head(client, storage, "a.css")["ContentType"] == sent


def test_default_type_is_an_attribute(make, client):
    storage = make()
    storage.default_content_type = "application/x-unknown"
    storage.save("unknown", ContentFile(b"x"))
    assert head(client, storage, "unknown")["ContentType"] == "application/x-unknown"


def test_acl_of_the_parameters_wins(make, wire):
    with wire.counting() as seen:
        make(default_acl="public-read").save("a.txt", ContentFile(b"x"))
        make(default_acl="public-read", object_parameters={"ACL": "private"}).save("a.txt", ContentFile(b"x"))
        make().save("a.txt", ContentFile(b"x"))
    assert [exchange.headers.get("x-amz-acl") for exchange in seen] == ["public-read", "private", None]


def test_acl_makes_an_object_public(ceph):
    storage = S3Storage(
        bucket_name=ceph.make_bucket(),
        endpoint_url=ceph.endpoint_url,
        access_key=ceph.access_key,
        secret_key=ceph.secret_key,
        default_acl="public-read",
    )
    public = "http://acs.amazonaws.com/groups/global/AllUsers"
    storage.save("saved.txt", ContentFile(b"x"))
    write(storage, "written.txt", b"x")
    write(storage, "long.bin", b"x" * 9 * MIB)
    storage.copy("saved.txt", "copied.txt")
    for name in ("saved.txt", "written.txt", "long.bin", "copied.txt"):
        grants = storage.client.get_object_acl(Bucket=storage.bucket_name, Key=name)["Grants"]
        assert public in [grant["Grantee"].get("URI") for grant in grants], name


# Names, sessions and files of subclasses


def test_overridden_normalize_name_places_names_for_every_verb(make, seaweedfs):
    tenant = "first"

    class Tenants(S3Storage):
        def _normalize_name(self, name):
            return f"{tenant}/{super()._normalize_name(name)}"

    storage = make(Tenants, bucket_name=seaweedfs.make_bucket(), location="", file_overwrite=False)
    for tenant in ("first", "second"):
        assert storage.save("dir/a.txt", ContentFile(tenant.encode())) == "dir/a.txt"
    for tenant in ("first", "second"):
        assert read(storage, "dir/a.txt") == tenant.encode()
        assert storage.listdir("") == (["dir"], [])
        assert storage.listdir("dir") == ([], ["a.txt"])
        assert [entry.name for entry in storage.walk()] == ["dir/a.txt"]
        assert storage.exists("")
        assert f"/{tenant}/dir/a.txt?" in storage.url("dir/a.txt")
    storage.delete("dir/a.txt")
    assert not storage.exists("dir/a.txt")


def test_overridden_save_and_open_wrap_ours(make):
    class Subclass(S3Storage):
        def _save(self, name, content):
            return super()._save(f"below/{name}", ContentFile(content.read().upper()))

        def _open(self, name, mode="rb"):
            return super()._open(f"below/{name}", mode)

    storage = make(Subclass)
    assert storage.save("a.txt", ContentFile(b"abc")) == "below/a.txt"
    assert read(storage, "a.txt") == b"ABC"


def test_file_takes_the_size_of_its_parts(make, wire):
    with wire.counting() as seen, S3File("long.bin", "wb", make(), 5 * MIB) as file:
        file.write(b"x" * (11 * MIB))
    parts = sorted(exchange.request_body_bytes for exchange in seen if "partNumber" in exchange.path)
    assert parts == [MIB, 5 * MIB, 5 * MIB]


def test_object_of_a_file_is_boto3s(make):
    storage = make(object_parameters={"Metadata": {"colour": "red"}})
    storage.save("a.txt", ContentFile(b"x"))
    with storage.open("a.txt") as file:
        assert (file.obj.key, file.obj.metadata) == (storage._key("a.txt"), {"colour": "red"})


# Compression


@pytest.mark.parametrize("how", [lambda s, n: s.save(n, ContentFile(CSS)), lambda s, n: write(s, n, CSS)])
def test_gzip_compresses_for_the_service_and_not_for_the_reader(make, client, how):
    storage = make(gzip=True)
    how(storage, "app.css")
    stored = client.get_object(Bucket=storage.bucket_name, Key=storage._key("app.css"))
    assert (stored["ContentEncoding"], stored["ContentType"]) == ("gzip", "text/css")
    assert gzip.decompress(stored["Body"].read()) == CSS
    assert read(storage, "app.css") == CSS
    with storage.open("app.css", "r") as file:
        assert file.readline() == "body { color: black }\n"
    assert storage.size("app.css") < len(CSS)


def test_only_a_storage_with_gzip_unpacks(make):
    make(gzip=True).save("app.css", ContentFile(CSS))
    assert gzip.decompress(read(make(), "app.css")) == CSS


@pytest.mark.parametrize(
    ("options", "content_type", "encoding"),
    [
        ({}, "text/css; charset=utf-8", "gzip"),
        ({}, "Text/CSS", "gzip"),
        ({}, "image/png", None),
        ({"gzip_content_types": ["image/png"]}, "image/png", "gzip"),
        ({"gzip_content_types": ["image/png"]}, "text/css", None),
        ({"object_parameters": {"ContentEncoding": "br"}}, "text/css", "br"),
        ({"gzip": False}, "text/css", None),
    ],
)
def test_gzip_is_for_listed_types_without_an_encoding(make, client, options, content_type, encoding):
    storage, content = make(**{"gzip": True, **options}), ContentFile(CSS)
    content.content_type = content_type
    storage.save("file", content)
    assert head(client, storage, "file").get("ContentEncoding") == encoding


def test_same_content_compresses_to_the_same_bytes(make, client):
    storage = make(gzip=True)
    storage.save("a.css", ContentFile(CSS))
    storage.save("b.css", ContentFile(CSS))
    assert head(client, storage, "a.css")["ETag"] == head(client, storage, "b.css")["ETag"]


def test_content_stays_open_and_whole(make):
    content = io.BytesIO(CSS)
    make(gzip=True).save("app.css", File(content))
    assert not content.closed
    assert content.getvalue() == CSS


def test_overridden_compression_is_used(make, client):
    class Subclass(S3Storage):
        def _compress_content(self, content):
            content.seek(0)
            return io.BytesIO(b"squeezed " + content.read())

    storage = make(Subclass, gzip=True)
    storage.save("app.css", ContentFile(b"body {}"))
    stored = client.get_object(Bucket=storage.bucket_name, Key=storage._key("app.css"))
    assert (stored["ContentEncoding"], stored["Body"].read()) == ("gzip", b"squeezed body {}")


# Copies


def test_copy_keeps_headers_and_metadata(make, client):
    source = make(object_parameters={"CacheControl": "max-age=60", "Metadata": {"colour": "red"}})
    source.save("a.css", ContentFile(CSS))
    make().copy("a.css", "b.css")
    copied = head(client, source, "b.css")
    assert (copied["CacheControl"], copied["ContentType"], copied["Metadata"]) == (
        "max-age=60",
        "text/css",
        {"colour": "red"},
    )


def test_copy_takes_the_parameters_of_its_storage_and_keeps_the_rest(make, client):
    make(object_parameters={"CacheControl": "max-age=60", "ContentLanguage": "mi"}).save("a.css", ContentFile(CSS))
    target = make(object_parameters={"CacheControl": "no-store", "Metadata": {"colour": "blue"}})
    target.copy("a.css", "b.css")
    copied = head(client, target, "b.css")
    assert [copied[name] for name in ("CacheControl", "ContentLanguage", "ContentType", "Metadata")] == [
        "no-store",
        "mi",
        "text/css",
        {"colour": "blue"},
    ]


def refuse_copy_as_too_large(client):
    """Answer the next CopyObject as S3 does above 5 GiB."""
    body = (
        b"<Error><Code>InvalidRequest</Code><Message>The specified copy source is larger than the maximum allowable "
        b"size for a copy source: 5368709120</Message></Error>"
    )

    class Raw(io.BytesIO):
        def stream(self, **kwargs):
            yield self.read()

    def answer(request, **kwargs):
        client.meta.events.unregister("before-send.s3.CopyObject", answer)
        return AWSResponse(request.url, 400, {}, Raw(body))

    client.meta.events.register("before-send.s3.CopyObject", answer)


def test_copy_above_five_gib_goes_in_parts_and_keeps_the_headers(make, client, wire):
    storage = make(object_parameters={"CacheControl": "max-age=60", "Metadata": {"colour": "red"}})
    content = b"12345678" * (9 * MIB // 8)
    storage.save("a.css", ContentFile(content))
    plain = make()
    refuse_copy_as_too_large(plain.client)
    with wire.counting() as seen:
        plain.copy("a.css", "b.css")
    assert [exchange.path for exchange in seen if "partNumber" in exchange.path]
    assert read(plain, "b.css") == content
    copied = head(client, plain, "b.css")
    assert (copied["CacheControl"], copied["ContentType"], copied["Metadata"]) == (
        "max-age=60",
        "text/css",
        {"colour": "red"},
    )


# Checksums


def checksums_of(seen):
    """Return the requests that carry a checksum, in a header or as a trailer."""
    marks = ("x-amz-checksum", "x-amz-trailer", "x-amz-sdk-checksum")
    return [exchange for exchange in seen if any(name.startswith(marks) for name in exchange.headers)]


def test_no_checksum_is_sent_to_a_service_that_may_not_know_it(make, wire):
    storage = make()
    with wire.counting() as seen:
        storage.save("a.txt", ContentFile(b"x"))
        write(storage, "long.bin", b"x" * 9 * MIB)
        storage.delete_many(["a.txt", "long.bin"])
    assert len(seen) == 6
    assert checksums_of(seen[:-1]) == []
    assert not [exchange for exchange in seen if "aws-chunked" in exchange.headers.get("content-encoding", "")]
    # S3 demands one for DeleteObjects; services of before 2025 know only this one.
    assert ["content-md5" in exchange.headers for exchange in seen] == [False] * 5 + [True]


def test_checksums_are_sent_and_verified_when_switched_on(make, wire):
    storage = make(checksums="when_supported")
    with wire.counting() as seen:
        storage.save("a.txt", ContentFile(b"x"))
        write(storage, "long.bin", b"x" * 9 * MIB)
    puts = [exchange for exchange in seen if exchange.method == "PUT"]
    assert len(puts) == 3
    assert checksums_of(puts) == puts
    with wire.counting() as seen:
        assert read(storage, "a.txt") == b"x"
    assert seen[0].headers["x-amz-checksum-mode"] == "ENABLED"


class Corrupting(Proxy):
    """Damage what comes down, at the same length."""

    async def _send(self, link, direction, data):
        await super()._send(link, direction, data.replace(b"INTACT", b"BROKEN") if direction == "down" else data)


def test_damaged_download_is_an_error(make, seaweedfs):
    make(checksums="when_supported").save("a.bin", ContentFile(b"INTACT" * 100))
    with Corrupting(HOST, seaweedfs.port) as corrupting:
        storage = make(checksums="when_supported", endpoint_url=corrupting.url)
        with pytest.raises(Exception, match=r"(?i)checksum"):
            read(storage, "a.bin")


def test_chosen_checksum_goes_with_every_part(make, wire):
    storage = make(object_parameters={"ChecksumAlgorithm": "SHA256"})
    with wire.counting() as seen:
        write(storage, "long.bin", b"x" * 9 * MIB)
    parts = [exchange for exchange in seen if "partNumber" in exchange.path]
    assert len(parts) == 2
    assert all("x-amz-checksum-sha256" in str(exchange.headers) for exchange in parts)


# Transfers


@pytest.mark.parametrize(
    "how", [{"transfer_config": TransferConfig(use_threads=False)}, {"use_threads": False}], ids=", ".join
)
def test_without_threads_all_is_done_in_the_callers(make, wire, monkeypatch, how):
    def no_threads(*args):
        raise AssertionError("a worker thread was asked for")

    monkeypatch.setattr("storages.process.submit", no_threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        storage = make(**how)
    content = b"12345678" * (20 * MIB // 8)
    write(storage, "long.bin", content)
    assert read(storage, "long.bin") == content


def test_transfer_config_says_how_long_parts_are(make, wire):
    storage = make(transfer_config=TransferConfig(multipart_chunksize=6 * MIB))
    with wire.counting() as seen:
        storage.save("long.bin", ContentFile(b"x" * 13 * MIB))
    parts = sorted(exchange.request_body_bytes for exchange in seen if "partNumber" in exchange.path)
    assert parts == [MIB, 6 * MIB, 6 * MIB]


def test_requests_go_through_the_proxy(make, seaweedfs, wire):
    storage = make(endpoint_url=seaweedfs.endpoint_url, proxies={"http": wire.url})
    with wire.counting() as seen:
        storage.save("a.txt", ContentFile(b"x"))
    assert [exchange.path.startswith(seaweedfs.endpoint_url) for exchange in seen] == [True]


def test_no_request_waits_for_a_continue(make, wire):
    storage = make()
    with wire.counting() as seen:
        storage.save("a.txt", ContentFile(b"x"))
        write(storage, "long.bin", b"x" * 9 * MIB)
    assert [exchange for exchange in seen if "expect" in exchange.headers or exchange.interim_100] == []


# Unfinished uploads


@pytest.mark.parametrize("use_tz", [True, False])
def test_stale_uploads_are_listed_and_removed_below_the_location(make, seaweedfs, client, use_tz):
    bucket = seaweedfs.make_bucket()
    storage, other = (make(bucket_name=bucket, location=location) for location in ("here", "elsewhere"))
    for one in (storage, other):
        client.create_multipart_upload(Bucket=one.bucket_name, Key=one._key("long.bin"))
    with override_settings(USE_TZ=use_tz):
        assert list(storage.stale_uploads()) == []
        upload = next(storage.stale_uploads(datetime.timedelta(seconds=-5)))
        assert (upload.key, upload.started.tzinfo is None) == ("here/long.bin", False)
        assert storage.abort_stale_uploads() == 0
        assert storage.abort_stale_uploads(datetime.timedelta(seconds=-5)) == 1
    left = client.list_multipart_uploads(Bucket=storage.bucket_name).get("Uploads", [])
    assert [upload["Key"] for upload in left] == ["elsewhere/long.bin"]


# Errors: of the server


def refused_by(storage):
    return {
        "open": lambda: storage.open("a.txt"),
        "size": lambda: storage.size("a.txt"),
        "save": lambda: storage.save("a.txt", ContentFile(b"x")),
        "write": lambda: write(storage, "a.txt", b"x"),
        "exists": lambda: storage.exists("a.txt"),
        "listdir": lambda: storage.listdir(""),
        "walk": lambda: list(storage.walk()),
        "delete": lambda: storage.delete("a.txt"),
        "copy": lambda: storage.copy("a.txt", "b.txt"),
    }


def raised(call):
    """Return the error of a call, and all that a log would hold of it."""
    try:
        call()
    except Exception as error:
        return error, "".join(traceback.format_exception(error))
    raise AssertionError("nothing was raised")


VERBS = ["open", "size", "save", "write", "exists", "listdir", "walk", "delete", "copy"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("options", "kind", "advice"),
    [
        ({"secret_key": "WRONGSECRET"}, PermissionError, "secret"),
        ({"access_key": "NOSUCHKEY", "secret_key": "WRONGSECRET"}, PermissionError, "key"),
        ({"bucket_name": "no-such-bucket"}, ImproperlyConfigured, "AWS_STORAGE_BUCKET_NAME"),
    ],
    ids=["secret", "key", "bucket"],
)
def test_refusal_has_its_class_and_its_remedy(make, seaweedfs, verb, options, kind, advice):
    storage = make(**options)
    error, log = raised(refused_by(storage)[verb])
    assert isinstance(error, kind)
    assert isinstance(error, ClientError)
    assert isinstance(error.__cause__, ClientError)
    if verb != "size" or kind is ImproperlyConfigured:  # a HEAD has no body to say why
        assert advice in str(error)
    assert "WRONGSECRET" not in log
    assert seaweedfs.secret_key not in log


@pytest.mark.parametrize("verb", VERBS)
def test_unreachable_service_is_a_connection_error(make, seaweedfs, verb):
    storage = make(endpoint_url=f"http://{HOST}:1", max_attempts=1)
    error, log = raised(refused_by(storage)[verb])
    assert isinstance(error, ConnectionError)
    assert "AWS_S3_ENDPOINT_URL" in str(error)
    assert seaweedfs.secret_key not in log


@pytest.mark.parametrize("verb", ["open", "size", "copy"])
def test_missing_object_is_not_found(make, verb):
    error, _ = raised(refused_by(make())[verb])
    assert isinstance(error, FileNotFoundError)
    assert isinstance(error, ClientError)
    assert error.filename == "a.txt"


@pytest.mark.parametrize("verb", ["open", "size", "exists"])
def test_forbidden_question_names_the_permission_that_is_missing(ceph, verb):
    """Without s3:ListBucket, a missing object is 403: Ceph does as S3."""
    keys = ceph.restricted
    storage = S3Storage(
        bucket_name=ceph.make_bucket(),
        endpoint_url=ceph.endpoint_url,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
    )
    storage.save("there.txt", ContentFile(b"x"))
    assert storage.exists("there.txt")
    assert read(storage, "there.txt") == b"x"
    error, log = raised(refused_by(storage)[verb])
    assert isinstance(error, PermissionError)
    assert "s3:ListBucket" in str(error)
    assert keys.secret_key not in log


def test_forbidden_listing_names_the_permission(ceph):
    storage = S3Storage(
        bucket_name=ceph.make_bucket(),
        endpoint_url=ceph.endpoint_url,
        access_key=ceph.stranger.access_key,
        secret_key=ceph.stranger.secret_key,
    )
    with pytest.raises(PermissionError, match="s3:ListBucket"):
        storage.listdir("")


def test_configuration_that_botocore_refuses_shows_no_secret(make):
    secret = "tercesneddih"[::-1]  # a traceback shows the lines of its sources
    error, log = raised(lambda: make(region_name="EU (Ireland)", secret_key=secret).exists("a.txt"))
    assert isinstance(error, ImproperlyConfigured)
    assert secret not in log


# Errors: as AWS words them


class Answering(http.server.BaseHTTPRequestHandler):
    """Give every request the same answer."""

    status, code, extra, headers_out = 400, "", "", {}
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = f"<Error><Code>{self.code}</Code><Message>as AWS says</Message>{self.extra}</Error>".encode()
        body = b"" if self.command == "HEAD" or not self.code else body
        self.send_response(self.status)
        for name, value in {**self.headers_out, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 -- the names that http.server calls

    def log_message(self, *args):
        """Say nothing."""


@contextlib.contextmanager
def serving(context=None, **answer):
    """Yield the URL of a server that gives this answer."""
    server = http.server.ThreadingHTTPServer((HOST, 0), type("Handler", (Answering,), answer))
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http{'s' if context else ''}://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def offline(url, **options):
    return S3Storage(
        **{"bucket_name": "bucket", "endpoint_url": url, "access_key": "AKID", "secret_key": "HIDDENSECRET", **options}
    )


@pytest.mark.parametrize(
    ("verb", "answer", "kind", "advice"),
    [
        (
            "listdir",
            {"status": 301, "code": "PermanentRedirect", "headers_out": {"x-amz-bucket-region": "eu-west-3"}},
            ImproperlyConfigured,
            "AWS_S3_REGION_NAME) to eu-west-3",
        ),
        (
            "size",
            {"status": 301, "headers_out": {"x-amz-bucket-region": "eu-west-3"}},
            ImproperlyConfigured,
            "eu-west-3",
        ),
        (
            "save",
            {"status": 400, "code": "AuthorizationHeaderMalformed", "extra": "<Region>eu-west-3</Region>"},
            ImproperlyConfigured,
            "AWS_S3_REGION_NAME) to eu-west-3",
        ),
        (
            "save",
            {"status": 400, "code": "IllegalLocationConstraintException"},
            ImproperlyConfigured,
            "AWS_S3_REGION_NAME",
        ),
        ("open", {"status": 400, "code": "ExpiredToken"}, PermissionError, "AWS_SESSION_TOKEN"),
        ("size", {"status": 400}, PermissionError, "AWS_SESSION_TOKEN"),
        ("open", {"status": 400, "code": "InvalidToken"}, PermissionError, "AWS_SESSION_TOKEN"),
        ("listdir", {"status": 403, "code": "InvalidAccessKeyId"}, PermissionError, "AWS_S3_ACCESS_KEY_ID"),
        ("listdir", {"status": 403, "code": "SignatureDoesNotMatch"}, PermissionError, "AWS_S3_SECRET_ACCESS_KEY"),
        ("save", {"status": 403, "code": "RequestTimeTooSkewed"}, PermissionError, "clock"),
        ("save", {"status": 403, "code": "AccessDenied"}, PermissionError, "s3:PutObject"),
        ("delete", {"status": 403, "code": "AccessDenied"}, PermissionError, "s3:DeleteObject"),
        ("copy", {"status": 403, "code": "AccessDenied"}, PermissionError, "s3:GetObject for the source"),
        ("listdir", {"status": 403, "code": "AccessDenied"}, PermissionError, "s3:ListBucket"),
        ("size", {"status": 403}, PermissionError, "s3:ListBucket"),
        ("listdir", {"status": 404, "code": "NoSuchBucket"}, ImproperlyConfigured, "AWS_STORAGE_BUCKET_NAME"),
        ("save", {"status": 501, "code": "NotImplemented"}, NotImplementedError, "as AWS says"),
        ("listdir", {"status": 418, "code": "Teapot"}, ClientError, "as AWS says"),
    ],
)
def test_answer_of_aws_has_its_class_and_its_remedy(verb, answer, kind, advice):
    with serving(**answer) as url:
        error, log = raised(refused_by(offline(url, max_attempts=1))[verb])
    assert isinstance(error, kind)
    assert isinstance(error, ClientError)
    assert advice in str(error)
    assert "HIDDENSECRET" not in log


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for the tests' address, signed by itself, with its key, in one PEM file."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    kind = serialization.PrivateFormat.PKCS8
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context, status=200) as url:
        yield url


def test_certificate_is_checked_by_default(tls):
    error, _ = raised(lambda: offline(tls, max_attempts=1).delete("a.txt"))
    assert isinstance(error, ConnectionError)
    assert "certificate" in str(error).lower()


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
def test_verify_names_the_authority(tls, certificate, kind):
    offline(tls, verify=kind(certificate)).delete("a.txt")


def test_verify_false_checks_nothing(tls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # urllib3 says, rightly, that this is not to be done
        offline(tls, verify=False).delete("a.txt")


def test_signature_version_2_is_accepted_by_a_service_that_knows_it(make, seaweedfs):
    storage = make(signature_version="s3")
    storage.save("a.txt", ContentFile(b"old"))
    assert read(storage, "a.txt") == b"old"


def test_key_of_the_customer_is_sent_as_its_digest_too(encrypted, wire):
    with wire.counting() as seen:
        encrypted.save("a.txt", ContentFile(b"x"))
    assert base64.b64decode(seen[0].headers[SSE_HEADER]) == SSE["SSECustomerKey"].encode()
    assert f"{SSE_HEADER}-md5" in seen[0].headers
