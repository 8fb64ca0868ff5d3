"""One table of requests, answered alike from every storage, under WSGI and ASGI."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.test import AsyncClient, Client, override_settings
from django.urls import re_path

from storages.backends.memory import MemoryStorage
from storages.private import http, responses
from storages.private.models import PrivateFile
from storages.testing.harness import Harness
from tests import test_azure_contract as azure
from tests import test_b2_contract as b2_module
from tests import test_dropbox_contract as dropbox_module
from tests import test_ftp_contract as ftp_module
from tests import test_gcloud_contract as gcloud
from tests import test_ipfs_contract as ipfs
from tests import test_libcloud_contract as libcloud
from tests import test_s3_contract as s3_module
from tests import test_sftp_contract as sftp_module

# Fixtures of the harnesses.
from tests.test_azure_contract import azurite, container  # noqa: F401
from tests.test_b2_contract import b2  # noqa: F401
from tests.test_dropbox_contract import dropbox  # noqa: F401
from tests.test_ftp_contract import ftp, pyftpdlib  # noqa: F401
from tests.test_gcloud_contract import gcs  # noqa: F401
from tests.test_ipfs_contract import node  # noqa: F401
from tests.test_libcloud_contract import directory  # noqa: F401
from tests.test_s3_contract import s3  # noqa: F401
from tests.test_sftp_contract import openssh, sftp  # noqa: F401

# The SDKs of Dropbox and Libcloud call it for each request.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

SMALL, LARGE = 1000, 200_000  # bytes; one is within what is fetched to learn of a file, one is not
CONTENTS = {
    "small.bin": random.Random(1).randbytes(SMALL),
    "large.bin": random.Random(2).randbytes(LARGE),
    "empty.bin": b"",
}
LONG_AGO, ONE_DAY = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 06 Nov 2093 08:49:37 GMT"

served: Any = SimpleNamespace(storage=None)


def serve(request, path):
    return responses.stream(PrivateFile(request, served.storage, path))


urlpatterns = [re_path("^(?P<path>.*)$", serve)]


class Row(NamedTuple):
    """A request and the answer that it gets; {etag} and {date} stand for those of the file."""

    headers: Mapping[str, str] = {}
    status: int = 200
    ranges: tuple[tuple[int, int], ...] = ()  # of a 206, from the first byte to before the last
    name: str = "small.bin"
    method: str = "GET"


def large(headers: Mapping[str, str], *answer: Any) -> Row:
    return Row(headers, *answer)._replace(name="large.bin")


def empty(headers: Mapping[str, str], *answer: Any) -> Row:
    return Row(headers, *answer)._replace(name="empty.bin")


def head(headers: Mapping[str, str], status: int, name: str = "small.bin") -> Row:
    return Row(headers, status, name=name, method="HEAD")


def ranged(value: str, **headers: str) -> dict[str, str]:
    return {"Range": f"bytes={value}", **{name.replace("_", "-"): text for name, text in headers.items()}}


MANY = ",".join(f"{start}-{start}" for start in range(0, 16 * 1000, 1000))

ROWS = {
    # The whole
    "whole": Row(),
    "whole large": large({}),
    "whole empty": empty({}),
    "head": head({}, 200),
    "head large": head({}, 200, "large.bin"),
    "head empty": head({}, 200, "empty.bin"),
    "head has no ranges": head(ranged("0-9"), 200),
    "head beyond the end": head(ranged("5000-"), 200),
    # One range
    "first byte": Row(ranged("0-0"), 206, ((0, 1),)),
    "last byte": Row(ranged("999-999"), 206, ((999, 1000),)),
    "middle": Row(ranged("10-19"), 206, ((10, 20),)),
    "open end": Row(ranged("990-"), 206, ((990, 1000),)),
    "all of it": Row(ranged("0-"), 206, ((0, 1000),)),
    "more than there is": Row(ranged("990-5000"), 206, ((990, 1000),)),
    "suffix": Row(ranged("-10"), 206, ((990, 1000),)),
    "suffix of one": Row(ranged("-1"), 206, ((999, 1000),)),
    "suffix longer than the file": Row(ranged("-5000"), 206, ((0, 1000),)),
    "suffix of nothing": Row(ranged("-0"), 416),
    "beyond the end": Row(ranged("1000-"), 416),
    "far beyond the end": Row(ranged("99999999999999999999-"), 416),
    "to far beyond the end": Row(ranged("990-99999999999999999999"), 206, ((990, 1000),)),
    "large first": large(ranged("0-99"), 206, ((0, 100),)),
    "large middle": large(ranged("100000-100099"), 206, ((100_000, 100_100),)),
    "large over the probe": large(ranged("65000-66000"), 206, ((65_000, 66_001),)),
    "large open end": large(ranged("199000-"), 206, ((199_000, LARGE),)),
    "large suffix": large(ranged("-1024"), 206, ((LARGE - 1024, LARGE),)),
    "large suffix of nearly all": large(ranged("-199999"), 206, ((1, LARGE),)),
    "large beyond": large(ranged("200000-"), 416),
    "empty from the start": empty(ranged("0-"), 416),
    "empty first byte": empty(ranged("0-0"), 416),
    "empty suffix": empty(ranged("-5"), 416),
    # Ranges that are not asked for
    "another unit": Row({"Range": "items=0-9"}),
    "bad syntax": Row({"Range": "bytes=a-b"}),
    "no ranges": Row({"Range": "bytes="}),
    "backwards": Row(ranged("20-10")),
    "one of two backwards": Row(ranged("0-1,20-10")),
    "seventeen": Row(ranged(MANY + ",1-1")),
    "no unit": Row({"Range": "0-9"}),
    # Several ranges
    "two": Row(ranged("0-9,500-509"), 206, ((0, 10), (500, 510))),
    "two in their order": Row(ranged("500-509,0-9"), 206, ((500, 510), (0, 10))),
    "two that overlap": Row(ranged("0-99,50-149"), 206, ((0, 150),)),
    "two that nearly touch": Row(ranged("0-9,20-29"), 206, ((0, 30),)),
    "two of which one is there": Row(ranged("0-9,5000-"), 206, ((0, 10),)),
    "none of two": Row(ranged("1000-,5000-6000"), 416),
    "first and last": Row(ranged("0-0,-1"), 206, ((0, 1), (999, 1000))),
    "large three": large(ranged("100000-100009,0-9,-10"), 206, ((100_000, 100_010), (0, 10), (LARGE - 10, LARGE))),
    "large over the probe and beyond": large(
        ranged("65530-65539,150000-150009"), 206, ((65_530, 65_540), (150_000, 150_010))
    ),
    "large sixteen": large(ranged(MANY), 206, tuple((start, start + 1) for start in range(0, 16_000, 1000))),
    "empty two": empty(ranged("0-1,5-6"), 416),
    # If-None-Match
    "known": Row({"If-None-Match": "{etag}"}, 304),
    "known large": large({"If-None-Match": "{etag}"}, 304),
    "known empty": empty({"If-None-Match": "{etag}"}, 304),
    "known weak": Row({"If-None-Match": "W/{etag}"}, 304),
    "known in a list": Row({"If-None-Match": '"a", W/"b,c" ,{etag}'}, 304),
    "anything known": Row({"If-None-Match": "*"}, 304),
    "another known": Row({"If-None-Match": '"other"'}),
    "another known, large": large({"If-None-Match": '"other"'}),
    "unquoted": Row({"If-None-Match": "other"}),
    "head known": head({"If-None-Match": "{etag}"}, 304),
    "known with a range": Row(ranged("0-9", If_None_Match="{etag}"), 304),
    "another known with a range": Row(ranged("0-9", If_None_Match='"other"'), 206, ((0, 10),)),
    # If-Match
    "match": Row({"If-Match": "{etag}"}),
    "match anything": Row({"If-Match": "*"}),
    "match in a list": Row({"If-Match": '"a", {etag}'}),
    "match another": Row({"If-Match": '"other"'}, 412),
    "match weak": Row({"If-Match": "W/{etag}"}, 412),
    "match nonsense": Row({"If-Match": "other"}, 412),
    "match with a range": large(ranged("100000-100009", If_Match="{etag}"), 206, ((100_000, 100_010),)),
    "match another with a range": Row(ranged("0-9", If_Match='"other"'), 412),
    "head match another": head({"If-Match": '"other"'}, 412),
    "match before none match": Row({"If-Match": '"other"', "If-None-Match": "{etag}"}, 412),
    "match, then known": Row({"If-Match": "{etag}", "If-None-Match": "{etag}"}, 304),
    # If-Range
    "if range": Row(ranged("0-9", If_Range="{etag}"), 206, ((0, 10),)),
    "if range, large": large(ranged("100000-100009", If_Range="{etag}"), 206, ((100_000, 100_010),)),
    "if range weak": Row(ranged("0-9", If_Range="W/{etag}")),
    "if range of another": Row(ranged("0-9", If_Range='"other"')),
    "if range of another, large": large(ranged("100000-100009", If_Range='"other"')),
    "if range of another, beyond the end": Row(ranged("5000-", If_Range='"other"')),
    "if range of another, suffix": large(ranged("-5", If_Range='"other"')),
    "if range, suffix": large(ranged("-5", If_Range="{etag}"), 206, ((LARGE - 5, LARGE),)),
    "if range without a range": Row({"If-Range": '"other"'}),
    "if range of nonsense": Row(ranged("0-9", If_Range="nonsense")),
    "if range in a list": Row(ranged("0-9", If_Range='{etag}, "other"')),
    # The same by date
    "since": Row({"If-Modified-Since": "{date}"}, 304),
    "since later": Row({"If-Modified-Since": ONE_DAY}, 304),
    "since before": Row({"If-Modified-Since": LONG_AGO}),
    "since nonsense": Row({"If-Modified-Since": "yesterday"}),
    "head since": head({"If-Modified-Since": "{date}"}, 304),
    "known before since": Row({"If-None-Match": '"other"', "If-Modified-Since": "{date}"}),
    "unmodified since": Row({"If-Unmodified-Since": "{date}"}),
    "unmodified since before": Row({"If-Unmodified-Since": LONG_AGO}, 412),
    "unmodified since nonsense": Row({"If-Unmodified-Since": "yesterday"}),
    "match before unmodified since": Row({"If-Match": "{etag}", "If-Unmodified-Since": LONG_AGO}),
    "unmodified since with a range": Row(ranged("0-9", If_Unmodified_Since=LONG_AGO), 412),
    "if range by date": Row(ranged("0-9", If_Range="{date}"), 206, ((0, 10),)),
    "if range by a later date": Row(ranged("0-9", If_Range=ONE_DAY)),
    "if range by an earlier date": Row(ranged("0-9", If_Range=LONG_AGO)),
}
UNDATED = {  # the answer where the storage knows no times: conditions on them do not hold back anything
    **dict.fromkeys(("since", "since later", "head since", "unmodified since before"), (200, ())),
    "unmodified since with a range": (206, ((0, 10),)),
    "if range by date": (200, ()),
}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask_wsgi(method: str, name: str, headers: Mapping[str, str]) -> Answer:
    response = Client().generic(method, f"/{name}", headers=dict(headers))
    body = b"".join(response) if response.streaming else response.content
    response.close()
    return Answer(response.status_code, response.headers, body)


@async_to_sync
async def ask_asgi(method: str, name: str, headers: Mapping[str, str]) -> Answer:
    response = await AsyncClient().generic(method, f"/{name}", headers=dict(headers))
    if response.streaming and method != "HEAD":
        assert response.is_async
        body = b"".join([chunk async for chunk in response])
    else:
        body = b"".join(response) if response.streaming else response.content
    response.close()
    return Answer(response.status_code, response.headers, body)


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Return Content-Range and bytes of each part of an answer."""
    kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
    if kind != "multipart/byteranges":
        return [(answer.headers["Content-Range"], answer.body)]
    marker = f"\r\n--{boundary}".encode()
    before, *parts, after = (b"\r\n" + answer.body).split(marker)
    assert (before, after) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ") for line in head.decode().strip().split("\r\n"))
        assert fields.keys() == {"Content-Type", "Content-Range"}
        found.append((fields["Content-Range"], content))
    return found


def filled(storage: Any) -> Any:
    for name, content in CONTENTS.items():
        assert storage.save(name, ContentFile(content)) == name
    return storage


class Requests:
    """The table; a class for each storage."""

    contract: ClassVar[Any] = None  # a harness of the storage's own tests

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls):
        """The contract's harness, with what its fixture gave to this class."""
        harness = cls.contract()
        own = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        vars(harness).update({name: value for name, value in own.items() if name != "pytestmark"})
        yield harness
        harness.clean()

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls, harness):
        return filled(harness.make_storage())

    @pytest.fixture
    def ask(self, request, storage, monkeypatch):
        monkeypatch.setattr(http, "SETTLED", -5)  # no test waits until its files are old
        monkeypatch.setattr(served, "storage", storage)
        with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
            yield {"WSGI": ask_wsgi, "ASGI": ask_asgi}[request.param]

    @pytest.mark.parametrize("ask", ["WSGI", "ASGI"], indirect=True)
    @pytest.mark.parametrize("title", ROWS)
    def test_request_is_answered_by_the_standard(self, ask, storage, title):
        row = ROWS[title]
        told = ask("HEAD", row.name, {}).headers
        etag, date = told["ETag"], told.get("Last-Modified", LONG_AGO)
        status, ranges = UNDATED.get(title, row[1:3]) if "Last-Modified" not in told else row[1:3]
        headers = {name: value.replace("{etag}", etag).replace("{date}", date) for name, value in row.headers.items()}
        with self.counted(storage) as calls:
            answer = ask(row.method, row.name, headers)
        content = CONTENTS[row.name]
        assert answer.status == status
        self.check_headers(answer, told, status, len(content))
        if status == 206:
            assert parts_of(answer) == [(f"bytes {a}-{b - 1}/{len(content)}", content[a:b]) for a, b in ranges]
            assert int(answer.headers["Content-Length"]) == len(answer.body)
        else:
            assert answer.body == (content if (status, row.method) == (200, "GET") else b"")
        self.check_calls(calls, row, ranges)

    def check_headers(self, answer, told, status, size):
        headers = answer.headers
        assert (headers["ETag"], headers.get("Last-Modified")) == (told["ETag"], told.get("Last-Modified"))
        assert headers.get("Accept-Ranges") == ("bytes" if status in (200, 206, 416) else None)
        assert ("Content-Type" in headers) == (status in (200, 206))
        expected = {200: (str(size), None), 304: (None, None), 412: ("0", None), 416: ("0", f"bytes */{size}")}
        if status in expected:
            assert (headers.get("Content-Length"), headers.get("Content-Range")) == expected[status]

    def counted(self, storage):
        return Harness.count_requests(None, storage)

    def check_calls(self, calls, row, ranges):
        """One call for a small file, but where that does not tell how small it is; else two, and one for each range."""
        most = 1 if row.name == "small.bin" and row.status != 416 else 2
        assert len(calls.requests) <= most + max(len(ranges) - 1, 0) * (row.name == "large.bin")


class TestMemory(Requests):
    backend = "Memory"

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls):
        return filled(MemoryStorage())


class DjangoRequests(Requests):
    """Storages that are opened, once at the most."""

    def check_calls(self, calls, row, ranges):
        assert len(calls) <= (0 if row.method == "HEAD" else 1)  # beside the looks that its class takes at it

    @pytest.fixture(autouse=True)
    def _counting(self, storage, monkeypatch):
        self.opened: list[str] = []
        original = storage.open

        def opening(name, mode="rb"):
            self.opened.append(name)
            return original(name, mode)

        monkeypatch.setattr(storage, "open", opening)

    def counted(self, storage):
        return contextlib.nullcontext(self.opened)


class TestFileSystem(DjangoRequests):
    backend = "FileSystemStorage"

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls, tmp_path_factory):
        return filled(FileSystemStorage(tmp_path_factory.mktemp("files")))


class TestInMemory(DjangoRequests):
    """Any storage of Django's API, here one with times and seekable files."""

    backend = "InMemoryStorage"

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls):
        return filled(InMemoryStorage())


@pytest.mark.usefixtures("s3")
class TestS3(Requests):
    backend, server, fixture = "S3", "SeaweedFS", "seaweedfs"
    contract = s3_module.S3Contract


@pytest.mark.usefixtures("container")
class TestAzure(Requests):
    backend, server = "Azure", "Azurite"
    contract = azure.AzureContract


@pytest.mark.usefixtures("gcs")
class TestGCS(Requests):
    backend, server = "GCS", "fake-gcs-server"
    contract = gcloud.GoogleCloudContract


@pytest.mark.usefixtures("dropbox")
class TestDropbox(Requests):
    backend, server = "Dropbox", "fake"
    contract = dropbox_module.DropboxContract


@pytest.mark.usefixtures("ftp")
class TestFTP(Requests):
    backend, server, fixture = "FTP", "pyftpdlib", ""
    contract = ftp_module.FTPContract


@pytest.mark.usefixtures("sftp")
class TestSFTP(Requests):
    backend, server = "SFTP", "OpenSSH"
    contract = sftp_module.SFTPContract


@pytest.mark.usefixtures("directory")
class TestLibcloud(Requests):
    backend, server = "Libcloud", "local driver"
    contract = libcloud.TestLocal


@pytest.mark.usefixtures("b2")
class TestB2(Requests):
    backend, server = "B2", "fake"
    contract = b2_module.B2Contract


@pytest.mark.usefixtures("node")
class TestIPFS(Requests):
    backend, server = "IPFS", "fake"
    contract = ipfs.TestFakeIPFS
    make_node = staticmethod(ipfs.TestFakeIPFS.make_node)
