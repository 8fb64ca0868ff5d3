"""The protocol from begin to the form, against a server that refuses by itself."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from storages.backends.s3 import S3Storage
from storages.contract import SignedRequest
from storages.uploads import claims
from storages.uploads.models import PartChecksum, State
from tests.buckets import WiredBucket
from tests.uploads import browsing
from tests.uploads.browsing import Answer, Sending, sending
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


# Checksums of parts

TWO = bytes(5 * MIB) + b"\1" * (5 * MIB)
SUMMED = "x-amz-checksum-sha256"


@pytest.fixture
def comparing(bucket, monkeypatch):
    """The bucket of a server that is said to compare checksums."""
    options = {"create_only": True, "unsigned_headers": "refused", "checksums": "when_supported"}
    monkeypatch.setattr(FILE, "storage", bucket.storage(location="site", **options))
    return bucket


def begun_with_checksums(browser, body=TWO, **said):
    told = {"accepts": ["multipart"], "content_type": "application/octet-stream", "filename": "a.bin", **said}
    return browser.begun(body, part_checksums=True, **told)


def summed(browser, begun, body=TWO, numbers=(1, 2)) -> list[Sending]:
    """Return the requests that send some parts, each with its checksum."""
    pieces = {number: body[(number - 1) * 5 * MIB : number * 5 * MIB] for number in numbers}
    sums = {str(number): browsing.sha256(piece) for number, piece in pieces.items()}
    said = {"upload": begun["upload"], "numbers": list(numbers), "checksums": sums}
    parts = browser.ok("parts", said)["parts"]
    return [
        sending(SignedRequest(part["method"], part["url"], part["headers"]), pieces[part["number"]]) for part in parts
    ]


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("body", [TWO, LONG], ids=["even", "odd"])
def test_every_part_is_signed_with_its_checksum_and_the_file_ends_whole(browser, comparing, body):
    begun = begun_with_checksums(browser, body)
    assert (begun["parts"]["checksums"], begun["enforced"]["checksum"]) == (True, "signed")
    for part in summed(browser, begun, body):
        assert part.headers == {SUMMED: browsing.sha256(part.body)}
        assert SUMMED in part.parameter("X-Amz-SignedHeaders").split(";")
        assert part.send().status == 200
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert comparing.get(f"site/{row.name}") == body
    assert comparing.uploads() == []


def flipped(part: Sending) -> Sending:
    return part.but(body=part.body[:-1] + b"?")


OTHER_BYTES = {
    "a byte flipped": lambda part, other: flipped(part),
    "a byte flipped, and the checksum with it": lambda part, other: flipped(part).but(
        headers={SUMMED: browsing.sha256(flipped(part).body)}
    ),
    "a byte flipped, and no checksum": lambda part, other: flipped(part).but(headers={SUMMED: None}),
    "the other part": lambda part, other: part.but(body=other.body),
    "the other part with its checksum": lambda part, other: part.but(body=other.body, headers=other.headers),
}


@pytest.mark.threat("T-35")
def test_part_that_is_not_what_was_summed_is_refused_and_not_kept(browser, comparing):
    begun = begun_with_checksums(browser)
    first, second = summed(browser, begun)
    refused = {change: made(first, second).send().refused for change, made in OTHER_BYTES.items()}
    assert refused == dict.fromkeys(OTHER_BYTES, True)
    assert second.but(body=first.body).send().refused
    assert browser.ok("status", {"upload": begun["upload"]})["received"] == []
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    assert {first.send().status, second.send().status} == {200}  # and what was granted still holds
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert comparing.get(f"site/{row.name}") == TWO


@pytest.mark.threat("T-35")
def test_upload_with_checksums_goes_on_after_a_reload(browser, comparing):
    begun = begun_with_checksums(browser)
    summed(browser, begun)[1].send()
    status = browser.ok("status", {"upload": begun["upload"]})
    assert (status["parts"], status["received"]) == (begun["parts"], [{"number": 2, "size": 5 * MIB}])
    assert summed(browser, begun, numbers=[1])[0].send().status == 200
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert comparing.get(f"site/{row.name}") == TWO


@pytest.mark.threat("T-35")
def test_part_that_the_server_has_otherwise_than_it_was_signed_is_sent_again(browser, comparing):
    begun = begun_with_checksums(browser)
    for part in summed(browser, begun):
        part.send()
    PartChecksum.objects.filter(number=2).update(checksum=browsing.sha256(b"what was never sent"))
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    assert comparing.objects() == {}
    assert browser.ok("status", {"upload": begun["upload"]})["received"] == []  # the server does not say which
    assert [part.send().status for part in summed(browser, begun)] == [200, 200]
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert comparing.get(f"site/{row.name}") == TWO


@pytest.mark.threat("T-35")
def test_server_that_lists_checksums_is_believed_where_they_are_what_was_signed(browser, comparing, monkeypatch):
    begun = begun_with_checksums(browser)
    listed = dict(enumerate(summed(browser, begun), 1))
    for part in listed.values():
        part.send()
    listed[2] = listed[1]  # as if the one had come in the place of the other
    parts_of = S3Storage._parts_of

    def as_aws(storage, key, state):
        for part in parts_of(storage, key, state):
            yield {**part, "ChecksumSHA256": browsing.sha256(listed[part["PartNumber"]].body)}

    monkeypatch.setattr(S3Storage, "_parts_of", as_aws)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    status = browser.ok("status", {"upload": begun["upload"]})
    assert [part["number"] for part in status["received"]] == [1]
    (listed[2],) = summed(browser, begun, numbers=[2])
    assert listed[2].send().status == 200
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert comparing.get(f"site/{row.name}") == TWO


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


@pytest.mark.parametrize("kind", ["put", "post"])
def test_empty_file_is_taken_where_the_field_takes_it(browser, bucket, kind, monkeypatch):
    monkeypatch.setattr(FILE, "min_size", 0)
    begun = browser.begun(b"", accepts=[kind], checksum=sha256(b""))
    send(browser, begun, b"")
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert bucket.get(f"site/{row.name}") == b""
