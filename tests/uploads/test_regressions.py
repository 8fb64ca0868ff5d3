"""Faults that there once were, and what a change of one line could undo unseen."""

from __future__ import annotations

import datetime
import io
import os
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone

from storages.uploads import audience, claims, protocol, scanning, views
from storages.uploads.errors import UploadError
from storages.uploads.fields import S3File, UploadedDirectly
from storages.uploads.models import State, Upload
from storages.uploads.sweep import sweep
from storages.uploads.testing.storage import FakeS3Storage
from tests.uploads.conftest import FIELD, Browser, code_of, row_of
from tests.uploads.files import finished
from tests.uploads.form_models import Enclosure, Letter, nameless, paper
from tests.uploads.models import Clip, Note, proxied
from tests.uploads.seed_site.models import Report

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.uploads.urls")]

DAY = 24 * 3600
NOTE = "tests_uploads.Note.file"


@pytest.fixture(autouse=True)
def _empty(settings: Any, tmp_path: Any) -> Any:
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    kept = (paper.client, nameless.client, proxied.client)
    yield
    for client in kept:
        client.clear()


# Names that say one type and are stored as another


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(
    ("filename", "content_type", "field"),
    [
        ("data:,page.html", "text/plain", ["text/plain"]),
        ("data:,logo.svg", "text/plain", ["text/plain"]),
        ("logo.svgz", "image/x-of-nobody", ["image/*"]),
        ("page.xhtml", "image/x-of-nobody", ["image/*"]),
        ("page.txt", "text/jscript", ["text/*"]),
        ("page.ofnobody", "image/of-nobody+xml", ["image/*"]),
    ],
)
def test_name_is_no_way_around_the_types_of_a_field(browser, cloud, monkeypatch, filename, content_type, field):
    monkeypatch.setattr(Clip._meta.get_field("file"), "content_types", tuple(field))
    response = browser.begin(b"<x", filename=filename, content_type=content_type)
    assert code_of(response) == (415, "type_not_allowed")


# Bodies


def test_no_answer_is_stored_not_even_an_empty_one(browser, cloud):
    response = browser.call("abort", {"upload": browser.begun(accepts=["put"])["upload"]})
    assert (response.status_code, response["Cache-Control"]) == (204, "no-store")


class Unread(io.RawIOBase):
    def read(self, *args: Any) -> bytes:
        raise AssertionError("it was read")


@pytest.mark.parametrize("length", [str(64 * 1024 + 1), "9" * 30])
@pytest.mark.parametrize("path", ["begin/", "finish/"])
def test_long_body_is_refused_before_it_is_in_memory(anna, settings, path, length):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    told = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": length}
    request = RequestFactory().generic("POST", f"/uploads/{path}", **told)
    request._stream = Unread()
    request._dont_enforce_csrf_checks = True
    assert code_of(_json(views.BeginView.as_view()(request))) == (400, "bad_request")


def _json(response: Any) -> Any:
    import json

    response.json = lambda: json.loads(response.content)
    return response


@pytest.mark.threat("T-25")
def test_sum_of_what_is_announced_is_a_number_to_every_database(browser, cloud, settings, monkeypatch):
    settings.UPLOADS_QUOTA = 10**6
    monkeypatch.setattr(Note._meta.get_field("file"), "max_size", None)
    assert browser.begin(b"x", NOTE).status_code == 201
    assert code_of(browser.begin(b"", NOTE, size=2**53 - 1)) == (429, "quota_exceeded")
    assert code_of(browser.begin(b"", NOTE, size=2**53)) == (400, "bad_request")


# Two at once


def test_finish_that_waited_for_its_turn_answers_what_the_first_did(browser, cloud, monkeypatch):
    begun = browser.begun(b"the file", accepts=["post"])
    browser.send(begun, b"the file")
    answers, take_turn = [], Upload.take_turn

    def late(upload: Upload, seconds: int) -> bool:
        monkeypatch.setattr(Upload, "take_turn", take_turn)
        answers.append(browser.ok("finish", {"upload": begun["upload"]}))
        return take_turn(upload, seconds)

    monkeypatch.setattr(Upload, "take_turn", late)
    assert [browser.ok("finish", {"upload": begun["upload"]})] == answers
    assert cloud.calls.count("copy") == 1


@pytest.mark.threat("T-31")
def test_taken_file_is_discarded_by_nobody(browser, cloud):
    row = row_of(browser.upload(b"the file", accepts=["put"]))
    claims.take(row)
    with pytest.raises(UploadError, match="already_claimed"):
        protocol.discard(row)
    assert {*cloud.client} == {row.name}


# Scanners


@pytest.mark.threat("T-29")
@pytest.mark.parametrize("verdict", [0, 1, "", "OK", [], ["EICAR"]], ids=repr)
def test_verdict_that_is_none_of_three_is_no_verdict(verdict):
    with pytest.raises(UploadError, match="scanner_unavailable"):
        scanning.scan(lambda upload, file: verdict, Upload(), io.BytesIO())


# What a service was asked for, and nobody wrote down


def test_upload_in_parts_that_could_not_be_noted_is_given_up(browser, cloud, monkeypatch):
    slot = browser.slot()
    monkeypatch.setattr("storages.uploads.sealing.seal", lambda kind, state: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        browser.begin(b"some bytes", accepts=["multipart"], slot=slot)
    assert (cloud.opened, Upload.objects.count()) == ({}, 0)


# The sweep


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("zones", [True, False])
def test_orphans_go_whether_the_project_has_time_zones_or_not(cloud, clock, settings, zones):
    settings.USE_TZ = zones
    cloud.save("uploads-staging/old", ContentFile(b"1"))
    clock.forward(2 * DAY)
    report = sweep()
    assert (report.problems, report.orphans, cloud.client) == ([], 1, {})


@pytest.mark.threat("T-30")
def test_copied_original_of_a_taken_file_is_an_orphan(cloud, clock):
    row = {"field": FIELD, "kind": "post", "size": 1, "state": State.CLAIMED, "expires": timezone.now()}
    Upload.objects.create(name="clips/a", staging="uploads-staging/a", **row)
    for name in ("clips/a", "uploads-staging/a"):
        cloud.put(name, b"1", None)
    clock.forward(2 * DAY)
    assert (sweep().orphans, {*cloud.client}) == (1, {"clips/a"})


@pytest.mark.threat("T-30")
@pytest.mark.parametrize(("days", "left"), [(6, 1), (9, 0)])
def test_session_that_was_sealed_with_a_key_that_is_gone_is_waited_for(cloud, clock, days, left):
    row = {"field": FIELD, "kind": "resumable", "size": 8, "expires": timezone.now(), "secret": "of another key"}
    Upload.objects.create(name="clips/a", **row)
    clock.forward(days * DAY)
    report = sweep()
    assert (len(report.problems), Upload.objects.count()) == (left, left)


def test_misconfigured_storage_that_nobody_uploads_to_is_no_obstacle(cloud, settings, clock):
    settings.STORAGES = {
        "aside": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"no_such": 1}},
        **settings.STORAGES,
    }
    cloud.put("uploads-staging/old", b"", None)
    clock.forward(2 * DAY)
    assert (sweep().problems, cloud.client) == ([], {})


@pytest.mark.threat("T-30")
def test_fake_s3_is_swept(cloud, tmp_path, monkeypatch):
    fake = FakeS3Storage(tmp_path / "fake")
    monkeypatch.setattr(Clip._meta.get_field("file"), "storage", fake)
    monkeypatch.setattr(Clip._meta.get_field("cover"), "storage", fake)
    assert not sweep().problems
    for name in ("uploads-staging/old", "uploads-staging/new", "clips/old"):
        fake.put(name, io.BytesIO(b"1"))
    for name in ("uploads-staging/old", "clips/old"):
        os.utime(fake.path(name), (1, 1))
    report = sweep()
    assert (report.problems, report.orphans) == ([], 1)
    assert {entry.name for entry in fake.walk()} == {"uploads-staging/new", "clips/old"}


# Fields


@pytest.mark.threat("T-23")
@pytest.mark.parametrize("how", ["update", "bulk_update"])
def test_upload_that_is_not_claimed_is_not_written_under_its_clients_name(anna, how):
    row = Enclosure.objects.create(letter=Letter.objects.create(), file="old.png")
    upload = finished("tests_uploads.Enclosure.file", anna, filename="secrets.txt")
    file = UploadedDirectly(upload, nameless)
    with pytest.raises(ValueError, match=r"save\(\)"), transaction.atomic():
        if how == "update":
            Enclosure.objects.update(file=file)
        else:
            row.file = file
            Enclosure.objects.bulk_update([row], ["file"])
    row.refresh_from_db()
    assert row.file.name == "old.png"


def test_upload_is_claimed_by_bulk_create(anna):
    upload = finished("tests_uploads.Enclosure.file", anna)
    letter = Letter.objects.create()
    Enclosure.objects.bulk_create([Enclosure(letter=letter, file=UploadedDirectly(upload, nameless))])
    upload.refresh_from_db()
    assert (upload.state, Enclosure.objects.get().file.name) == (State.CLAIMED, upload.name)


@pytest.mark.threat("T-31")
@pytest.mark.parametrize("storage", ["the same", "another"])
def test_replaced_file_stays_if_a_row_of_another_field_has_it(anna, storage, monkeypatch, captured):
    upload = finished("tests_uploads.Enclosure.file", anna)
    if storage == "the same":
        monkeypatch.setattr(Letter._meta.get_field("scan"), "storage", nameless)
    letter = Letter.objects.create(scan=upload.name)
    row = Enclosure.objects.create(letter=letter, file=UploadedDirectly(upload, nameless))
    row.file = ""
    with captured(execute=True):
        row.save()
    assert (upload.name in nameless.client) == (storage == "the same")


@pytest.mark.threat("T-30")
def test_replaced_file_that_cannot_be_deleted_now_is_left_to_the_sweep(anna, captured, monkeypatch, caplog):
    upload = finished("tests_uploads.Enclosure.file", anna, kind="put")
    row = Enclosure.objects.create(letter=Letter.objects.create(), file=UploadedDirectly(upload, nameless))
    row.file = ""
    with monkeypatch.context() as patched, captured(execute=True):
        patched.setattr(nameless, "_delete", down)
        row.save()
    assert (set(nameless.client), "no answer" in caplog.text) == ({upload.name}, True)
    report = sweep(now=timezone.now() + datetime.timedelta(days=1))
    assert (report.problems, nameless.client, Upload.objects.count()) == ([], {}, 0)


def down(name: str) -> None:
    raise ConnectionError("no answer")


@pytest.mark.threat("T-31")
def test_upload_that_nobody_has_taken_is_not_deleted_with_a_row_of_its_name(anna, captured):
    upload = finished("tests_uploads.Enclosure.file", anna)
    row = Enclosure.objects.create(letter=Letter.objects.create(), file=upload.name)
    row.file = ""
    with captured(execute=True):
        row.save()
    assert {*nameless.client} == {upload.name}


@pytest.mark.threat("T-31")
def test_copy_of_a_row_that_gets_another_file_leaves_the_first_its_own(anna, captured):
    upload = finished("tests_uploads.Enclosure.file", anna)
    row = Enclosure.objects.create(letter=Letter.objects.create(), file=UploadedDirectly(upload, nameless))
    copied = Enclosure.objects.get(pk=row.pk)
    copied.pk = None
    with captured(execute=True):
        copied.save()
        copied.file = UploadedDirectly(finished("tests_uploads.Enclosure.file", anna), nameless)
        copied.save()
    assert {row.file.name, copied.file.name} == set(nameless.client)


@pytest.mark.threat("T-31")
def test_file_that_a_row_still_has_in_another_database_is_not_deleted(anna, captured):
    upload = finished("tests_uploads.Enclosure.file", anna)
    row = Enclosure.objects.create(letter=Letter.objects.create(), file=UploadedDirectly(upload, nameless))
    field = Enclosure._meta.get_field("file")
    row.file = ""
    field.pre_save(row, add=False)
    with captured(execute=True) as callbacks:
        field._after_save(row, using="of another place")
    assert (callbacks, upload.name in nameless.client) == ([], True)


@pytest.mark.threat("T-37")
def test_token_that_was_posted_is_in_no_message():
    file = S3File("storages-upload:the-token", Report._meta.get_field("file"))
    file.posted = True
    with pytest.raises(SuspiciousFileOperation) as error:
        file.open()
    assert "the-token" not in f"{file!r} {error.value!r}"


# Who it is, between begin and finish


@pytest.mark.threat("T-19")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("out and in again", 200),
        ("another password", 200),
        ("out", 404),
        ("another user", 404),
        ("no longer active", 404),
    ],
)
def test_upload_is_its_users_whichever_session(browser, cloud, anna, ben, change, status):
    begun = browser.begun(b"the file", accepts=["put"])
    browser.send(begun, b"the file")
    if change == "another password":
        anna.set_password("another")
        anna.save()
    elif change == "no longer active":
        type(anna).objects.update(is_active=False)
    else:
        browser.http.logout()
    if change != "out" and change != "no longer active":
        browser.http.force_login(ben if change == "another user" else anna)
    assert browser.call("finish", {"upload": begun["upload"]}).status_code == status
    assert row_of(begun).state == (State.FINISHED if status == 200 else State.BEGUN)


@pytest.mark.threat("T-19")
def test_upload_of_a_session_ends_for_who_logs_in(cloud, anna, settings):
    settings.UPLOADS_PERMISSION = "storages.uploads.permissions.allow_anybody"
    nobody = Browser()
    begun = nobody.begun(b"the file", accepts=["put"])
    nobody.send(begun, b"the file")
    nobody.http.force_login(anna)
    for call in ("status", "finish", "abort"):
        assert code_of(nobody.call(call, {"upload": begun["upload"]})) == (404, "upload_not_found")
    assert row_of(begun).state == State.BEGUN


@pytest.fixture
def captured(django_capture_on_commit_callbacks: Any) -> Any:
    return django_capture_on_commit_callbacks


def asking(user: Any, session: Any) -> Any:
    request = RequestFactory().get("/")
    request.user, request.session = user, session
    return request


@pytest.mark.threat("T-19")
@pytest.mark.parametrize(
    ("change", "is_it"),
    [("none", True), ("another", False), ("logged in", False), ("session over", False), ("new key", True)],
)
def test_session_is_asked_for_as_long_as_it_lives(anna, settings, change, is_it):
    session = SessionStore()
    session.create()
    said = audience.of(asking(AnonymousUser(), session))
    if change == "another":
        session = SessionStore()
        session.create()
    if change == "session over":
        SessionStore(session.session_key).delete()
    if change == "new key":
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    request = asking(anna if change == "logged in" else AnonymousUser(), SessionStore(session.session_key))
    assert audience.is_it(request, *said) is is_it


@pytest.mark.threat("T-18")
def test_user_who_is_not_active_is_nobody_whichever_backend_lets_in(anna):
    anna.is_active = False
    assert audience.active_user(asking(anna, SessionStore())) is None
