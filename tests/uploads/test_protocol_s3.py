"""The protocol from begin to the form, against a server that refuses by itself."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from storages.contract import SignedRequest
from storages.uploads import claims
from storages.uploads.models import State
from tests.buckets import WiredBucket
from tests.uploads.browsing import Answer, sending
from tests.uploads.conftest import code_of, row_of, sha256
from tests.uploads.models import Clip

MIB = 1024**2
BODY = b"what was agreed on"
LONG = bytes(range(1, 256)) * (6 * MIB // 255)
FILE = Clip._meta.get_field("file")
PROMISES = {
    "put": {"key": "signed", "size": "exact", "type": "signed", "overwrite": "denied"},
    "post": {"key": "signed", "size": "exact", "type": "signed", "overwrite": "promote"},
    "multipart": {"key": "signed", "size": "exact", "type": "signed", "overwrite": "denied"},
}


@pytest.fixture(scope="module")
def shared_bucket(seaweedfs):
    with WiredBucket(seaweedfs) as bucket:
        yield bucket


@pytest.fixture
def bucket(shared_bucket, monkeypatch, settings):
    storage = shared_bucket.storage(location="site", create_only=True, unsigned_headers="refused")
    monkeypatch.setattr(FILE, "storage", storage)
    monkeypatch.setattr(FILE, "max_size", 10 * MIB)
    settings.UPLOADS_PART_SIZE = 5 * MIB
    settings.UPLOADS_PARTS_ABOVE = 5 * MIB
    yield shared_bucket
    shared_bucket.empty()


def requests_of(browser, begun):
    """Return the requests that send an upload, each with the place of its bytes."""
    if "request" in begun:
        return [(SignedRequest(**begun["request"]), slice(None))]
    size, count = begun["parts"]["size"], begun["parts"]["count"]
    numbers = list(range(1, count + 1))
    parts = browser.ok("parts", {"upload": begun["upload"], "numbers": numbers})["parts"]
    return [
        (
            SignedRequest(part["method"], part["url"], part["headers"]),
            slice((part["number"] - 1) * size, part["number"] * size),
        )
        for part in parts
    ]


def send(browser, begun, body) -> list[Answer]:
    return [sending(request, body[place]).send() for request, place in requests_of(browser, begun)]


def body_of(kind):
    return LONG if kind == "multipart" else BODY


@pytest.mark.parametrize("kind", list(PROMISES))
def test_file_goes_from_the_browser_to_the_bucket_and_its_token_to_the_form(browser, bucket, anna, kind):
    body = body_of(kind)
    begun = browser.begun(body, accepts=[kind], content_type="application/octet-stream", filename="a.bin")
    assert {name: begun["enforced"][name] for name in PROMISES[kind]} == PROMISES[kind]
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    assert {answer.status for answer in send(browser, begun, body)} <= {200, 201, 204}
    done = browser.ok("finish", {"upload": begun["upload"]})
    assert browser.ok("finish", {"upload": begun["upload"]}) == done
    request = RequestFactory().get("/")
    request.user = anna
    upload = claims.look(done["token"], FILE, request)
    claims.take(upload)
    assert bucket.get(f"site/{upload.name}") == body
    assert list(bucket.objects()) == [f"site/{upload.name}"]
    assert bucket.uploads() == []


@pytest.mark.threat("T-24")
@pytest.mark.parametrize("kind", list(PROMISES))
def test_grant_is_of_no_use_after_finish(browser, bucket, kind):
    body = body_of(kind)
    begun = browser.begun(body, accepts=[kind], content_type="application/octet-stream", filename="a.bin")
    requests = requests_of(browser, begun)
    for request, place in requests:
        sending(request, body[place]).send()
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    other = bytes(len(body))
    answers = [sending(request, other[place]).send() for request, place in requests]
    assert all(answer.refused for answer in answers) or kind == "post"
    assert bucket.get(f"site/{row.name}") == body


@pytest.mark.threat("T-25")
@pytest.mark.parametrize("kind", list(PROMISES))
@pytest.mark.parametrize("more", [-1, 1])
def test_server_refuses_another_size_than_was_signed(browser, bucket, kind, more):
    body = body_of(kind)
    begun = browser.begun(body, accepts=[kind], content_type="application/octet-stream", filename="a.bin")
    (request, place) = requests_of(browser, begun)[-1]
    piece = body[place]
    assert sending(request, (piece + b"x")[: len(piece) + more]).send().refused
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    browser.ok("abort", {"upload": begun["upload"]})
    assert [*bucket.objects(), *bucket.uploads()] == []


@pytest.mark.threat("T-27")
@pytest.mark.parametrize("kind", ["put", "post"])
def test_page_that_is_named_a_picture_is_deleted(browser, bucket, kind):
    body = b"<!doctype html><script>alert(1)</script>"
    begun = browser.begun(body, accepts=[kind], filename="a.png", content_type="image/png")
    assert not send(browser, begun, body)[0].refused
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "type_mismatch")
    assert not bucket.objects()
    assert row_of(begun).state == State.REJECTED


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("kind", list(PROMISES))
def test_bytes_that_changed_on_their_way_are_found(browser, bucket, kind, monkeypatch):
    monkeypatch.setattr(FILE, "checksum", True)
    body = body_of(kind)
    changed = b"X" + body[1:]
    said = {"accepts": [kind], "content_type": "application/octet-stream", "filename": "a.bin"}
    begun = browser.begun(body, checksum=sha256(body), **said)
    assert begun["enforced"]["checksum"] in ("signed", "finish")
    refused = any(answer.refused for answer in send(browser, begun, changed))
    code = code_of(browser.call("finish", {"upload": begun["upload"]}))
    assert code == ((422, "parts_missing") if refused else (422, "checksum_mismatch"))
    browser.ok("abort", {"upload": begun["upload"]})
    assert not bucket.objects()
    assert browser.ok("status", {"upload": begun["upload"]})["state"] in ("aborted", "rejected")


def test_upload_goes_on_after_a_reload_with_what_is_missing(browser, bucket):
    begun = browser.begun(LONG, accepts=["multipart"], content_type="application/octet-stream", filename="a.bin")
    (first, place), *_ = requests_of(browser, begun)
    sending(first, LONG[place]).send()
    status = browser.ok("status", {"upload": begun["upload"]})
    assert status["received"] == [{"number": 1, "size": 5 * MIB}]
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    (_, (second, place)) = requests_of(browser, {**begun, "parts": status["parts"]})
    sending(second, LONG[place]).send()
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert bucket.get(f"site/{row.name}") == LONG


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("kind", list(PROMISES))
def test_upload_that_was_given_up_leaves_no_object_and_no_part(browser, bucket, kind):
    body = body_of(kind)
    begun = browser.begun(body, accepts=[kind], content_type="application/octet-stream", filename="a.bin")
    send(browser, begun, body)
    browser.ok("abort", {"upload": begun["upload"]})
    assert [*bucket.objects(), *bucket.uploads()] == []


@pytest.mark.threat("T-33")
@pytest.mark.parametrize("kind", list(PROMISES))
def test_answers_hold_no_credential(browser, bucket, kind):
    begun = browser.begun(body_of(kind), accepts=[kind], content_type="application/octet-stream", filename="a.bin")
    said = str([begun, *requests_of(browser, begun), browser.ok("status", {"upload": begun["upload"]})])
    assert FILE.storage.secret_key not in said
