"""The protocol, call by call, against a cloud that looks at what was signed."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import logging

import pytest
from django.core.management import call_command
from django.urls import resolve

from storages.contract import UploadLimits
from storages.uploads import kinds as choosing
from storages.uploads import protocol, signals
from storages.uploads.models import State, Upload
from tests.uploads import models
from tests.uploads.conftest import ALL, FIELD, Browser, code_of, row_of, sha256
from tests.uploads.kinds import KINDS, Refused, with_kinds

BODY = b"some bytes of a file"
CALLS = ["begin", "parts", "status", "finish", "abort", "slot"]


@pytest.fixture(autouse=True)
def _small_parts(settings):
    settings.UPLOADS_PART_SIZE = 4


@pytest.mark.parametrize("kind", list(KINDS))
def test_file_of_every_kind_gets_a_token(browser, cloud, kind):
    done = browser.upload(BODY, accepts=[kind])
    assert done.keys() == {"token", "name", "size", "content_type", "checksum", "expires"}
    assert (done["name"], done["size"], done["content_type"]) == ("a.txt", 20, "text/plain")
    row = row_of(done)
    assert (row.state, row.kind) == (State.FINISHED, kind)
    with cloud.open(row.name) as file:
        assert file.read() == BODY
    assert list(cloud.client) == [row.name]  # nothing else is left
    assert not cloud.opened


def test_migration_has_all_of_the_models(db):
    call_command("makemigrations", "storages_uploads", check=True, dry_run=True, stdout=io.StringIO())


# HTTP


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "options"])
def test_other_methods_are_not_answered(browser, call, method):
    response = getattr(browser.http, method)(f"/uploads/{call}/")
    assert code_of(response) == (405, "method")
    assert response["Allow"] == "POST"


@pytest.mark.threat("T-32")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_body_that_a_foreign_page_can_send_is_refused(browser, call, content_type):
    body = b"--x--" if "form-data" in content_type else b"{}"
    response = browser.http.post(f"/uploads/{call}/", body, content_type=content_type)
    assert code_of(response) == (415, "json_required")


@pytest.mark.threat("T-32")
@pytest.mark.parametrize("call", CALLS)
def test_request_without_a_csrf_token_is_refused_in_json(anna, cloud, call):
    assert code_of(Browser(anna, enforce_csrf_checks=True).call(call, {})) == (403, "csrf_failed")


@pytest.mark.threat("T-32")
def test_request_with_its_csrf_token_is_answered(anna, cloud):
    browser = Browser(anna, enforce_csrf_checks=True)
    browser.http.cookies["csrftoken"] = token = "a" * 32
    assert browser.call("slot", {"field": FIELD}, **{"X-CSRFToken": token}).status_code == 200
    assert code_of(browser.call("slot", {"field": FIELD}, **{"X-CSRFToken": "b" * 32})) == (403, "csrf_failed")


@pytest.mark.threat("T-32")
def test_page_of_another_origin_is_refused(anna, cloud):
    browser = Browser(anna, enforce_csrf_checks=True)
    browser.http.cookies["csrftoken"] = token = "a" * 32
    headers = {"X-CSRFToken": token, "Origin": "https://evil.example"}
    assert code_of(browser.call("slot", {"field": FIELD}, **headers)) == (403, "csrf_failed")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "body",
    [
        *(b" ", b"{", b"[]", b"3", b"null", b'"text"', b'{"a": NaN}', b'{"upload": "x", "upload": "y"}', b"\xff"),
        *(b"[" * 60_000, b'{"upload": "' + b"x" * 70_000 + b'"}', b'{"size": 1' + b"0" * 5000 + b"}"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_body_that_is_no_json_object_is_refused(browser, call, body):
    response = browser.http.post(f"/uploads/{call}/", body, content_type="application/json")
    assert code_of(response) in [(400, "bad_request"), (403, "slot_invalid")]


def test_body_beyond_what_django_takes_is_refused(browser, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert code_of(browser.call("slot", {"field": FIELD})) == (400, "bad_request")


def test_no_answer_is_stored(browser):
    begun = browser.begin(BODY)
    assert begun["Cache-Control"] == "no-store"
    assert browser.call("status", {"upload": begun.json()["upload"]})["Cache-Control"] == "no-store"


def test_who_has_to_log_in_is_told_and_not_sent_away(db, cloud, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    import django

    if django.VERSION < (5, 1):
        pytest.skip("this Django has no such middleware")
    assert code_of(Browser().call("slot", {"field": FIELD})) == (401, "not_authenticated")


def test_what_a_refused_finish_has_changed_stays_changed_within_atomic_requests(browser, cloud, settings):
    from django.db import connection

    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        begun = browser.begun(BODY, accepts=["link"])
        browser.send(begun, b"less")
        assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "size_mismatch")
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert row_of(begun).state == State.REJECTED


@pytest.mark.parametrize("call", CALLS)
def test_what_a_call_changes_is_seen_by_the_next_at_once(call, settings):
    settings.ROOT_URLCONF = "tests.uploads.urls"
    assert resolve(f"/uploads/{call}/").func._non_atomic_requests == {"default"}


# The schema


@pytest.mark.threat("T-22")
@pytest.mark.parametrize(
    "key",
    ["key", "bucket", "name", "uploadId", "upload_id", "storage", "url", "policy", "acl", "metadata", "to_sign", ""],
)
@pytest.mark.parametrize("call", CALLS)
def test_key_that_is_no_business_of_a_client_is_refused(browser, call, key):
    response = browser.call(call, {key: "x"})
    assert code_of(response) == (400, "bad_request")
    assert response.json()["error"]["field"] == key
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(({"size": size}, "size") for size in ("8", 8.0, -1, True, None, 2**63, [])),
        *(({"filename": name}, "filename") for name in (None, 3, "", [], "x" * 5000)),
        *(
            ({"content_type": kind}, "content_type")
            for kind in (3, "text", "text/", "a/b/c", "x" * 300 + "/y", "text/a\nb")
        ),
        *(({"accepts": kinds}, "accepts") for kinds in (None, "put", {}, [3], ["PUT"], ["x"] * 17)),
        *(({"checksum": value}, "checksum") for value in ("abc", {}, {"algorithm": "md5", "value": ""}, [])),
        ({"checksum": {**sha256(b""), "more": 1}}, "checksum"),
        ({"checksum": {"algorithm": "sha256", "value": "dG9vIHNob3J0"}}, "checksum"),
        ({"checksum": {"algorithm": "sha256", "value": 3}}, "checksum"),
        ({"slot": 3}, "slot"),
        ({"slot": "x" * 5000}, "slot"),
    ],
    ids=str,
)
def test_value_of_another_type_is_refused_by_its_key(browser, change, field):
    said = {"slot": browser.slot(), "filename": "a.txt", "size": 8, "content_type": "text/plain", "accepts": ALL}
    said |= change
    response = browser.call("begin", {key: value for key, value in said.items() if value is not None})
    assert code_of(response) == (400, "bad_request")
    assert response.json()["error"]["field"] == field
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        *({"numbers": numbers} for numbers in (None, [], "1", [0], [-1], ["1"], [1.0], [True], [6], [10**30])),
        {"numbers": list(range(1, 102))},
        *({"checksums": value} for value in ("x", [1], {"2": sha256(b"")["value"]}, {"1": "x"}, {"1": 3}, {"a": "x"})),
    ],
    ids=str,
)
def test_parts_that_there_are_not_are_not_signed(browser, cloud, change):
    begun = browser.begun(BODY, accepts=["multipart"])
    said = {"upload": begun["upload"], "numbers": [1], **change}
    response = browser.call("parts", {key: value for key, value in said.items() if value is not None})
    assert code_of(response) == (400, "bad_request")
    assert "presign_part" not in cloud.calls


@pytest.mark.parametrize(
    "label",
    ["", "x", "a.b", "a.b.c", "tests_uploads.Clip.title", "tests_uploads.Plain.file", "a.b.c.d", "auth.User.password"],
)
def test_field_that_is_not_uploaded_to_directly_is_unknown(browser, label):
    assert code_of(browser.call("slot", {"field": label})) in [(400, "unknown_field"), (400, "bad_request")]


# begin


def test_begin_answers_as_the_protocol_says(browser):
    begun = browser.begun(BODY, accepts=["put"])
    assert begun.keys() == {"upload", "kind", "expires", "request", "enforced", "limits"}
    assert begun["request"].keys() == {"method", "url", "headers", "fields", "file_field"}
    assert begun["limits"] == {"min_size": 1, "max_size": 10_000, "types": ["*/*"]}
    begun = browser.begun(BODY, accepts=["multipart"])
    assert begun.keys() == {"upload", "kind", "expires", "parts", "enforced", "limits"}
    assert begun["parts"] == {"size": 4, "count": 5, "concurrency": 4, "batch": 16}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("checksum", [None, sha256(BODY)], ids=["without", "with a checksum"])
def test_what_is_said_to_be_enforced_is(browser, cloud, kind, checksum):
    field = FIELD if kind != "tus" else "tests_uploads.Note.file"
    enforced = browser.begun(BODY, field, [kind], checksum=checksum)["enforced"]
    own = {**KINDS, "tus": choosing.OURS}[kind]
    expected = own.checksum if own.checksum == "signed" else "finish"
    assert enforced == {
        "key": "signed",
        "size": own.size,
        "type": own.type,
        "checksum": expected if checksum else "none",
        "overwrite": own.overwrite,
    }


def test_checksum_of_a_long_file_that_nobody_compares_is_said_to_be_none(browser, settings):
    settings.UPLOADS_PARTS_ABOVE = 10
    begun = browser.begun(BODY, accepts=["multipart"], checksum=sha256(b"other bytes"))
    assert begun["enforced"]["checksum"] == "none"
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})


@pytest.mark.parametrize(
    ("offered", "accepts", "size", "kind"),
    [
        (["put", "multipart"], ALL, 50, "put"),
        (["put", "multipart"], ALL, 5000, "multipart"),
        (["multipart", "put"], ALL, 50, "put"),
        (["post", "put"], ALL, 50, "post"),
        (["put", "post"], ALL, 50, "put"),
        (["put", "post"], ["post", "put"], 50, "put"),
        (["put", "post"], ["post"], 50, "post"),
        (["put"], ["put"], 5000, "put"),
        (["multipart"], ["multipart"], 50, "multipart"),
        (["link"], ALL, 5000, "tus"),
        ([], ALL, 50, "tus"),
    ],
)
def test_kind_is_the_first_that_is_offered_and_accepted_and_fits(
    browser, cloud, settings, offered, accepts, size, kind
):
    settings.UPLOADS_PARTS_ABOVE = 1000
    with with_kinds(cloud, *offered):
        assert browser.begun(b"x" * size, accepts=accepts)["kind"] == kind


@pytest.mark.parametrize("accepts", [[], ["carrier"], ["link"]])
def test_client_that_can_send_nothing_of_what_there_is_is_told(browser, cloud, accepts):
    with with_kinds(cloud, "put"):
        assert code_of(browser.begin(BODY, accepts=accepts)) == (501, "kind_not_supported")
    assert not Upload.objects.exists()


def test_kind_too_small_for_the_file_is_not_chosen(browser, cloud):
    with with_kinds(cloud, "put", "post"):
        cloud.kinds["put"] = dataclasses.replace(KINDS["put"], limits=UploadLimits(largest=10))
        assert browser.begun(BODY)["kind"] == "post"


@pytest.mark.parametrize(
    ("enforced", "kind"), [({"size": "finish"}, None), ({"type": "finish"}, None), ({"checksum": "none"}, "put")]
)
def test_kind_that_breaks_the_promise_of_a_field_is_not_chosen(browser, cloud, enforced, kind, monkeypatch):
    monkeypatch.setitem(models.TURNS, "answer", True)
    with with_kinds(cloud, "put", **enforced):
        response = browser.begin(BODY, "tests_uploads.Strict.file", ["put"], checksum=sha256(BODY))
    assert response.json().get("kind") == kind
    if kind is None:
        assert code_of(response) == (501, "kind_not_supported")


@pytest.mark.parametrize(
    ("size", "limits", "part_size"),
    [
        (20, UploadLimits(), 4),
        (20, UploadLimits(smallest_part=7), 2**20),
        (20, UploadLimits(part_multiple=3), 6),
        (40_000, UploadLimits(most_parts=10_000), 4),
        (40_001, UploadLimits(most_parts=10_000), 2**20),
        (20, UploadLimits(largest_part=3), None),
        (0, UploadLimits(), None),
    ],
)
def test_part_size_is_within_the_limits_of_the_service(size, limits, part_size):
    assert choosing.part_size_for(size, dataclasses.replace(KINDS["multipart"], limits=limits)) == part_size


@pytest.mark.parametrize(
    ("body", "change", "refusal"),
    [
        (b"x" * 10_001, {}, (413, "too_large")),
        (b"", {}, (413, "too_small")),
        (b"x", {"field": "tests_uploads.Clip.cover"}, (415, "type_not_allowed")),
        (b"x", {"field": "tests_uploads.Clip.cover", "content_type": "image/svg+xml"}, (415, "type_not_allowed")),
        (
            b"x",
            {"field": "tests_uploads.Clip.cover", "content_type": "image/png", "filename": "a.html"},
            (415, "type_not_allowed"),
        ),
        (b"x", {"field": "tests_uploads.Strict.file"}, (400, "bad_request")),
        (b"x", {"filename": "a\x00.txt"}, (400, "bad_filename")),
        (b"x", {"filename": "a\n.txt"}, (400, "bad_filename")),
        (b"x", {"filename": ".."}, (400, "bad_filename")),
        (b"x", {"filename": "a/"}, (400, "bad_filename")),
        (b"x", {"filename": "\ud800.txt"}, (400, "bad_filename")),
    ],
    ids=str,
)
def test_file_that_the_field_does_not_take_is_refused_before_anything_is_sent(browser, cloud, body, change, refusal):
    assert code_of(browser.begin(body, **change)) == refusal
    assert not Upload.objects.exists()
    assert not cloud.calls


def test_missing_checksum_is_told_by_its_key(browser):
    response = browser.begin(BODY, "tests_uploads.Strict.file")
    assert (code_of(response), response.json()["error"]["field"]) == ((400, "bad_request"), "checksum")


@pytest.mark.parametrize(
    ("filename", "given", "expected"),
    [
        ("a.png", "", "image/png"),
        ("a", "", "application/octet-stream"),
        ("a.png", "IMAGE/PNG; x=y", "image/png"),
        ("a.jpg", "image/jpg", "image/jpeg"),
        ("a.tar.gz", "", "application/octet-stream"),
    ],
)
def test_type_is_ours_to_say(browser, filename, given, expected):
    begun = browser.begun(BODY, accepts=["put"], filename=filename, content_type=given)
    assert begun["request"]["headers"]["Content-Type"] == row_of(begun).content_type == expected


# parts, status


def test_parts_are_signed_as_often_as_they_are_asked_for(browser, cloud):
    begun = browser.begun(BODY, accepts=["multipart"])
    ask = {"upload": begun["upload"], "numbers": [5, 1, 1]}
    first, second = browser.ok("parts", ask)["parts"], browser.ok("parts", ask)["parts"]
    assert [(part["number"], part["size"]) for part in first] == [(5, 4), (1, 4)]
    assert first[0].keys() == {"number", "method", "url", "headers", "size", "expires"}
    cloud.send(first[0], b"late")
    cloud.send(second[0], b"file")


def test_sum_of_the_signed_parts_is_the_size_that_was_said(browser):
    begun = browser.begun(b"x" * 18, accepts=["multipart"])
    parts = browser.ok("parts", {"upload": begun["upload"], "numbers": [1, 2, 3, 4, 5]})["parts"]
    assert [part["size"] for part in parts] == [4, 4, 4, 4, 2]


@pytest.mark.parametrize("kind", ["put", "post", "link"])
def test_upload_in_one_piece_has_no_parts(browser, kind):
    begun = browser.begun(BODY, accepts=[kind])
    assert code_of(browser.call("parts", {"upload": begun["upload"], "numbers": [1]})) == (400, "bad_request")


def test_status_is_enough_to_go_on_after_a_reload(browser, cloud):
    begun = browser.begun(BODY, accepts=["multipart"])
    part, other = browser.ok("parts", {"upload": begun["upload"], "numbers": [2, 4]})["parts"]
    cloud.send(other, b"abcd")
    cloud.send(part, b"efgh")
    status = browser.ok("status", {"upload": begun["upload"]})
    assert status["received"] == [{"number": 2, "size": 4}, {"number": 4, "size": 4}]
    assert (status["state"], status["kind"], status["size"], status["offset"]) == ("begun", "multipart", 20, 8)
    assert (status["parts"], status["expires"]) == (begun["parts"], begun["expires"])


def test_status_of_a_resumable_upload_tells_where_to_go_on(browser, cloud):
    begun = browser.begun(BODY, accepts=["resumable"])
    (request,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [1]})["parts"]
    cloud.send(request, BODY[:8])
    assert browser.ok("status", {"upload": begun["upload"]})["offset"] == 8
    cloud.send(request, BODY[8:])
    browser.ok("finish", {"upload": begun["upload"]})


@pytest.mark.parametrize("kind", list(KINDS))
def test_status_of_what_is_over_asks_nothing_of_the_storage(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    cloud.calls.clear()
    assert browser.ok("status", {"upload": begun["upload"]})["state"] == "finished"
    assert not cloud.calls


def test_secret_of_a_resumable_upload_is_encrypted_in_the_database(browser, cloud, settings):
    begun = browser.begun(BODY, accepts=["resumable"])
    (state,) = cloud.opened
    assert state not in json.dumps(Upload.objects.values().get(), default=str)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [settings.SECRET_KEY]
    assert choosing.received(row_of(begun), cloud) == []


def test_resumable_uploads_need_what_encrypts(browser, cloud, monkeypatch):
    monkeypatch.setattr("storages.uploads.sealing.is_possible", lambda: False)
    with with_kinds(cloud, "resumable", "put"):
        assert browser.begun(BODY, accepts=["resumable", "put"])["kind"] == "put"


# finish


@pytest.mark.parametrize("kind", list(KINDS))
def test_second_finish_gives_the_same_answer_and_costs_nothing(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    browser.send(begun, BODY)
    first = browser.ok("finish", {"upload": begun["upload"]})
    cloud.calls.clear()
    assert browser.ok("finish", {"upload": begun["upload"]}) == first
    assert not cloud.calls


@pytest.mark.parametrize("kind", list(KINDS))
def test_finish_before_all_has_come_may_be_tried_again(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    response = browser.call("finish", {"upload": begun["upload"]})
    assert code_of(response) == (422, "parts_missing")
    assert response.json()["error"]["retryable"] is True
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_part_that_is_missing_can_be_sent_afterwards(browser, cloud, missing):
    begun = browser.begun(BODY, accepts=["multipart"])
    browser.send(begun, BODY)
    (upload,) = cloud.opened.values()
    part = upload["parts"].pop(missing)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    upload["parts"][missing] = part
    with cloud.open(row_of(browser.ok("finish", {"upload": begun["upload"]})).name) as file:
        assert file.read() == BODY


def test_parts_may_come_in_any_order(browser, cloud):
    begun = browser.begun(BODY, accepts=["multipart"])
    for number in (4, 1, 5, 3, 2):
        (part,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [number]})["parts"]
        cloud.send(part, BODY[(number - 1) * 4 : number * 4])
    with cloud.open(row_of(browser.ok("finish", {"upload": begun["upload"]})).name) as file:
        assert file.read() == BODY


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(
    "parts",
    [{6: b"more"}, {1: b"longer"}, {1: b"longer", 2: b"sh"}, {99: b""}],
    ids=["one more", "longer", "shifted", "far"],
)
def test_more_than_was_announced_is_never_completed(browser, cloud, parts):
    begun = browser.begun(BODY, accepts=["blocks"])
    browser.send(begun, BODY)
    (upload,) = cloud.opened.values()
    upload["parts"].update(parts)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "size_mismatch")
    assert "close_upload" not in cloud.calls
    assert not cloud.opened
    assert not cloud.client


@pytest.mark.parametrize("kind", list(KINDS))
def test_finish_reads_no_more_than_the_first_bytes(browser, cloud, kind, settings):
    settings.UPLOADS_PART_SIZE = 4096
    browser.upload(b"x" * 9000, accepts=[kind])
    assert [call for call in cloud.calls if call.startswith("open_range")] == ["open_range 0-4096"]


@pytest.mark.parametrize("closed", [True, False], ids=["it was closed", "it was not"])
def test_finish_whose_answer_was_lost_in_the_middle_is_made_whole_by_the_next(browser, cloud, closed):
    begun = browser.begun(BODY, accepts=["multipart"])
    browser.send(begun, BODY)
    row = row_of(begun)
    if closed:
        cloud.close_upload(row.target, "multipart", row.secret, choosing.terms_of(row, cloud))
    cloud.failing["stat"] = ConnectionError("gone")
    response = browser.call("finish", {"upload": begun["upload"]})
    assert code_of(response) == (503, "storage_unavailable")
    cloud.failing.clear()
    browser.ok("finish", {"upload": begun["upload"]})


def test_upload_that_the_storage_has_given_up_is_over(browser, cloud):
    begun = browser.begun(BODY, accepts=["multipart"])
    cloud.opened.clear()
    for _ in range(2):
        assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (410, "upload_expired")
    assert row_of(begun).state == State.EXPIRED  # and is not counted any more


# abort


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after the bytes"])
def test_abort_leaves_nothing_and_may_be_said_again(browser, cloud, kind, sent):
    begun = browser.begun(BODY, accepts=[kind])
    if sent:
        browser.send(begun, BODY)
    for _ in range(2):
        response = browser.call("abort", {"upload": begun["upload"]})
        assert (response.status_code, response.content) == (204, b"")
    assert not cloud.client
    assert not cloud.opened
    assert row_of(begun).state == State.ABORTED
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (410, "upload_aborted")


@pytest.mark.parametrize("kind", list(KINDS))
def test_finished_file_that_no_form_has_taken_can_be_removed(browser, cloud, kind):
    begun = browser.begun(BODY, accepts=[kind])
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    browser.ok("abort", {"upload": begun["upload"]})
    assert not cloud.client


@pytest.mark.threat("T-31")
def test_file_that_a_form_has_taken_cannot_be_removed(browser, cloud):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    assert row_of(begun).move(State.CLAIMED, since=(State.FINISHED,))
    assert code_of(browser.call("abort", {"upload": begun["upload"]})) == (409, "already_claimed")
    assert len(cloud.client) == 1


def test_abort_that_the_storage_did_not_hear_can_be_said_again(browser, cloud):
    begun = browser.begun(BODY, accepts=["multipart"])
    cloud.failing["abandon_upload"] = TimeoutError()
    assert code_of(browser.call("abort", {"upload": begun["upload"]})) == (503, "storage_unavailable")
    cloud.failing.clear()
    browser.ok("abort", {"upload": begun["upload"]})
    assert not cloud.opened


@pytest.mark.parametrize("call", ["parts", "finish"])
def test_upload_that_was_given_up_goes_no_further(browser, call):
    begun = browser.begun(BODY, accepts=["multipart"])
    browser.ok("abort", {"upload": begun["upload"]})
    said = {"upload": begun["upload"], **({"numbers": [1]} if call == "parts" else {})}
    assert code_of(browser.call(call, said)) == (410, "upload_aborted")


def test_parts_of_a_finished_upload_are_not_signed(browser):
    begun = browser.begun(BODY, accepts=["multipart"])
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    assert code_of(browser.call("parts", {"upload": begun["upload"], "numbers": [1]})) == (409, "state_conflict")


# The storage's troubles

SECRET = "AccessDenied: bucket secret-bucket, key AKIAEXAMPLE"


@pytest.mark.threat("T-17")
@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (ConnectionError(SECRET), (503, "storage_unavailable")),
        (TimeoutError(SECRET), (503, "storage_unavailable")),
        (PermissionError(SECRET), (502, "storage_error")),
        (OSError(SECRET), (502, "storage_error")),
        (ValueError(SECRET), (502, "storage_error")),
        (Refused(SECRET), (502, "storage_error")),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("kind", "hook", "call"),
    [
        ("put", "presign_upload", "begin"),
        ("multipart", "open_upload", "begin"),
        ("multipart", "presign_part", "parts"),
        ("multipart", "received_parts", "status"),
        ("put", "stat", "status"),
        ("multipart", "received_parts", "finish"),
        ("multipart", "close_upload", "finish"),
        ("put", "stat", "finish"),
        ("post", "copy", "finish"),
        ("put", "open_range", "finish"),
        ("multipart", "abandon_upload", "abort"),
        ("put", "delete", "abort"),
    ],
)
def test_what_a_storage_raises_is_a_code_and_says_nothing_of_it(
    browser, cloud, kind, hook, call, error, refusal, caplog
):
    slot = browser.slot()
    begun = browser.begun(BODY, accepts=[kind], slot=slot)
    if call == "finish":
        browser.send(begun, BODY)
    cloud.failing[hook] = error
    if call == "begin":
        response = browser.begin(BODY, accepts=[kind], slot=slot)
        # Where there may be something at the service, the sweep has to know of it.
        assert Upload.objects.count() == 1 + (kind == "multipart" and refusal[0] == 503)
        assert Upload.objects.exclude(state=State.ABORTED).count() == 1
    else:
        said = {"upload": begun["upload"], **({"numbers": [1]} if call == "parts" else {})}
        response = browser.call(call, said)
    assert code_of(response) == refusal
    assert response.json()["error"]["retryable"] is True
    assert b"secret-bucket" not in response.content
    (record,) = [record for record in caplog.records if record.name == "storages.uploads"]
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error or error in (record.exc_info[1].__cause__, record.exc_info[1].__context__)
    cloud.failing.clear()
    if call == "finish":  # nothing that was acknowledged is lost
        browser.ok("finish", {"upload": begun["upload"]})


@pytest.mark.threat("T-37")
@pytest.mark.parametrize("kind", ALL)
def test_no_token_and_no_signature_is_logged(browser, cloud, kind, caplog, settings, tmp_path):
    settings.UPLOADS_SPOOL = tmp_path
    caplog.set_level(logging.DEBUG)
    slot = browser.slot()
    begun = browser.begun(BODY, accepts=[kind], slot=slot)
    cloud.failing["received_parts"] = cloud.failing["stat"] = ConnectionError("no answer")
    browser.call("status", {"upload": begun["upload"]})
    browser.call("finish", {"upload": begun["upload"]})
    cloud.failing.clear()
    browser.send(begun, BODY)
    done = browser.ok("finish", {"upload": begun["upload"]})
    for secret in (slot, begun["upload"], done["token"], *cloud.opened, "https://cloud.example"):
        assert secret not in caplog.text


@pytest.mark.parametrize("zones", [True, False])
def test_times_are_told_in_utc(browser, settings, zones):
    settings.USE_TZ = zones
    settings.TIME_ZONE = "Asia/Tokyo"
    begun = browser.begun(BODY, accepts=["multipart"])
    (part,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [1]})["parts"]
    now = datetime.datetime.now(datetime.timezone.utc)
    for text, seconds in [(begun["expires"], 24 * 3600), (part["expires"], 300)]:
        moment = datetime.datetime.fromisoformat(text)
        assert moment.utcoffset() == datetime.timedelta(0)
        assert (moment - now).total_seconds() == pytest.approx(seconds, abs=20)


@pytest.mark.threat("T-30")
def test_row_of_a_user_who_is_gone_is_nobodys_and_stays_for_the_sweep(browser, cloud, anna):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    anna.delete()
    row = row_of(begun)
    assert (row.user, row.session) == (None, "")
    for client in (browser, Browser()):
        assert code_of(client.call("finish", {"upload": begun["upload"]})) == (404, "upload_not_found")
    protocol.discard(row)
    assert not cloud.client


# Signals


def test_signals_tell_what_happens(browser, cloud):
    told: list[tuple[str, str]] = []

    def receiver(name):
        def receive(sender, upload, request=None, **more):
            assert sender is Upload
            told.append((name, more.get("code", "")))

        return receive

    names = ["upload_begun", "upload_finished", "upload_aborted", "upload_rejected"]
    receivers = {name: receiver(name) for name in names}
    for name, receive in receivers.items():
        getattr(signals, name).connect(receive)
    try:
        browser.upload(BODY, accepts=["put"])
        begun = browser.begun(BODY, accepts=["link"])
        browser.ok("abort", {"upload": begun["upload"]})
        browser.ok("abort", {"upload": begun["upload"]})
        begun = browser.begun(BODY, accepts=["link"])
        browser.send(begun, b"less")
        browser.call("finish", {"upload": begun["upload"]})
    finally:
        for name, receive in receivers.items():
            getattr(signals, name).disconnect(receive)
    begins = ("upload_begun", "")
    assert told == [
        *(begins, ("upload_finished", ""), begins, ("upload_aborted", ""), begins),
        ("upload_rejected", "size_mismatch"),
    ]
