"""Checksums of parts: asked for by the client, signed with each part, remembered, and told at the end."""

from __future__ import annotations

import datetime
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.utils import timezone

from storages.uploads import kinds as choosing
from storages.uploads.models import PartChecksum, State, Upload
from storages.uploads.sweep import sweep
from tests.uploads import browsing
from tests.uploads.conftest import ALL, Browser, code_of, row_of, sha256
from tests.uploads.kinds import KINDS, Refused, with_kinds
from tests.uploads.models import Clip

pytestmark = pytest.mark.threat("T-35")

BODY = b"the bytes of a clip"  # five parts
FILE = Clip._meta.get_field("file")


@pytest.fixture(autouse=True)
def small_parts(settings):
    settings.UPLOADS_PART_SIZE = 4


@pytest.fixture
def comparing(cloud):
    """A cloud that compares checksums of parts."""
    with with_kinds(cloud, "multipart", checksum="parts"):
        yield cloud


def sums(body=BODY, numbers=(1, 2, 3, 4, 5)):
    return {str(number): browsing.sha256(body[4 * number - 4 : 4 * number]) for number in numbers}


def signed(browser, begun, body=BODY, numbers=(1, 2, 3, 4, 5)):
    said = {"upload": begun["upload"], "numbers": list(numbers), "checksums": sums(body, numbers)}
    return browser.ok("parts", said)["parts"]


def send(cloud, parts, body=BODY):
    for part in parts:
        cloud.send(part, body[4 * part["number"] - 4 : 4 * part["number"]])


def test_client_that_gives_checksums_is_told_that_they_are_compared(browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    assert begun["parts"] == {"size": 4, "count": 5, "concurrency": 4, "batch": 16, "checksums": True}
    assert begun["enforced"]["checksum"] == "signed"
    send(comparing, signed(browser, begun))
    assert browser.ok("status", {"upload": begun["upload"]})["parts"] == begun["parts"]
    browser.ok("finish", {"upload": begun["upload"]})
    assert comparing.client[row_of(begun).name][0] == BODY
    assert not PartChecksum.objects.exists()


@pytest.mark.parametrize("said", [{}, {"part_checksums": False}])
def test_client_that_gives_none_sends_as_ever(browser, comparing, said):
    begun = browser.begun(BODY, accepts=["multipart"], **said)
    assert begun["parts"] == {"size": 4, "count": 5, "concurrency": 4, "batch": 16}
    assert begun["enforced"]["checksum"] == "none"
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "tus"])
def test_kind_that_compares_none_asks_for_none(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind], part_checksums=True)
    assert "checksums" not in begun.get("parts", {})
    assert begun["enforced"]["checksum"] == "none"
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})


def test_part_that_no_browser_can_hold_has_no_checksum(browser, comparing, monkeypatch):
    monkeypatch.setattr(choosing, "LARGEST_SUMMED", 3)
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    assert "checksums" not in begun["parts"]
    assert begun["enforced"]["checksum"] == "none"


@pytest.mark.parametrize("wrong", ["yes", 1, None, {}])
def test_what_is_neither_true_nor_false_is_refused(browser, comparing, wrong):
    told = {"slot": browser.slot(), "filename": "a.txt", "size": 9, "accepts": ["multipart"], "part_checksums": wrong}
    response = browser.call("begin", told)
    assert (code_of(response), response.json()["error"]["field"]) == ((400, "bad_request"), "part_checksums")


@pytest.mark.parametrize("given", [{}, sums(numbers=[1]), None], ids=["none", "one", "no key"])
def test_part_without_a_checksum_is_not_signed(browser, comparing, given):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    said = {"upload": begun["upload"], "numbers": [1, 2], **({} if given is None else {"checksums": given})}
    response = browser.call("parts", said)
    assert (code_of(response), response.json()["error"]["field"]) == ((400, "bad_request"), "checksums")
    assert "presign_part" not in comparing.calls
    assert not PartChecksum.objects.exists()


def test_part_has_the_checksum_that_it_was_first_signed_with(browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    signed(browser, begun, numbers=[1, 2])
    send(comparing, signed(browser, begun))
    said = {"upload": begun["upload"], "numbers": [3, 2], "checksums": sums(BODY.upper(), [2, 3])}
    response = browser.call("parts", said)
    assert (code_of(response), response.json()["error"]["field"]) == ((422, "checksum_mismatch"), "checksums")
    browser.ok("finish", {"upload": begun["upload"]})
    assert comparing.client[row_of(begun).name][0] == BODY


def test_of_two_checksums_at_once_one_is_signed(file_database, browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    tabs = [(Browser(row_of(begun).user), body) for body in (BODY, BODY.upper()) * 2]
    start = threading.Barrier(len(tabs))

    def ask(tab, body):
        from django.db import connections

        try:
            start.wait()
            said = {"upload": begun["upload"], "numbers": [3, 1, 2, 4, 5], "checksums": sums(body)}
            return body, tab.call("parts", said)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tabs)) as pool:
        answers = list(pool.map(lambda one: ask(*one), tabs))
    assert {(body, answer.status_code) for body, answer in answers} in (
        {(BODY, 200), (BODY.upper(), 422)},
        {(BODY, 422), (BODY.upper(), 200)},
    )
    body, answer = next((body, answer) for body, answer in answers if answer.status_code == 200)
    send(comparing, answer.json()["parts"], body)
    browser.ok("finish", {"upload": begun["upload"]})
    assert comparing.client[row_of(begun).name][0] == body


def test_changed_byte_and_swapped_parts_are_refused_by_the_service(browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    first, second, *rest = signed(browser, begun)
    for part, piece in [(first, b"The "), (first, BODY[4:8]), (second, BODY[:4])]:
        with pytest.raises(Refused):
            comparing.send(part, piece)
    send(comparing, rest)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    send(comparing, [second, first])
    browser.ok("finish", {"upload": begun["upload"]})
    assert comparing.client[row_of(begun).name][0] == BODY


def test_part_that_the_service_has_otherwise_is_sent_again(browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    send(comparing, signed(browser, begun))
    (upload,) = comparing.opened.values()
    upload["parts"][2] = b"????"  # it forgot to compare
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    status = browser.ok("status", {"upload": begun["upload"]})
    assert [part["number"] for part in status["received"]] == [1, 3, 4, 5]
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    send(comparing, signed(browser, begun, numbers=[2]))
    browser.ok("finish", {"upload": begun["upload"]})
    assert comparing.client[row_of(begun).name][0] == BODY


def test_checksum_of_the_whole_is_compared_too(browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True, checksum=sha256(b"another file"))
    send(comparing, signed(browser, begun))
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "checksum_mismatch")
    assert not comparing.client


@pytest.mark.parametrize(
    ("kind", "promise", "said", "answer"),
    [
        ("multipart", "parts", {"part_checksums": True}, 201),
        ("multipart", "parts", {}, 501),
        ("multipart", "parts", {"checksum": sha256(BODY)}, 501),
        ("multipart", "none", {"part_checksums": True}, 501),
        ("put", "signed", {"checksum": sha256(BODY)}, 201),
        ("put", "signed", {"part_checksums": True}, 400),
        ("put", "none", {"checksum": sha256(BODY)}, 501),
    ],
)
def test_field_that_wants_checksums_compared_takes_only_what_is(
    browser, cloud, monkeypatch, kind, promise, said, answer
):
    monkeypatch.setattr(FILE, "enforce", frozenset({"checksum"}))
    with with_kinds(cloud, kind, checksum=promise):
        response = browser.begin(BODY, accepts=[kind], **said)
    assert response.status_code == answer, response.content
    if answer == 400:
        assert response.json()["error"]["field"] == "checksum"
    assert Upload.objects.count() == (answer == 201)


def test_checksums_go_with_their_upload(browser, comparing):
    begun = browser.begun(BODY, accepts=["multipart"], part_checksums=True)
    signed(browser, begun)
    assert PartChecksum.objects.count() == 5
    row_of(begun).move(State.EXPIRED, since=(State.BEGUN,), expires=timezone.now() - datetime.timedelta(days=1))
    report = sweep()
    assert (report.rows, report.parts, report.problems) == (1, 1, [])
    assert not PartChecksum.objects.exists()


def test_upload_without_them_asks_the_database_nothing_more(browser, cloud, django_assert_max_num_queries):
    assert KINDS["multipart"].checksum == "none"
    begun = browser.begun(BODY, accepts=["multipart"])
    with django_assert_max_num_queries(3) as seen:  # session, user, upload
        browser.ok("parts", {"upload": begun["upload"], "numbers": [1]})
    assert "partchecksum" not in str(seen.captured_queries).lower()
