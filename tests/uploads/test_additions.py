"""What was not granted is found in what a service tells of an object, whichever service it is."""

from __future__ import annotations

from typing import Any

import pytest

from storages.backends import azure_storage, gcloud, s3_uploads
from storages.contract import ANY, Stat
from storages.uploads import additions
from tests.uploads.conftest import code_of, row_of
from tests.uploads.kinds import KINDS


class Owner:
    """A storage that gives headers to each of its objects."""

    def __init__(self, **own: dict[str, str]):
        self.own = own

    def own_headers(self, name: str) -> dict[str, str]:
        return self.own.get(name, {})


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(
    ("headers", "added"),
    [
        (None, []),
        ({}, []),
        ({"cache-control": "max-age=60", "x-amz-meta-by": "us"}, []),
        ({"cache-control": "max-age=61"}, ["cache-control"]),
        ({"cache-control": "no-cache"}, []),
        ({"cache-control": "private, max-age=0"}, []),
        ({"cache-control": "no-cache, max-age=9"}, ["cache-control"]),
        ({"cache-control": "public"}, ["cache-control"]),
        ({"expires": "0"}, []),
        ({"expires": "Thu, 01 Jan 2026 00:00:00 GMT"}, []),
        ({"expires": "Thu, 01 Jan 2099 00:00:00 GMT"}, ["expires"]),
        ({"content-disposition": "inline"}, ["content-disposition"]),
        ({"content-language": "de"}, []),
        ({"x-amz-meta-at": "12:00"}, []),
        ({"x-amz-meta-at": ""}, []),
        ({"x-amz-meta-by": "him", "x-amz-meta-and": ""}, ["x-amz-meta-and", "x-amz-meta-by"]),
    ],
    ids=str,
)
def test_what_neither_place_of_the_object_is_given_was_added(headers, added):
    owner = Owner(
        a={"cache-control": "max-age=60", "x-amz-meta-by": "us"}, b={"content-language": "de", "x-amz-meta-at": ANY}
    )
    assert additions.of(Stat(3, headers=headers), owner, "a", "b") == added


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"x-amz-storage-class": "STANDARD"}, False),
        ({"x-amz-storage-class": "STANDARD_IA"}, False),  # which a bucket of R2 may give to all of its objects
        ({"x-amz-storage-class": "GLACIER"}, True),
        ({"x-amz-tagging-count": "2"}, False),  # by a scanner of AWS
        ({"x-amz-website-redirect-location": "/evil"}, True),
        ({"x-amz-server-side-encryption": "AES256"}, False),  # by the bucket's own rule
        ({"x-amz-meta-a": "b"}, True),
    ],
    ids=str,
)
def test_s3_tells_what_a_writer_says(told, kept):
    others = {"etag": "x", "content-type": "a/b", "x-amz-request-id": "1", "server": "s", "content-length": "3"}
    assert s3_uploads.said_of({**others, **told}) == (told if kept else {})


def test_own_headers_are_told_as_those_of_an_object_are():
    headers = {"Cache-Control": "max-age=1", "x-amz-meta-Made-By": "us", "x-amz-tagging": "a=b&c=", "Content-Type": "a"}
    said = {"cache-control": "max-age=1", "x-amz-meta-made-by": "us"}
    assert s3_uploads.said_by(headers) == said


def test_azure_tells_a_tier():
    settings = {"cache_control": "x", "content_type": "a/b", "content_disposition": None}
    said = {"cache-control": "x", "x-ms-meta-a": "b", "x-ms-access-tier": "Archive"}
    assert azure_storage._headers(settings, {"A": "b"}, "Archive") == said
    assert azure_storage._headers({}, None, "P10") == {}


def test_google_tells_what_a_put_may_add():
    properties: dict[str, Any] = {"cache_control": "x", "metadata": {"A": "b"}, "storage_class": "NEARLINE"}
    assert gcloud._headers(properties) == {"cache-control": "x", "x-goog-meta-a": "b"}


@pytest.mark.threat("T-24")
@pytest.mark.threat("T-27")
@pytest.mark.parametrize("kind", list(KINDS))
def test_object_with_additions_is_never_copied_and_deleted(browser, cloud, kind):
    begun = browser.begun(b"the file", accepts=[kind])
    browser.send(begun, b"the file")
    add(cloud, row_of(begun), kind)
    response = browser.call("finish", {"upload": begun["upload"]})
    assert code_of(response) == (422, "type_mismatch")
    assert "content-disposition" in response.json()["error"]["detail"]
    assert "copy" not in cloud.calls
    assert (cloud.client, cloud.opened) == ({}, {})


@pytest.mark.threat("T-24")
def test_copy_of_what_was_sent_again_with_additions_is_deleted(browser, cloud, monkeypatch):
    begun = browser.begun(b"the file", accepts=["post"])
    browser.send(begun, b"the file")
    copy = cloud._copy

    def late(source, key):
        copy(source, key)
        body, stat = cloud.client[key]
        cloud.client[key] = (body, added(stat))

    monkeypatch.setattr(cloud, "_copy", late)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "type_mismatch")
    assert cloud.client == {}


def added(stat: Stat) -> Stat:
    return Stat(stat.size, etag=stat.etag, content_type=stat.content_type, headers={"content-disposition": "inline"})


def add(cloud: Any, row: Any, kind: str) -> None:
    """Have the object be told with a header that its sender has added; one in parts once it is made of them."""
    if row.target in cloud.client:
        body, stat = cloud.client[row.target]
        cloud.client[row.target] = (body, added(stat))
        return
    state = row.secret if kind != "resumable" else next(iter(cloud.opened))
    from storages.uploads import kinds

    cloud.close_upload(row.target, kind, state, kinds.terms_of(row, cloud))
    add(cloud, row, kind)
