"""What somebody who means harm, or has bad luck, does between begin and finish."""

from __future__ import annotations

import contextlib
import datetime
import posixpath
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from storages.contract import ObjectChanged
from storages.uploads import naming, protocol
from storages.uploads.models import State, Upload
from tests.uploads import models
from tests.uploads.conftest import ALL, Browser, code_of, row_of, sha256
from tests.uploads.kinds import KINDS, Refused, with_kinds
from tests.uploads.models import Clip

BODY = b"some bytes of a file"
COVER = "tests_uploads.Clip.cover"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 12
PROMOTED = [kind for kind, enforced in KINDS.items() if enforced.overwrite == "promote"]
DENIED = [kind for kind, enforced in KINDS.items() if enforced.overwrite == "denied"]


@pytest.fixture(autouse=True)
def _small_parts(settings):
    settings.UPLOADS_PART_SIZE = 4


# Names

HOSTILE = [
    *("../../../etc/passwd", "/etc/passwd", "..\\..\\x.txt", "${filename}", "a/${filename}", "%2e%2e%2fx", "x" * 2000),
    *(
        "x" * 2000 + ".txt",
        ".htaccess",
        "a.php",
        "a.PHP",
        "a.php.png",
        "a.png.php",
        "a.phtml",
        "a.",
        "a..",
        "a. .txt",
        " ",
    ),
    *(
        "a.txt ",
        "a.t\u0308xt",
        "а.txt",
        "a\u202egnp.exe",
        "a.png\u202e",
        "con.txt",
        "a:b.txt",
        "a.x" + "y" * 50,
        "-rf.txt",
    ),
    *("a;b.txt", "a'b\".txt", "<img onerror>.png", "a?b#c.txt", "{}.txt", "~.txt", "a.js/../b.html", "a\u2028b.txt"),
]


@pytest.mark.threat("T-23")
@pytest.mark.parametrize("filename", HOSTILE)
@pytest.mark.parametrize("kind", ["put", "post"])
def test_name_of_a_client_is_never_part_of_where_it_writes(browser, cloud, filename, kind):
    response = browser.begin(BODY, accepts=[kind], filename=filename, content_type="application/octet-stream")
    if response.status_code != 201:
        assert code_of(response) == (400, "bad_filename")
        return
    row = row_of(response.json())
    assert naming.re.fullmatch(r"clips/[A-Za-z0-9_-]{32}(\.[a-z0-9]{1,10})?", row.name)
    assert not row.staging or naming.re.fullmatch(r"uploads-staging/[A-Za-z0-9_-]{32}", row.staging)
    assert not row.name.endswith((".php", ".phtml", ".htaccess"))
    assert "/" not in row.filename
    assert len(row.filename) <= 255
    (key,) = {row.target}
    assert f'"key": "{key}"' in response.json()["request"]["url"]


@pytest.mark.threat("T-23")
def test_names_of_100000_uploads_are_all_different():
    field = Clip._meta.get_field("file")
    names = {naming.final_name(field, "a.txt") for _ in range(100_000)}
    assert len(names) == 100_000
    assert {posixpath.dirname(name) for name in names} == {"clips"}
    assert {len(name) for name in names} == {len("clips/") + 32 + len(".txt")}


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("a.txt", "a.txt"),
        ("C:\\fakepath\\a.txt", "a.txt"),
        ("x" * 300 + ".jpeg", "x" * 250 + ".jpeg"),
        ("gehälter – 2026.pdf", "gehälter – 2026.pdf"),
    ],
)
def test_original_name_is_remembered(browser, filename, kept):
    assert row_of(browser.begun(filename=filename)).filename == kept


# Swaps


@pytest.mark.threat("T-24")
@pytest.mark.parametrize("kind", list(KINDS))
def test_grant_that_is_used_again_after_finish_changes_nothing(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    request = begun.get("request")
    if request is None:
        (request,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [1]})["parts"]
    browser.send(begun, BODY)
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    try:
        cloud.send(request, b"evil" if kind in ("multipart", "blocks") else b"other bytes, as many")
    except Refused:
        assert kind in ("put", "multipart", "resumable", "blocks")
    with cloud.open(row.name) as file:
        assert file.read() == BODY


@pytest.mark.threat("T-24")
@pytest.mark.parametrize("kind", PROMOTED)
def test_bytes_that_are_swapped_while_they_are_looked_at_are_not_those_that_are_kept(browser, cloud, kind, monkeypatch):
    begun = browser.begun(BODY, accepts=[kind])
    browser.send(begun, BODY)
    row = row_of(begun)

    def swapping(upload, file):
        cloud.put(row.target, b"evil bytes, the same", "text/plain")
        assert file.read() == BODY
        return True

    monkeypatch.setattr(Clip._meta.get_field("file"), "scan", swapping)
    browser.ok("finish", {"upload": begun["upload"]})
    with cloud.open(row_of(begun).name) as file:
        assert file.read() == BODY


@pytest.mark.threat("T-24")
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("when", ["before the first look", "while the scanner reads"])
def test_object_that_changes_under_its_last_name_is_refused(browser, cloud, kind, when, monkeypatch):
    begun = browser.begun(BODY, accepts=[kind])
    browser.send(begun, BODY)

    def swap(*args):
        cloud.put(row_of(begun).name, b"evil bytes, the same", "text/plain")
        return True

    if when == "before the first look":
        monkeypatch.setattr("storages.uploads.finishing._look", swap)
    else:
        monkeypatch.setattr(Clip._meta.get_field("file"), "scan", swap)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (409, "key_exists")
    assert not cloud.client


@pytest.mark.threat("T-24")
def test_read_of_an_object_that_is_another_by_now_is_refused(browser, cloud):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    cloud.failing["open_range"] = ObjectChanged("another etag")
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (409, "key_exists")
    assert row_of(begun).state == State.REJECTED


@pytest.mark.threat("T-24")
@pytest.mark.parametrize("kind", DENIED)
def test_where_a_second_write_is_refused_the_client_writes_to_the_last_name(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    assert (row_of(begun).staging, row_of(begun).target) == ("", row_of(begun).name)
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    assert "copy" not in cloud.calls


@pytest.mark.threat("T-24")
def test_name_of_the_last_place_is_told_to_nobody_before(browser, cloud):
    begun = browser.begun(BODY, accepts=["post"])
    assert row_of(begun).name not in str(begun)
    assert row_of(begun).staging in str(begun)


# Sizes


@pytest.mark.threat("T-25")
@pytest.mark.parametrize("kind", ["put", "post", "multipart"])
@pytest.mark.parametrize("number", [1, 5])
def test_cloud_refuses_one_byte_more(browser, cloud, kind, number):
    begun = browser.begun(BODY, accepts=[kind])
    request, size = begun.get("request"), len(BODY)
    if request is None:
        (request,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [number]})["parts"]
        size = request["size"]
    with pytest.raises(Refused, match="size"):
        cloud.send(request, b"x" * (size + 1))


@pytest.mark.threat("T-25")
@pytest.mark.threat("T-26")
@pytest.mark.parametrize(
    "sent", [b"", b"x", BODY[:-1], BODY + b"x", BODY * 1000], ids=["none", "1", "-1", "+1", "x 1000"]
)
def test_other_size_than_announced_is_refused_and_deleted_where_the_cloud_does_not_look(browser, cloud, sent):
    begun = browser.begun(BODY, accepts=["link"])
    browser.send(begun, sent)
    for _ in range(2):  # and again the same
        response = browser.call("finish", {"upload": begun["upload"]})
        assert code_of(response) == (422, "size_mismatch")
        assert response.json()["error"]["retryable"] is False
    assert not cloud.client
    assert not any(call.startswith("open_range") for call in cloud.calls)
    assert row_of(begun).state == State.REJECTED


@pytest.mark.threat("T-26")
@pytest.mark.parametrize(("least", "size", "status"), [(1, 0, 413), (0, 0, 201), (5, 4, 413), (5, 5, 201)])
def test_file_below_the_least_size_is_refused(browser, monkeypatch, least, size, status):
    monkeypatch.setattr(Clip._meta.get_field("file"), "min_size", least)
    response = browser.begin(b"x" * size, accepts=["put", "multipart"])
    assert response.status_code == status


@pytest.mark.threat("T-26")
def test_empty_file_of_a_field_that_takes_it_goes_through(browser, cloud, monkeypatch):
    monkeypatch.setattr(Clip._meta.get_field("file"), "min_size", 0)
    assert browser.upload(b"", accepts=["multipart", "put"])["size"] == 0


# Types

HTML = b"<!DOCTYPE html><script>alert(1)</script>"


@pytest.mark.threat("T-27")
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    "body",
    [
        HTML,
        b"<svg onload=alert(1)>",
        b"  \n<html>",
        b"GIF89a<script>",
        b"%PDF-1.4\n",
        b"PK\x03\x04",
        b"plain text",
        b"\0" * 30,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_bytes_that_are_not_what_their_type_says_are_deleted(browser, cloud, kind, body):
    begun = browser.begun(body, COVER, [kind], filename="a.png", content_type="image/png")
    browser.send(begun, body)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "type_mismatch")
    assert not cloud.client


@pytest.mark.threat("T-27")
def test_image_is_an_image(browser):
    done = browser.upload(PNG, field=COVER, accepts=["put"], filename="a.png", content_type="image/png")
    assert done["content_type"] == "image/png"


@pytest.mark.threat("T-27")
@pytest.mark.parametrize("filename", ["a.png.html", "a.png.svg", "a.html", "a.png.pdf", "a.xhtml", "a.js"])
def test_extension_that_says_another_type_is_refused(browser, filename):
    response = browser.begin(PNG, COVER, filename=filename, content_type="image/png")
    assert code_of(response) == (415, "type_not_allowed")


@pytest.mark.threat("T-27")
@pytest.mark.parametrize("kind", ["link", "blocks"])
@pytest.mark.parametrize("header", [{"Content-Type": "text/html"}, {"Content-Encoding": "gzip"}], ids=str)
def test_header_that_the_cloud_does_not_sign_makes_no_other_type(browser, cloud, kind, header):
    begun = browser.begun(PNG, COVER, ["link"], filename="a.png", content_type="image/png")
    browser.send(begun, PNG, **header)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "type_mismatch")
    assert not cloud.client


@pytest.mark.threat("T-27")
def test_type_of_the_object_is_the_one_that_was_looked_at(browser, cloud):
    row = row_of(browser.upload(PNG, field=COVER, accepts=["put"], filename="a.png", content_type="IMAGE/PNG"))
    assert cloud.stat(row.name).content_type == "image/png"


# Checksums


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("kind", [kind for kind, enforced in KINDS.items() if enforced.checksum != "signed"])
def test_one_bit_that_was_changed_on_the_way_is_found(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind], checksum=sha256(BODY))
    assert begun["enforced"]["checksum"] == "finish"
    browser.send(begun, bytes([BODY[0] ^ 1]) + BODY[1:])
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "checksum_mismatch")
    assert not cloud.client


@pytest.mark.threat("T-35")
def test_parts_in_the_wrong_order_are_found(browser, cloud):
    begun = browser.begun(b"aaaabbbb", accepts=["multipart"], checksum=sha256(b"aaaabbbb"))
    browser.send(begun, b"bbbbaaaa")
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "checksum_mismatch")


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("kind", list(KINDS))
def test_right_checksum_passes_and_is_told(browser, kind):
    assert browser.upload(BODY, accepts=[kind], checksum=sha256(BODY))["checksum"] == sha256(BODY)


@pytest.mark.threat("T-35")
def test_checksum_that_a_field_requires_is_compared_however_long_the_file(browser, cloud, settings, monkeypatch):
    settings.UPLOADS_PARTS_ABOVE = 5
    monkeypatch.setitem(models.TURNS, "answer", True)
    field = "tests_uploads.Strict.file"
    begun = browser.begun(BODY, field, ["multipart"], checksum=sha256(b"something else here."))
    browser.send(begun, BODY)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "checksum_mismatch")


# Time


@pytest.mark.threat("T-40")
@pytest.mark.parametrize("kind", ["multipart", "blocks", "resumable"])
def test_upload_of_three_hours_with_links_of_five_minutes_completes(browser, cloud, clock, kind):
    begun = browser.begun(b"file" * 36, accepts=[kind])
    for number in range(1, 37):
        ask = {"upload": begun["upload"], "numbers": [1 if kind == "resumable" else number]}
        (old,) = browser.ok("parts", ask)["parts"]
        clock.forward(301)
        with pytest.raises(Refused, match="expired"):
            cloud.send(old, b"file")
        (new,) = browser.ok("parts", ask)["parts"]
        assert datetime.datetime.fromisoformat(new["expires"]).timestamp() - clock.time() == pytest.approx(300, abs=2)
        cloud.send(new, b"file")
        assert browser.ok("status", {"upload": begun["upload"]})["offset"] == 4 * number
    assert clock.seconds > 3 * 3600
    assert browser.ok("finish", {"upload": begun["upload"]})["size"] == 144


@pytest.mark.threat("T-40")
@pytest.mark.parametrize("call", ["parts", "status", "finish"])
def test_upload_ends_with_its_row(browser, cloud, clock, call):
    begun = browser.begun(BODY, accepts=["multipart"])
    clock.forward(24 * 3600 + 1)
    browser.http.force_login(row_of(begun).user)
    said = {"upload": begun["upload"], **({"numbers": [1]} if call == "parts" else {})}
    assert code_of(browser.call(call, said)) == (410, "upload_expired")
    assert row_of(begun).state == State.EXPIRED


@pytest.mark.threat("T-40")
def test_signature_does_not_outlive_its_upload(browser, clock):
    begun = browser.begun(BODY, accepts=["multipart"])
    clock.forward(24 * 3600 - 100)
    browser.http.force_login(row_of(begun).user)
    (part,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [1]})["parts"]
    assert datetime.datetime.fromisoformat(part["expires"]) <= row_of(begun).expires


@pytest.mark.threat("T-40")
def test_form_has_a_day_for_a_file_that_took_a_day(browser, clock):
    begun = browser.begun(BODY, accepts=["multipart"])
    clock.forward(23 * 3600)
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    left = row_of(begun).expires - datetime.datetime.fromtimestamp(clock.time(), datetime.timezone.utc)
    assert left > datetime.timedelta(hours=23)


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("end", ["aborted", "rejected"])
def test_row_that_is_over_stays_until_its_last_signature_is_of_no_use(browser, cloud, clock, end):
    begun = browser.begun(BODY, accepts=["link"])
    if end == "aborted":
        browser.ok("abort", {"upload": begun["upload"]})
    else:
        browser.send(begun, b"less")
        browser.call("finish", {"upload": begun["upload"]})
    browser.send(begun, b"too late")  # the link still lives
    row = row_of(begun)
    assert (row.expires.timestamp() - clock.time()) > 300
    protocol.discard(row)  # as the sweep does then
    assert not cloud.client


# Two at once


def test_second_finish_waits_for_the_first(browser, cloud, monkeypatch):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    answers = []

    def meanwhile(upload, file):
        answers.append(browser.call("finish", {"upload": begun["upload"]}))
        return True

    monkeypatch.setattr(Clip._meta.get_field("file"), "scan", meanwhile)
    first = browser.ok("finish", {"upload": begun["upload"]})
    assert code_of(answers[0]) == (409, "state_conflict")
    assert answers[0]["Retry-After"] == "1"
    assert browser.ok("finish", {"upload": begun["upload"]}) == first
    assert len(answers) == 1


def test_upload_that_is_given_up_while_it_is_finished_leaves_nothing(browser, cloud, monkeypatch):
    begun = browser.begun(BODY, accepts=["post"])
    browser.send(begun, BODY)

    def meanwhile(upload, file):
        browser.ok("abort", {"upload": begun["upload"]})
        return True

    monkeypatch.setattr(Clip._meta.get_field("file"), "scan", meanwhile)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (409, "state_conflict")
    assert row_of(begun).state == State.ABORTED
    assert not cloud.client


def test_finish_that_died_does_not_lock_the_upload_for_ever(browser, clock):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    assert row_of(begun).take_turn(protocol.TURN)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (409, "state_conflict")
    clock.forward(protocol.TURN + 1)
    browser.ok("finish", {"upload": begun["upload"]})


def test_turn_that_ran_out_does_not_end_that_of_another(browser, clock):
    first, second = (row_of(begun) for begun in [browser.begun(BODY)] * 2)
    assert first.take_turn(10)
    clock.forward(11)
    assert second.take_turn(10)
    first.end_turn()
    assert not Upload.objects.get().take_turn(10)


@contextlib.contextmanager
def meanwhile(act, *, before="", after=""):
    """Do what another request does, once: before or after the first statement that has such a text."""
    waiting = [act]

    def execute(run, statement, params, many, context):
        plain = statement.replace("`", '"')  # MySQL's quotes
        if before and before in plain and waiting:
            waiting.pop()()
        result = run(statement, params, many, context)
        if after and after in plain and waiting:
            waiting.pop()()
        return result

    with connection.execute_wrapper(execute):
        yield
    assert not waiting


@pytest.mark.threat("T-30")
@pytest.mark.parametrize(
    ("call", "hours", "statement"),
    [("finish", 0, 'SET "busy"'), ("finish", 25, 'SET "state"'), ("status", 25, 'SET "state"')],
)
def test_upload_that_is_swept_meanwhile_is_not_there(browser, clock, call, hours, statement):
    begun = browser.begun(BODY)
    browser.send(begun, BODY)
    clock.forward(hours * 3600)
    with meanwhile(Upload.objects.all().delete, after=statement):
        assert code_of(browser.call(call, {"upload": begun["upload"]})) == (404, "upload_not_found")


@pytest.mark.threat("T-30")
def test_upload_that_is_finished_meanwhile_has_not_expired(browser, clock):
    begun = browser.begun(BODY)
    browser.send(begun, BODY)
    clock.forward(25 * 3600)
    finished = {"state": State.FINISHED, "expires": clock.now() + datetime.timedelta(days=1)}
    with meanwhile(lambda: Upload.objects.update(**finished), before='SET "state"'):
        assert browser.ok("status", {"upload": begun["upload"]})["state"] == State.FINISHED


@pytest.mark.parametrize("kind", ["put", "post", "multipart"])
def test_two_tabs_that_finish_at_once_get_one_file(file_database, browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    browser.send(begun, BODY)
    tabs = [Browser(row_of(begun).user) for _ in range(4)]
    start = threading.Barrier(len(tabs))

    def finish(tab):
        from django.db import connections

        try:
            start.wait()
            while True:
                response = tab.call("finish", {"upload": begun["upload"]})
                if response.status_code != 409:
                    return response
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tabs)) as pool:
        answers = list(pool.map(finish, tabs))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert list(cloud.client) == [row_of(begun).name]
    assert cloud.calls.count("close_upload") == (kind == "multipart")
    assert cloud.calls.count("copy") == (kind == "post")


@pytest.mark.threat("T-25")
def test_uploads_that_begin_at_once_do_not_get_past_the_limit(file_database, browser, cloud, anna, settings):
    settings.UPLOADS_MAX_OPEN = 2
    slot = browser.slot()
    tabs = [Browser(anna) for _ in range(4)]
    start = threading.Barrier(len(tabs))

    def begin(tab):
        from django.db import connections

        try:
            start.wait()
            return tab.begin(BODY, accepts=ALL, slot=slot).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tabs)) as pool:
        answers = list(pool.map(begin, tabs))
    assert set(answers) <= {201, 429}
    assert Upload.objects.count() == answers.count(201) <= 2


def test_no_kind_is_copied_that_says_it_cannot_be_written_again(browser, cloud):
    with with_kinds(cloud, "put", overwrite="promote"):
        begun = browser.begun(BODY, accepts=["put"])
        browser.send(begun, BODY)
        browser.ok("finish", {"upload": begun["upload"]})
    assert cloud.calls.count("copy") == 1
