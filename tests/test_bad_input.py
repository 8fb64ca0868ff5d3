"""Bad input to S3Storage: which error, what it says to do, what it keeps to itself; and nothing is lost."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import traceback
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files import File
from django.core.files.base import ContentFile

from storages.backends.s3 import S3Storage
from storages.testing.sources import BrokenPipe, OnlyChunks, Pipe, SourceError
from tests.buckets import WiredBucket
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
OLD = b"the old version"
KEY_ID, SECRET, TOKEN = "AKIDPLANTED", "planted-secret-key", "planted-session-token"


@pytest.fixture(scope="module")
def bucket(seaweedfs):
    with Proxy(HOST, seaweedfs.port) as wire, WiredBucket(seaweedfs, wire) as bucket:
        bucket.put("old.txt", OLD)
        yield bucket


@pytest.fixture(autouse=True)
def _nothing_is_lost(request):
    """Hold every test to leaving the bucket as it was, where there is one."""
    if "bucket" not in request.fixturenames:
        yield
        return
    bucket = request.getfixturevalue("bucket")
    before = bucket.objects()
    yield
    assert bucket.objects() == before
    assert bucket.uploads() == []


@pytest.fixture
def storage(bucket):
    return bucket.storage(create_only=True)


def told(error):
    """Return all that an error says, its causes included."""
    return repr(error) + "".join(traceback.format_exception(error))


def save(storage, name, content=b"new"):
    return storage.save(name, ContentFile(content))


def read(storage, name="old.txt"):
    with storage.open(name) as file:
        return file.read()


def write(storage, name, mode="wb"):
    with storage.open(name, mode) as file:
        file.write(b"new")


# Names

VERBS = {
    "open": read,
    "open to write": write,
    "open to create": lambda storage, name: write(storage, name, "xb"),
    "open to append": lambda storage, name: write(storage, name, "ab"),
    "open to change": lambda storage, name: write(storage, name, "r+b"),
    "open a range": lambda storage, name: storage.open_range(name, 0, 1).read(),
    "save": save,
    "exists": lambda storage, name: storage.exists(name),
    "size": lambda storage, name: storage.size(name),
    "stat": lambda storage, name: storage.stat(name),
    "modified time": lambda storage, name: storage.get_modified_time(name),
    "url": lambda storage, name: storage.url(name),
    "listdir": lambda storage, name: storage.listdir(name),
    "walk": lambda storage, name: list(storage.walk(name)),
    "copy from": lambda storage, name: storage.copy(name, "target.txt"),
    "copy to": lambda storage, name: storage.copy("old.txt", name),
    "move from": lambda storage, name: storage.move(name, "target.txt"),
    "move to": lambda storage, name: storage.move("old.txt", name),
    "delete": lambda storage, name: storage.delete(name),
    "delete_many": lambda storage, name: storage.delete_many(["old.txt", name]),
}
NAMES = [
    pytest.param("../old.txt", "leaves the storage's location|traversal", id="parent"),
    pytest.param("a/../../old.txt", "leaves the storage's location|traversal", id="parent inside"),
    pytest.param("..\\old.txt", "leaves the storage's location|traversal", id="parent with a backslash"),
    pytest.param("/old.txt", "relative to the storage's location|traversal", id="absolute"),
    pytest.param("\\old.txt", "relative to the storage's location|traversal", id="absolute with a backslash"),
    pytest.param("a\x00.txt", "control character; remove it", id="NUL"),
    pytest.param("a\nb.txt", "control character; remove it", id="newline"),
    pytest.param("a\rb.txt", "control character; remove it", id="return"),
    pytest.param("a\x7fb.txt", "control character; remove it", id="DEL"),
    pytest.param("a\ud800.txt", "control character; remove it", id="surrogate"),
    pytest.param("x" * 1021 + ".txt", "1025 bytes long, .* shorten the name", id="1,025 bytes"),
    pytest.param("\N{EURO SIGN}" * 342, "1026 bytes long, .* shorten the name", id="342 characters"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("name", "advice"), NAMES)
def test_bad_name_is_refused_before_any_request(bucket, storage, verb, name, advice):
    with bucket.wire.counting() as seen, pytest.raises(SuspiciousFileOperation, match=advice):
        VERBS[verb](storage, name)
    assert seen.methods == []


@pytest.mark.parametrize("location", ["site", "a/b/"])
def test_location_counts_for_the_length_of_a_name(bucket, location):
    storage = bucket.storage(location=location)
    with bucket.wire.counting() as seen, pytest.raises(SuspiciousFileOperation, match="1025 bytes"):
        save(storage, "x" * (1024 - len(location.rstrip("/"))))
    assert seen.methods == []


def test_backslash_in_a_name_is_a_slash(storage):
    assert save(storage, "dir\\new.txt") == "dir/new.txt"
    assert read(storage, "dir\\new.txt") == b"new"
    assert storage.listdir("dir\\") == ([], ["new.txt"])
    storage.delete("dir\\new.txt")
    assert not storage.exists("dir")


@pytest.mark.parametrize("verb", ["url", "delete"])
def test_empty_name_is_refused_before_any_request(bucket, storage, verb):
    with bucket.wire.counting() as seen, pytest.raises(ValueError, match="name"):
        VERBS[verb](storage, "")
    assert seen.methods == []


# Files


@pytest.mark.parametrize("mode", ["rw", "", "z", "rbt", "r++", "U"])
def test_unknown_mode_is_refused_before_any_request(bucket, storage, mode):
    with bucket.wire.counting() as seen, pytest.raises(ValueError, match="use one of r, w, x, a"):
        storage.open("old.txt", mode)
    assert seen.methods == []


@pytest.mark.parametrize(("mode", "content"), [("rb", b"x"), ("r", "x"), ("rb", "x"), ("r", b"x")])
def test_write_on_a_reader_is_refused(storage, mode, content):
    with storage.open("old.txt", mode) as file, pytest.raises(io.UnsupportedOperation):
        file.write(content)


def test_read_on_a_writer_is_refused_and_closing_it_still_publishes(storage):
    with storage.open("new.txt", "wb") as file:
        file.write(b"new")
        with pytest.raises(io.UnsupportedOperation):
            file.read()
    assert read(storage, "new.txt") == b"new"
    storage.delete("new.txt")


# Sources


def closed(content):
    content.close()
    return content


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: closed(io.BytesIO(b"x")), id="BytesIO"),
        pytest.param(lambda: File(closed(io.BytesIO(b"x")), "x"), id="File over a closed one"),
    ],
)
def test_closed_source_is_refused_before_any_write(bucket, content, overwrite):
    storage = bucket.storage(file_overwrite=overwrite, create_only=True)
    with bucket.wire.counting() as seen, pytest.raises(ValueError, match="closed"):
        storage.save("old.txt", content())
    assert [method for method in seen.methods if method != "GET"] == []


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_source_that_fails_half_way_stores_nothing(bucket, size, overwrite):
    storage = bucket.storage(file_overwrite=overwrite, create_only=True)
    with pytest.raises(SourceError):
        storage.save("old.txt", File(BrokenPipe(bytes(size)), "source"))


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda content: File(Pipe(content, most=7), "source"), id="short reads"),
        pytest.param(lambda content: Pipe(content, most=7), id="no File"),
        pytest.param(lambda content: OnlyChunks([content[:3], b"", content[3:]]), id="empty chunk"),
    ],
)
def test_source_that_reads_short_is_stored_whole(bucket, content, overwrite):
    storage = bucket.storage(file_overwrite=overwrite, create_only=True)
    expected = bytes(range(256)) * 10
    name = storage.save("short.bin", content(expected))
    assert bucket.get(name) == expected
    storage.delete(name)


# The service says no


class Refusal(BaseHTTPRequestHandler):
    """Answer every request with the server's ``answer``: status, code, region of the bucket."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, code, region = self.server.answer
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message><Region>{region}</Region></Error>"
        body = body.encode()
        self.send_response(status)
        self.send_header("x-amz-bucket-region", region)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 -- as http.server calls them

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def refusing():
    with ThreadingHTTPServer((HOST, 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def refused(refusing):
    """A storage on the server that answers as it is told."""
    return S3Storage(
        bucket_name="bucket",
        endpoint_url=f"http://{HOST}:{refusing.server_port}",
        region_name="us-east-1",
        access_key=KEY_ID,
        secret_key=SECRET,
        security_token=TOKEN,
        addressing_style="path",
        create_only=True,
    )


# All that a storage can be asked for, by the requests that it makes of it.
REQUESTS = {
    "GET": read,
    "PUT": lambda storage: save(storage, "new.txt"),
    "PUT only new": lambda storage: write(storage, "new.txt", "xb"),
    "multipart": lambda storage: save(storage, "new.bin", bytes(9 * MIB)),
    "handle": lambda storage: write(storage, "old.txt"),
    "LIST": lambda storage: storage.listdir(""),
    "exists": lambda storage: storage.exists("old.txt"),
    "walk": lambda storage: list(storage.walk()),
    "DELETE": lambda storage: storage.delete("old.txt"),
    "DELETE many": lambda storage: storage.delete_many(["old.txt"]),
    "COPY": lambda storage: storage.copy("old.txt", "new.txt"),
    "stale uploads": lambda storage: list(storage.stale_uploads()),
}
REGION = r"set 'region_name' \(AWS_S3_REGION_NAME\) to eu-central-1"
REFUSED = [
    pytest.param({"secret_key": SECRET}, PermissionError, "correct 'secret_key'", id="wrong secret"),
    pytest.param(
        {"access_key": KEY_ID, "secret_key": SECRET}, PermissionError, "correct 'access_key'", id="unknown key"
    ),
    pytest.param(
        {"bucket_name": "not-there"}, ImproperlyConfigured, "create it, or correct 'bucket_name'", id="no bucket"
    ),
    pytest.param(
        {"endpoint_url": f"http://{HOST}:1", "max_attempts": 1},
        ConnectionError,
        "Check 'endpoint_url'",
        id="unreachable",
    ),
]
ANSWERS = [
    pytest.param(
        400, "ExpiredToken", PermissionError, r"renew 'security_token' \(AWS_SESSION_TOKEN\)", id="expired token"
    ),
    pytest.param(400, "InvalidToken", PermissionError, "renew 'security_token'", id="invalid token"),
    pytest.param(403, "RequestTimeTooSkewed", PermissionError, "clock is off", id="wrong clock"),
    pytest.param(403, "AccessDenied", PermissionError, "may lack s3:", id="denied"),
    pytest.param(400, "AuthorizationHeaderMalformed", ImproperlyConfigured, REGION, id="wrong region"),
    pytest.param(301, "PermanentRedirect", ImproperlyConfigured, REGION, id="redirected"),
    pytest.param(404, "NoSuchBucket", ImproperlyConfigured, "create it, or correct 'bucket_name'", id="no bucket"),
]


def assert_keeps_secrets(error, storage, caplog):
    secrets = {storage.secret_key, storage.security_token, SECRET, TOKEN} - {None}
    said = told(error) + repr(storage) + "".join(record.getMessage() for record in caplog.records)
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize("deed", REQUESTS)
@pytest.mark.parametrize(("options", "kind", "advice"), REFUSED)
def test_refusal_of_the_server_says_what_to_do(bucket, caplog, deed, options, kind, advice):
    caplog.set_level(logging.DEBUG, "storages")
    storage = bucket.storage(**{"file_overwrite": deed != "PUT only new", "create_only": True, **options})
    with pytest.raises(kind, match=advice) as caught:
        REQUESTS[deed](storage)
    assert caught.value.__cause__ is not None
    assert_keeps_secrets(caught.value, storage, caplog)


@pytest.mark.parametrize("deed", REQUESTS)
@pytest.mark.parametrize(("status", "code", "kind", "advice"), ANSWERS)
def test_refusal_as_amazon_spells_it_says_what_to_do(refusing, refused, caplog, deed, status, code, kind, advice):
    caplog.set_level(logging.DEBUG, "storages")
    refusing.answer = (status, code, "eu-central-1")
    with pytest.raises(kind, match=advice) as caught:
        REQUESTS[deed](refused)
    assert caught.value.__cause__ is not None
    assert_keeps_secrets(caught.value, refused, caplog)


@pytest.mark.parametrize("deed", [lambda storage: storage.size("old.txt"), lambda storage: storage.size("missing.txt")])
@pytest.mark.parametrize(("options", "kind"), [refused.values[:2] for refused in REFUSED])
def test_refusal_of_a_head_is_no_missing_file(bucket, deed, options, kind):
    with pytest.raises(kind):
        deed(bucket.storage(**options))


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, PermissionError, "credentials may have expired, or the region may be wrong"),
        (403, PermissionError, "s3:ListBucket: without it S3 answers 403 for an object that does not exist"),
        (301, ImproperlyConfigured, REGION),
        (404, ImproperlyConfigured, "create it, or correct 'bucket_name'"),
    ],
)
def test_refusal_of_a_head_says_what_it_may_mean(refusing, refused, status, kind, advice):
    refusing.answer = (status, "", "eu-central-1")
    with pytest.raises(kind, match=advice):
        refused.size("old.txt")


# Options


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        pytest.param(
            {"bucket": "media"}, r"no option 'bucket'; use 'bucket_name' \(AWS_STORAGE_BUCKET_NAME\)", id="removed"
        ),
        pytest.param({"bucket_nam": "x"}, "no option 'bucket_nam'; did you mean 'bucket_name'", id="misspelt"),
        pytest.param({"querystring_expires": 1}, "did you mean 'querystring_expire'", id="misspelt expire"),
        pytest.param({"zzzzzzzzzz": 1}, "no option 'zzzzzzzzzz'$", id="unknown"),
        pytest.param({"querystring_expire": "1h"}, r"AWS_QUERYSTRING_EXPIRE\) expects int.*'1h'", id="expire in words"),
        pytest.param({"querystring_expire": 1.5}, "expects int", id="half a second"),
        pytest.param({"gzip": "yes"}, r"AWS_IS_GZIPPED\) expects bool", id="bool in words"),
        pytest.param({"addressing_style": "dns"}, "must be one of 'auto', 'virtual', 'path'", id="choice"),
        pytest.param({"object_parameters": "x"}, "AWS_S3_OBJECT_PARAMETERS.*expects dict or callable", id="parameters"),
        pytest.param({"part_size": MIB}, "AWS_S3_FILE_BUFFER_SIZE.*at least 5242880", id="small parts"),
        pytest.param(
            {"access_key": KEY_ID}, r"set option 'secret_key' \(Django setting AWS_S3_SECRET_ACCESS_KEY", id="key"
        ),
        pytest.param(
            {"secret_key": SECRET}, r"set option 'access_key' \(Django setting AWS_S3_ACCESS_KEY_ID", id="secret"
        ),
        pytest.param(
            {"session_profile": "me", "access_key": KEY_ID, "secret_key": SECRET}, "not both", id="profile with keys"
        ),
        pytest.param({"cloudfront_key_id": "K"}, "AWS_CLOUDFRONT_KEY.*set both or neither", id="CloudFront id"),
        pytest.param({"cloudfront_key": SECRET}, "AWS_CLOUDFRONT_KEY.*set both or neither", id="CloudFront key"),
        pytest.param({"location": "/media"}, r"AWS_LOCATION.*write 'media'", id="absolute location"),
        pytest.param({"location": "a/../../b"}, "AWS_LOCATION.*leaves", id="location above the bucket"),
        pytest.param({"location": "a\nb"}, "AWS_LOCATION.*control character", id="location with a newline"),
    ],
)
def test_bad_option_is_refused_when_the_storage_is_made(monkeypatch, options, advice):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ImproperlyConfigured, match=advice) as caught:
        S3Storage(**{"bucket_name": "bucket", **options} if "bucket_nam" not in options else options)
    assert str(caught.value).startswith("S3Storage")
    assert SECRET not in told(caught.value)


def test_wrong_type_of_a_secret_is_told_without_it():
    with pytest.raises(ImproperlyConfigured, match="expects str") as caught:
        S3Storage(bucket_name="bucket", secret_key=[SECRET])
    assert SECRET not in told(caught.value)


def test_missing_bucket_name_is_told_at_its_first_use():
    storage = S3Storage(endpoint_url=f"http://{HOST}:1", access_key=KEY_ID, secret_key=SECRET)
    with pytest.raises(
        ImproperlyConfigured, match=r"set option 'bucket_name' \(Django setting AWS_STORAGE_BUCKET_NAME\)"
    ):
        storage.exists("a.txt")


def test_unknown_object_parameter_is_told_before_any_request(bucket):
    storage = bucket.storage(object_parameters={"CacheControll": "max-age=1"})
    with bucket.wire.counting() as seen, pytest.raises(ImproperlyConfigured, match="did you mean 'CacheControl'"):
        save(storage, "old.txt")
    assert seen.methods == []


def test_no_credentials_at_all_is_told_before_any_request(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    storage = bucket.storage(access_key=None, secret_key=None)
    with bucket.wire.counting() as seen, pytest.raises(ImproperlyConfigured, match="set option 'access_key'"):
        save(storage, "old.txt")
    assert seen.methods == []


# URLs


@pytest.mark.parametrize(
    ("expire", "advice"),
    [
        (7 * 86400 + 1, r"at most 604800 seconds \(7 days\), not 604801"),
        (timedelta(days=8), "at most 604800 seconds"),
        (0, "more than 0"),
        (-5, "more than 0"),
        ("1h", "number of seconds, not '1h'"),
        (True, "number of seconds"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_bad_expire_is_refused(storage, expire, advice, method):
    with pytest.raises(ValueError, match=advice):
        storage.url("old.txt", expire=expire, http_method=method)


def test_bad_expire_among_the_options_is_refused_by_url(bucket):
    with pytest.raises(ValueError, match="at most 604800 seconds"):
        bucket.storage(querystring_expire=8 * 86400).url("old.txt")


def test_longest_expire_is_signed(storage):
    assert "X-Amz-Expires=604800&" in storage.url("old.txt", expire=timedelta(days=7))


def test_url_for_a_method_that_is_not_signed_is_refused(storage):
    with pytest.raises(ValueError, match="signs URLs for DELETE, GET, HEAD, PUT, not for POST"):
        storage.url("old.txt", http_method="POST")


# The SDK

WITHOUT_SDK = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in ("boto3", "botocore")
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)

from django.conf import settings
settings.configure(STORAGES={"default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"bucket_name": "b"}}})
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
try:
    storages["default"]
except ImproperlyConfigured as error:
    print(error)
"""


def test_absent_sdk_is_told_when_the_storage_is_made():
    done = subprocess.run([sys.executable, "-c", WITHOUT_SDK], check=True, capture_output=True, text=True)
    assert done.stdout == "S3Storage needs boto3: pip install 'django-storages-ng[s3]'\n"
