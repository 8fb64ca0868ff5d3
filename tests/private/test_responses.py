"""Answers with a file: how they are read, closed and broken off, where the table of requests does not look."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import io
import os
import threading
import wsgiref.util
from types import SimpleNamespace
from typing import Any

import django
import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage
from django.core.wsgi import get_wsgi_application
from django.test import AsyncRequestFactory, Client, RequestFactory, override_settings
from django.urls import re_path
from django.utils.functional import SimpleLazyObject

from storages.backends.memory import MemoryStorage
from storages.contract import Capabilities, ObjectChanged, Stat
from storages.private import responses
from storages.private.models import PrivateFile
from storages.testing.sources import Pipe
from tests.private.patterns import OLD, Pattern

KIB, MIB, GIB = 1024, 1024**2, 1024**3
CHUNK = responses.CHUNK_SIZE


@pytest.fixture
def pattern():
    storage = Pattern()
    storage.sizes = {"big.bin": GIB, "small.bin": 100}
    return storage


def ask(storage, name="big.bin", method="GET", factory=RequestFactory, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    request = factory().generic(method, f"/{name}", headers=headers)
    return responses.stream(PrivateFile(request, storage, name))


def content_of(response):
    with contextlib.closing(response):
        return b"".join(response)


# What is asked of the storage


@pytest.mark.parametrize(
    ("headers", "calls"),
    [
        ({}, [(0, None, None)]),
        ({"Range": "bytes=0-"}, [(0, None, None)]),
        ({"Range": "bytes=500000-500099"}, [(500_000, 500_100, None)]),
        ({"Range": "bytes=500000-500099", "If_Range": '"v1"'}, [(500_000, 500_100, None)]),
        ({"Range": "bytes=-1024"}, [(0, 65_536, None), (GIB - 1024, None, "v1")]),
        ({"If_None_Match": '"v0"'}, [(0, 65_536, None), (65_536, None, "v1")]),
        ({"If_None_Match": '"v1"'}, [(0, 65_536, None)]),
        ({"Range": "bytes=0-9", "If_Match": '"v1"'}, [(0, 65_536, None)]),
        ({"Range": f"bytes={GIB}-"}, [(GIB, None, None)]),
    ],
)
def test_few_calls_tell_all(pattern, headers, calls):
    ask(pattern, **headers).close()
    assert (pattern.calls, pattern.bodies) == (calls, 0)


def test_head_opens_nothing(pattern):
    response = ask(pattern, method="HEAD")
    assert (pattern.calls, response.headers["Content-Length"]) == (["stat"], str(GIB))


@pytest.mark.parametrize("start", [GIB - KIB, GIB // 2])
def test_seek_in_a_large_object_reads_little(pattern, start):
    assert len(content_of(ask(pattern, Range=f"bytes={start}-{start + KIB - 1}"))) == KIB
    assert pattern.read <= MIB


def test_last_kib_of_a_large_object_costs_less_than_one_mib(pattern):
    assert len(content_of(ask(pattern, Range="bytes=-1024"))) == KIB
    assert pattern.read <= MIB


def test_parts_are_fetched_as_they_are_sent(pattern):
    response = ask(pattern, Range="bytes=0-9,1000000-1000009,2000000-2000009")
    assert len(pattern.calls) == 1
    content_of(response)
    assert pattern.calls[1:] == [(1_000_000, 1_000_010, "v1"), (2_000_000, 2_000_010, "v1")]
    assert pattern.bodies == 0


@pytest.mark.threat("T-11")
def test_many_ranges_cost_no_further_calls(pattern):
    ranges = ",".join(f"{start}-{start}" for start in range(0, 10_000_000, 1000))
    ask(pattern, Range=f"bytes={ranges}").close()
    assert pattern.calls == [(0, None, None)]


def test_first_byte_comes_before_the_second_chunk_is_fetched(pattern):
    response = ask(pattern)
    with contextlib.closing(response):
        assert len(next(iter(response))) == CHUNK
        assert pattern.read == CHUNK


class Silent(Pattern):
    """A service that says of a range beyond the end only how long the object is, or nothing."""

    told_beyond: Any = None

    def _open_range(self, key, start, end, if_match=None):
        body = super()._open_range(key, start, end, if_match)
        if start >= body.stat.size:
            body.stat = self.told_beyond
        return body


@pytest.mark.parametrize("told", [None, Stat(GIB)])
@pytest.mark.parametrize(("etag", "status"), [("", 416), ('"v1"', 416), ('"v0"', 200)])
def test_range_beyond_the_end_is_refused_of_the_right_object_only(told, etag, status):
    storage = Silent()
    storage.sizes, storage.told_beyond = {"big.bin": GIB}, told
    response = ask(storage, Range=f"bytes={GIB}-", **({"If_Range": etag} if etag else {}))
    response.close()
    assert (response.status_code, response.headers["ETag"]) == (status, '"v1"')
    assert response.headers.get("Content-Range") == (f"bytes */{GIB}" if status == 416 else None)
    assert storage.bodies == 0


# Versions


class Changing(Pattern):
    """The object is another one whenever it was looked at, for so many times."""

    changes = 1

    def _open_range(self, key, start, end, if_match=None):
        body = super()._open_range(key, start, end, if_match)
        if self.changes:
            self.changes -= 1
            self.version += 1
        return body


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("changes", [1, 2, 3, 7])
def test_versions_are_never_mixed(changes):
    storage = Changing()
    storage.sizes, storage.changes = {"big.bin": MIB}, changes
    response = ask(storage, If_None_Match='"other"')
    body = content_of(response)
    assert response.status_code == 200
    assert body == body[:1] * MIB
    assert response.headers["ETag"] == f'"v{body[:1].decode()}"'
    assert len(storage.calls) <= 5
    assert storage.bodies == 0


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("value", ["bytes=500000-500009", "bytes=0-9", "bytes=-10", "bytes=0-9,500000-"])
def test_range_of_a_changed_object_is_the_new_whole(value):
    storage = Pattern()
    storage.sizes = {"big.bin": MIB}
    first = ask(storage, Range="bytes=0-99")
    etag, _ = first.headers["ETag"], content_of(first)
    storage.version = 2
    second = ask(storage, Range=value, If_Range=etag)
    assert (second.status_code, content_of(second)) == (200, b"2" * MIB)


@pytest.mark.threat("T-14")
def test_change_between_two_parts_breaks_the_answer(pattern):
    response = ask(pattern, Range="bytes=0-9,1000000-1000009")
    pattern.version = 2
    with contextlib.closing(response), pytest.raises(ObjectChanged):
        b"".join(response)
    assert pattern.bodies == 0


@pytest.mark.threat("T-14")
def test_file_written_in_this_second_has_no_strong_validator(tmp_path):
    storage = FileSystemStorage(tmp_path)
    storage.save("a.bin", ContentFile(b"one"))
    young = ask(storage, "a.bin")
    content_of(young)
    etag, date = young.headers["ETag"], young.headers["Last-Modified"]
    assert etag.startswith("W/")
    for validator in (etag, etag.removeprefix("W/"), date):
        response = ask(storage, "a.bin", Range="bytes=0-1", If_Range=validator)
        assert (response.status_code, content_of(response)) == (200, b"one")
    os.utime(tmp_path / "a.bin", (1_600_000_000, 1_600_000_000))
    assert not ask(storage, "a.bin", method="HEAD").headers["ETag"].startswith("W/")


@pytest.mark.threat("T-14")
def test_file_replaced_within_its_time_has_another_etag(tmp_path):
    storage = FileSystemStorage(tmp_path)
    etags = []
    for name, content in [("a.bin", b"one"), ("b.bin", b"two")]:
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (1_600_000_000, 1_600_000_000))
    etags.append(ask(storage, "a.bin", method="HEAD").headers["ETag"])
    (tmp_path / "b.bin").replace(tmp_path / "a.bin")
    etags.append(ask(storage, "a.bin", method="HEAD").headers["ETag"])
    assert etags[0] != etags[1]


@pytest.mark.parametrize("moment", [OLD, None])
def test_timed_etags_of_a_storage_are_weak_while_young(moment):
    class Timed(Pattern):
        capabilities = Capabilities(ranges=True, timed_etags=True)

        def told(self, key):
            return Stat(100, moment or datetime.datetime.now(datetime.timezone.utc), etag="t")

    storage = Timed()
    assert ask(storage, method="HEAD").headers["ETag"] == ('"t"' if moment else 'W/"t"')


@pytest.mark.threat("T-17")
def test_etag_does_not_tell_the_address_of_what_is_named_after_its_content():
    class Addressed(Pattern):
        capabilities = Capabilities(ranges=True, content_addressed=True)

    storage = Addressed()
    storage.sizes = {"big.bin": 100}
    etag = ask(storage, method="HEAD").headers["ETag"]
    assert "v1" not in etag
    assert ask(storage, If_None_Match=etag).status_code == 304


# Errors


@pytest.mark.parametrize("name", ["missing.bin", "directory", "a.bin/below", "x" * 300, "pipe"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_no_file_is_not_found(tmp_path, name, method):
    (tmp_path / "directory").mkdir()
    (tmp_path / "a.bin").write_bytes(b"a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        ask(FileSystemStorage(tmp_path), name, method)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-9"}, {"Range": "bytes=-5"}, {"If_Match": "*"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_missing_object_is_not_found(pattern, headers, method):
    with pytest.raises(FileNotFoundError):
        ask(pattern, "missing.bin", method, **headers)


@pytest.mark.parametrize("error", [None, ConnectionResetError("gone")])
@pytest.mark.parametrize("value", ["", "bytes=5-", "bytes=5-5000000,8000000-"])
def test_storage_that_breaks_off_never_gives_an_answer_that_looks_whole(pattern, error, value):
    pattern.broken_after, pattern.error = 3 * MIB, error
    response = ask(pattern, **({"Range": value} if value else {}))
    with contextlib.closing(response), pytest.raises(ConnectionError):
        b"".join(response)
    assert pattern.bodies == 0


class Verifying(MemoryStorage):
    """Objects whose bodies compare a digest at their end, and find another one."""

    def _open_range(self, *args):
        body = super()._open_range(*args)
        read = body.read

        def verified(size=-1):
            data = read(size)
            if not data:
                raise ConnectionError("not what was stored")
            return data

        body.read = verified
        return body


def test_damaged_object_never_looks_whole():
    storage = Verifying()
    storage.save("a.bin", ContentFile(bytes(300 * KIB)))
    response = ask(storage, "a.bin")
    sent = []
    with contextlib.closing(response), pytest.raises(ConnectionError, match="not what was stored"):
        sent.extend(response)
    assert sum(map(len, sent)) < 300 * KIB


# Foreign storages


class Foreign(Storage):
    """The least that Django's API asks for: no times, and files that cannot seek and give less than they are asked."""

    def __init__(self, content):
        self.content, self.files = content, []

    def size(self, name):
        return len(self.content)

    def _open(self, name, mode="rb"):
        self.files.append(File(Pipe(self.content, 1000), name))
        return self.files[-1]


@pytest.mark.parametrize(
    ("value", "sizes"),
    [("bytes=300000-300009", [10]), ("bytes=-5", [5]), ("bytes=300000-300009,10-19", [10, 10])],
)
def test_file_that_cannot_seek_is_read_up_to_the_range(value, sizes):
    content = os.urandom(400_000)
    storage = Foreign(content)
    response = ask(storage, Range=value)
    body = content_of(response)
    assert response.status_code == 206
    assert "ETag" not in response.headers
    assert "Last-Modified" not in response.headers
    assert (content[300_000:300_010] in body) == ("300000" in value)
    assert (content[10:20] in body) == (len(sizes) > 1)
    assert all(file.closed for file in storage.files)


class Scrambled(FileSystemStorage):
    """A storage of somebody's own over the disk, whose files are not what lies there."""

    def _open(self, name, mode="rb"):
        with super()._open(name, mode) as file:
            return ContentFile(file.read()[::-1])

    def size(self, name):
        return 6


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_storage_over_the_disk_may_open_in_its_own_way(tmp_path, method):
    storage = Scrambled(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"abcdef")
    response = ask(storage, "a.bin", method)
    assert response.headers["Content-Length"] == "6"
    assert getattr(response, "file_to_stream", None) is None
    assert content_of(response) == (b"fedcba" if method == "GET" else b"")


@pytest.mark.parametrize("zones", [True, False])
@pytest.mark.parametrize("cls", [FileSystemStorage, Scrambled])
def test_time_of_a_file_is_told_in_utc(tmp_path, cls, zones):
    (tmp_path / "a.bin").write_bytes(b"abcdef")
    os.utime(tmp_path / "a.bin", (784_111_777, 784_111_777))
    with override_settings(USE_TZ=zones, TIME_ZONE="Asia/Tokyo"):
        response = ask(cls(tmp_path), "a.bin")
    response.close()
    assert response.headers["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_lazy_storage_is_served_as_what_it_is(tmp_path):
    storage = SimpleLazyObject(lambda: FileSystemStorage(tmp_path))
    storage.save("a.bin", ContentFile(b"abc"))
    assert ask(storage, "a.bin", "HEAD").headers["Content-Length"] == "3"
    response = ask(storage, "a.bin")
    assert response.file_to_stream is not None
    assert content_of(response) == b"abc"


# Stored compressed


class Packed(Pattern):
    def __init__(self, content):
        super().__init__()
        self.content = content

    def told(self, key):
        return Stat(len(self.content), OLD, etag="packed", content_encoding="gzip")

    def _open_range(self, key, start, end, if_match=None):
        body = io.BytesIO(self.content[start:end])
        body.stat = self.told(key)
        self.calls.append((start, end, if_match))
        self.given = [*getattr(self, "given", []), body]
        return body


TEXT = b"text of a page " * 50_000
PACKED = gzip.compress(TEXT)
SPARSE = gzip.compress(os.urandom(300_000))


def test_who_takes_gzip_gets_it_as_stored():
    storage = Packed(PACKED)
    response = ask(storage, "a.css", Accept_Encoding="br, gzip")
    assert (response.headers["Content-Encoding"], response.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert (response.headers["ETag"], response.headers["Accept-Ranges"]) == ('"packed"', "bytes")
    assert content_of(response) == PACKED
    assert len(storage.calls) == 1


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=-9"}, {"If_None_Match": '"x"'}])
@pytest.mark.parametrize("packed", [PACKED, SPARSE])
def test_who_does_not_gets_it_unpacked_and_whole(headers, packed):
    storage = Packed(packed)
    response = ask(storage, "a.css", **headers)
    assert (response.status_code, response.headers["Vary"]) == (200, "Accept-Encoding")
    assert (response.headers["ETag"], response.headers["Accept-Ranges"]) == ('W/"packed"', "none")
    assert not {"Content-Encoding", "Content-Length", "Content-Range"} & set(response.headers)
    assert content_of(response) == gzip.decompress(packed)
    assert len(storage.calls) <= 2
    assert all(body.closed for body in storage.given)


def test_cut_packed_object_never_looks_whole():
    response = ask(Packed(SPARSE[:-100]), "a.css")
    with contextlib.closing(response), pytest.raises(EOFError):
        b"".join(response)


def test_range_of_a_packed_object_is_of_what_is_stored():
    response = ask(Packed(PACKED), "a.css", Range="bytes=0-9", Accept_Encoding="gzip")
    assert (response.status_code, response.headers["Content-Encoding"]) == (206, "gzip")
    assert content_of(response) == PACKED[:10]


@pytest.mark.parametrize("accepted", ["gzip", ""])
def test_archive_arrives_as_an_archive(accepted):
    response = ask(Packed(PACKED), "x.tar.gz", Accept_Encoding=accepted)
    assert "Content-Encoding" not in response.headers
    assert content_of(response) == PACKED


# Middleware

served: Any = SimpleNamespace(storage=None)


def serve(request, path):
    return responses.stream(PrivateFile(request, served.storage, path))


urlpatterns = [re_path("^(?P<path>.*)$", serve)]

GZIP, CONDITIONAL = "django.middleware.gzip.GZipMiddleware", "django.middleware.http.ConditionalGetMiddleware"


@pytest.fixture
def site(pattern, monkeypatch):
    """Serve what is given as ``storage``, under the middleware given."""
    monkeypatch.setattr(served, "storage", pattern)
    pattern.sizes["page.txt"] = 500_000
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[]):
        yield SimpleNamespace(storage=pattern, middleware=lambda *names: override_settings(MIDDLEWARE=list(names)))


@pytest.mark.parametrize("middleware", [(GZIP,), (CONDITIONAL,), (GZIP, CONDITIONAL), (CONDITIONAL, GZIP)])
@pytest.mark.parametrize(
    ("value", "size"), [("bytes=0-9999", 10_000), ("bytes=100000-", 400_000), ("bytes=0-999,9000-9999", None)]
)
def test_middleware_leaves_ranges_as_they_are(site, middleware, value, size):
    with site.middleware(*middleware):
        response = Client().get("/page.txt", headers={"Accept-Encoding": "gzip", "Range": value})
        body = content_of(response)
    assert (response.status_code, "Content-Encoding" in response.headers) == (206, False)
    assert response.headers["ETag"] == '"v1"'
    assert int(response.headers["Content-Length"]) == len(body)
    assert body == b"1" * size if size else body.count(b"1" * 1000) == 2


def test_middleware_may_compress_the_whole(site):
    with site.middleware(GZIP):
        response = Client().get("/page.txt", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(content_of(response)) == b"1" * 500_000
    assert response.headers["ETag"] == 'W/"v1"'
    assert site.storage.bodies == 0


@pytest.mark.parametrize("middleware", [(CONDITIONAL,), (GZIP, CONDITIONAL)])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"v1"'}, 304),
        ({"If-None-Match": 'W/"v1"'}, 304),
        ({"If-None-Match": '"v0"'}, 200),
        ({"If-Match": '"v0"'}, 412),
        ({"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}, 304),
        ({"If-None-Match": '"v0"', "Range": "bytes=0-9"}, 206),
        ({"Range": "bytes=999999-"}, 416),
        ({"If-Range": '"v0"', "Range": "bytes=0-9"}, 200),
    ],
)
def test_djangos_own_conditions_agree(site, middleware, headers, status):
    with site.middleware(*middleware):
        response = Client().get("/page.txt", headers=headers)
    assert response.status_code == status
    assert response.headers["ETag"] == '"v1"'
    response.close()
    assert site.storage.bodies == 0


class Watched(FileSystemStorage):
    """A directory with one file, and what was opened of it."""

    def __init__(self, location):
        super().__init__(location)
        self.opened = []
        self.save("a.bin", ContentFile(b"a"))
        self.opened.clear()

    def _open(self, name, mode="rb"):
        self.opened.append(super()._open(name, mode))
        return self.opened[-1]


# WSGI


class Wrapper:
    """What a server offers as wsgi.file_wrapper."""

    def __init__(self, file, block_size):
        self.file, self.block_size = file, block_size
        self.close = file.close

    def __iter__(self):
        return iter(lambda: self.file.read(self.block_size), b"")


def call_wsgi(path, **environ):
    full = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "wsgi.file_wrapper": Wrapper, **environ}
    wsgiref.util.setup_testing_defaults(full)
    started = []
    answer = get_wsgi_application()(full, lambda status, headers: started.append((status, dict(headers))))
    return answer, *started[0]


@pytest.fixture
def on_disk(site, tmp_path, monkeypatch):
    storage = FileSystemStorage(tmp_path)
    content = os.urandom(300_000)
    storage.save("a.bin", ContentFile(content))
    monkeypatch.setattr(served, "storage", storage)
    site.content = content
    return site


def test_server_sends_a_whole_local_file_itself(on_disk):
    answer, status, headers = call_wsgi("/a.bin")
    assert isinstance(answer, Wrapper)
    assert (status, headers["Content-Length"]) == ("200 OK", "300000")
    assert os.fstat(answer.file.fileno()).st_size == 300_000
    assert b"".join(answer) == on_disk.content
    original = answer.file.file
    answer.close()
    assert original.closed


@pytest.mark.parametrize("environ", [{"HTTP_RANGE": "bytes=0-99999"}, {"REQUEST_METHOD": "HEAD"}])
def test_server_is_given_no_file_for_less_than_all_of_it(on_disk, environ):
    answer, _, _ = call_wsgi("/a.bin", **environ)
    assert not isinstance(answer, Wrapper)
    with contextlib.closing(answer):
        assert b"".join(answer) == (on_disk.content[:100_000] if environ.get("HTTP_RANGE") else b"")


def test_server_is_given_no_file_that_middleware_compresses(on_disk):
    with on_disk.middleware(GZIP):
        answer, _, headers = call_wsgi("/a.bin", HTTP_ACCEPT_ENCODING="gzip")
        assert not isinstance(answer, Wrapper)
        with contextlib.closing(answer):
            assert (headers["Content-Encoding"], gzip.decompress(b"".join(answer))) == ("gzip", on_disk.content)


@pytest.mark.threat("T-12")
@pytest.mark.parametrize("taken", [0, 1, 8])
@pytest.mark.parametrize("value", ["", "bytes=5-", "bytes=0-,0-5", "bytes=-100000000"])
def test_storage_is_let_go_when_the_client_is(pattern, taken, value):
    response = ask(pattern, **({"Range": value} if value else {}))
    chunks = iter(response)
    for _ in range(taken):
        next(chunks)
    read = pattern.read
    response.close()
    assert (pattern.bodies, pattern.read) == (0, read)
    assert next(chunks, None) is None


@pytest.mark.threat("T-12")
@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
def test_answer_that_nobody_takes_lets_the_storage_go(pattern, factory):
    response = ask(pattern, factory=factory)
    assert pattern.bodies == 1
    del response
    assert pattern.bodies == 0


@pytest.mark.threat("T-12")
@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
def test_answer_that_nobody_takes_closes_its_file(tmp_path, factory):
    storage = Watched(tmp_path)
    ask(storage, "a.bin", factory=factory)
    assert [file.closed for file in storage.opened] == [True]


@pytest.mark.parametrize("headers", [{"If_None_Match": "*"}, {"If_Match": '"other"'}, {"Range": "bytes=5-"}])
def test_answer_without_the_file_closes_it(tmp_path, headers):
    storage = Watched(tmp_path)
    response = ask(storage, "a.bin", **headers)
    assert response.status_code in (304, 412, 416)
    assert [file.closed for file in storage.opened] == [True]


def test_error_on_the_way_closes_the_file(tmp_path):
    class Untyped(PrivateFile):
        @property
        def response_type(self):
            raise RuntimeError("no type")

    storage = Watched(tmp_path)
    with pytest.raises(RuntimeError, match="no type"):
        responses.stream(Untyped(RequestFactory().get("/"), storage, "a.bin"))
    assert [file.closed for file in storage.opened] == [True]


def test_answer_that_is_read_whole_lets_the_storage_go_by_itself(pattern):
    pattern.sizes["big.bin"] = 3 * CHUNK
    response = ask(pattern)
    assert len(b"".join(response)) == 3 * CHUNK
    assert pattern.bodies == 0
    response.close()
    assert pattern.bodies == 0


@pytest.mark.threat("T-12")
def test_close_in_another_thread_waits_for_nobody(pattern):
    pattern.may_read.clear()
    response = ask(pattern)
    reader = threading.Thread(target=next, args=(iter(response),))
    reader.start()
    assert pattern.reading.wait(30)
    response.close()
    assert pattern.bodies == 1  # is being read
    pattern.may_read.set()
    reader.join()
    assert (pattern.bodies, pattern.read) == (0, CHUNK)


# ASGI


async def begin(path, **headers):
    """Return a client of the application that has asked for ``path``."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    client = ApplicationCommunicator(get_asgi_application(), scope)
    await client.send_input({"type": "http.request", "body": b"", "more_body": False})
    return client


def test_asgi_streams_without_a_warning(site):
    async def run():
        client = await begin("/page.txt")
        start = await client.receive_output()
        body = b""
        while (message := await client.receive_output()) and message.get("more_body"):
            body += message["body"]
        await client.wait()
        return start["status"], body

    assert asyncio.run(run()) == (200, b"1" * 500_000)
    assert site.storage.bodies == 0


def test_asgi_sends_the_first_byte_before_the_second_chunk_is_fetched(site):
    async def run():
        response = ask(site.storage, factory=AsyncRequestFactory)
        chunks = aiter(response.streaming_content)
        await anext(chunks)
        read = site.storage.read
        await chunks.aclose()
        response.close()
        return read

    assert asyncio.run(run()) == CHUNK
    assert site.storage.bodies == 0


class SlowClient:
    """An ASGI server whose client takes some chunks, then leaves."""

    def __init__(self, storage, chunks):
        self.storage, self.left = storage, chunks
        self.gone = asyncio.Event()
        self.asked = False
        self.read_at_end = 0

    async def receive(self):
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if self.gone.is_set():
            return  # as uvicorn does
        if message["type"] == "http.response.body":
            self.left -= 1
        if self.left < 0:
            self.read_at_end = self.storage.read
            self.gone.set()


@pytest.mark.threat("T-12")
@pytest.mark.skipif(django.VERSION < (5,), reason="Django's ASGI handler hears of a disconnect since 5.0")
@pytest.mark.parametrize("chunks", [0, 1, 8])
def test_asgi_lets_the_storage_go_when_the_client_leaves(site, chunks):
    async def run():
        client = SlowClient(site.storage, chunks)
        scope = {"type": "http", "method": "GET", "path": "/big.bin", "query_string": b"", "headers": []}
        await asyncio.wait_for(get_asgi_application()(scope, client.receive, client.send), 30)
        return client.read_at_end

    before = asyncio.run(run())
    assert site.storage.read - before <= 2 * CHUNK
    assert site.storage.bodies == 0


@pytest.mark.threat("T-12")
def test_cancellation_lets_the_storage_go(pattern):
    async def run():
        response = ask(pattern, factory=AsyncRequestFactory)
        pattern.may_read.clear()
        reading = asyncio.create_task(anext(aiter(response.streaming_content)))
        assert await asyncio.to_thread(pattern.reading.wait, 30)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        pattern.may_read.set()
        for _ in range(500):
            if not pattern.bodies:
                break
            await asyncio.sleep(0.02)
        assert pattern.bodies == 0  # though nobody has closed the answer
        assert pattern.read <= CHUNK
        response.close()

    asyncio.run(run())


def test_asgi_waits_for_the_storage_in_a_thread(pattern):
    async def run():
        response = ask(pattern, factory=AsyncRequestFactory)
        pattern.may_read.clear()
        reading = asyncio.create_task(anext(aiter(response.streaming_content)))
        assert await asyncio.to_thread(pattern.reading.wait, 30)
        pattern.may_read.set()
        chunk = await reading
        response.close()
        return len(chunk)

    assert asyncio.run(run()) == CHUNK


@pytest.mark.parametrize("headers", [{"If-None-Match": '"v1"'}, {"If-Match": '"v0"'}, {"Range": f"bytes={GIB}-"}])
@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
def test_answer_without_the_file_opens_nothing_that_stays_open(pattern, headers, factory):
    response = ask(pattern, factory=factory, **headers)
    assert not response.streaming
    assert pattern.bodies == 0
