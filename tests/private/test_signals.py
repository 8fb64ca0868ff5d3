"""Signals: a download counts once, a denial each time."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect

from storages.private.models import PrivateFile
from storages.private.signals import begins_download, file_denied, file_served
from storages.private.views import PrivateStorageView

# As a reader of PDFs asks: the file, which it breaks off, then its end, then page by page.
READER = [None, "bytes=999000-999999", *(f"bytes={start}-{start + 19999}" for start in range(20000, 780000, 20000))]
# As Safari does: whether there are ranges, then all from the start.
SAFARI = ["bytes=0-1", "bytes=0-999999", "bytes=500000-999999", "bytes=600000-"]
CHROMIUM = ["bytes=0-", "bytes=983040-", "bytes=32768-"]


class Ranges:
    """Answers as a delivery of our own does."""

    @staticmethod
    def serve(private_file):
        wanted = private_file.request.headers.get("Range")
        if not wanted:
            return HttpResponse(b"x")
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        content_range = f"bytes {start}-{end or 999999}/1000000"
        return HttpResponse(b"x", status=206, headers={"Content-Range": content_range})


class Accel:
    @staticmethod
    def serve(private_file):
        return HttpResponse(headers={"X-Accel-Redirect": "/x"})


class Sendfile:
    @staticmethod
    def serve(private_file):
        return HttpResponse(headers={"X-Sendfile": "/x"})


class Redirect:
    @staticmethod
    def serve(private_file):
        return HttpResponseRedirect("https://bucket.example/x")


@pytest.fixture
def counts():
    counts = {"served": 0, "denied": 0}

    def served(sender, private_file, request, **kwargs):
        assert issubclass(sender, PrivateStorageView)
        assert isinstance(private_file, PrivateFile)
        assert private_file.request is request
        counts["served"] += 1

    def denied(sender, private_file, request, **kwargs):
        counts["denied"] += 1

    file_served.connect(served)
    file_denied.connect(denied)
    yield counts
    file_served.disconnect(served)
    file_denied.disconnect(denied)


@pytest.mark.parametrize("server", [Ranges, Accel, Sendfile, Redirect])
@pytest.mark.parametrize("ranges", [READER, SAFARI, CHROMIUM], ids=["reader", "safari", "chromium"])
def test_download_is_counted_once_however_many_ranges_it_takes(request_of, memory, counts, server, ranges):
    view = PrivateStorageView.as_view(storage=memory, server_class=server)
    for wanted in ranges:
        view(request_of(**({"Range": wanted} if wanted else {})), path="a.pdf")
    assert counts["served"] == 1


def test_reader_asks_forty_times():
    assert len(READER) == 40


@pytest.mark.parametrize("server", [Ranges, Accel, Redirect])
def test_head_is_no_download(request_of, memory, counts, server):
    PrivateStorageView.as_view(storage=memory, server_class=server)(request_of(method="HEAD"), path="a")
    assert counts["served"] == 0


@pytest.mark.parametrize(
    ("status", "headers", "wanted", "begins"),
    [
        (200, {}, {}, True),
        (200, {}, {"Range": "bytes=5-9"}, True),  # If-Range did not hold: all of it
        (206, {"Content-Range": "bytes 0-9/10"}, {"Range": "bytes=-10"}, True),
        (206, {"Content-Range": "bytes 1-9/10"}, {"Range": "bytes=-9"}, False),
        (206, {"Content-Range": "bytes 0-1/2"}, {"Range": "bytes=0-1"}, True),
        (206, {"Content-Range": "bytes 0-1/20"}, {"Range": "bytes=0-1"}, False),
        (206, {}, {"Range": "bytes=5-9, 0-2"}, True),
        (206, {}, {"Range": "bytes=10-19, 20-22"}, False),
        (304, {}, {}, False),
        (412, {}, {}, False),
        (416, {"Content-Range": "bytes */10"}, {"Range": "bytes=10-"}, False),
        (404, {}, {}, False),
        (200, {"X-Accel-Redirect": "/x"}, {"Range": "bytes = 0-"}, True),
        (200, {"X-Accel-Redirect": "/x"}, {"Range": "bytes=100-"}, False),
        (200, {"X-Accel-Redirect": "/x"}, {"Range": "bytes=-5"}, False),
        (200, {"X-Accel-Redirect": "/x"}, {"Range": "items=1-2"}, True),
        (200, {"X-Accel-Redirect": "/x"}, {"If-None-Match": '"x"'}, False),
        (200, {"X-Accel-Redirect": "/x"}, {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, False),
        (302, {"Location": "https://x/"}, {}, True),
    ],
)
def test_what_is_the_begin_of_a_download(request_of, status, headers, wanted, begins):
    assert begins_download(request_of(**wanted), HttpResponse(status=status, headers=headers)) is begins


def test_missing_file_is_no_download(request_of, memory, counts):
    PrivateStorageView.as_view(storage=memory)(request_of(), path="nothing")
    assert counts == {"served": 0, "denied": 0}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_denial_is_told(request_of, memory, counts, method):
    with pytest.raises(PermissionDenied):
        PrivateStorageView.as_view(storage=memory)(request_of("user", method), path="a.txt")
    assert (counts["served"], counts["denied"]) == (0, 1)


class Changing(PrivateStorageView):
    def serve_file(self, private_file):
        return super().serve_file(private_file)


def test_view_that_changes_an_answer_counts_once_too(request_of, memory, counts):
    Changing.as_view(storage=memory)(request_of(), path="a.txt").close()
    assert counts["served"] == 1


def test_receiver_that_breaks_keeps_no_file_back(request_of, memory):
    def breaks(**kwargs):
        raise RuntimeError

    file_served.connect(breaks)
    try:
        response = PrivateStorageView.as_view(storage=memory)(request_of(), path="a.txt")
        assert b"".join(response) == b"the file"
    finally:
        file_served.disconnect(breaks)
        response.close()
