"""The fake S3 answers as S3 does, and to nobody where it should not."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from storages.contract import ObjectChanged, UploadTerms
from storages.testing.harness import content_of
from storages.uploads.testing import policies
from storages.uploads.testing.storage import FakeS3Storage, S3FakeStorage
from tests.uploads.seed_fixtures import *  # noqa: F403
from tests.uploads.seed_fixtures import Browser

pytestmark = pytest.mark.django_db

FORM = {"key": "reports/a.txt"}


@pytest.fixture
def form(somebody):
    return somebody.sign("reports/a.txt").json()


def test_uploaded_file_is_in_the_storage(somebody, form):
    answer = somebody.send(form, b"content")
    assert (answer.status_code, answer.content) == (204, b"")
    assert content_of(default_storage, form["fields"]["key"]) == b"content"


@pytest.mark.parametrize("path", ["/media/s3/uploads", "/media/s3/uploads/"])
def test_it_is_there_with_and_without_the_slash(somebody, form, path):
    assert somebody.send({**form, "url": path}, b"content").status_code == 204


def test_client_without_a_token_of_csrf_may_send_what_is_signed(somebody, form):
    assert Browser(enforce_csrf_checks=True).send(form, b"content").status_code == 204


def test_only_posts_are_answered(somebody):
    assert somebody.get("/media/s3/uploads/").status_code == 405


def test_too_large_a_file_is_answered_as_s3_does(somebody, settings):
    settings.AWS = {"MAX_FILE_SIZE": 5}
    form = somebody.sign("reports/a.txt").json()
    answer = somebody.send(form, b"123456")
    text = answer.content.decode()
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/xml")
    found = re.findall(r"<(Code|MaxSizeAllowed|ProposedSize)>(\w+)</", text)
    assert found == [("Code", "EntityTooLarge"), ("ProposedSize", "6"), ("MaxSizeAllowed", "5")]
    assert default_storage.listdir("") == ([], [])
    assert somebody.send(form, b"12345").status_code == 204


def forged(fields, **said):
    policy = json.loads(base64.b64decode(fields["policy"]))
    return base64.b64encode(json.dumps({**policy, **said}).encode()).decode()


TAMPERED = {
    "another key": lambda fields: {"key": "reports/another.txt"},
    "a key outside": lambda fields: {"key": "../../../evil.py"},
    "an absolute key": lambda fields: {"key": "/tmp/evil.py"},
    "another type": lambda fields: {"Content-Type": "text/html"},
    "another signature": lambda fields: {"x-amz-signature": "0" * 64},
    "another credential": lambda fields: {"x-amz-credential": "FAKE/20200101/local/s3/aws4_request"},
    "a credential of no day": lambda fields: {"x-amz-credential": "nobody"},
    "another date": lambda fields: {"x-amz-date": "20200101T000000Z"},
    "another algorithm": lambda fields: {"x-amz-algorithm": "none"},
    "a policy of one's own": lambda fields: {"policy": forged(fields, conditions=[])},
    "a longer life": lambda fields: {"policy": forged(fields, expiration="2999-01-01T00:00:00Z")},
    "a policy that is none": lambda fields: {"policy": "?"},
    "one more field": lambda fields: {"acl": "public-read"},
    "a field of no letter case": lambda fields: {"KEY": "reports/another.txt"},
}


@pytest.mark.threat("T-39")
@pytest.mark.seed("S1")
@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_tampered_form_is_refused(somebody, form, tamper):
    answer = somebody.send(form, b"content", **tamper(form["fields"]))
    assert answer.status_code in (400, 403)
    assert b"<Code>" in answer.content
    assert default_storage.listdir("") == ([], [])


@pytest.mark.threat("T-39")
@pytest.mark.seed("S1")
@pytest.mark.parametrize("missing", ["key", "policy", "x-amz-signature", "x-amz-credential", "x-amz-algorithm"])
def test_form_without_a_field_is_refused(somebody, form, missing):
    del form["fields"][missing]
    assert somebody.send(form, b"content").status_code in (400, 403)
    assert default_storage.listdir("") == ([], [])


def test_form_without_a_file_is_refused(somebody, form):
    assert somebody.post(form["url"], form["fields"]).status_code == 400


def test_empty_file_is_refused(somebody, form):
    assert b"EntityTooSmall" in somebody.send(form, b"").content


@pytest.mark.parametrize("zones", [True, False])
def test_form_ends_with_its_policy(somebody, form, monkeypatch, settings, zones):
    settings.USE_TZ = zones
    assert somebody.send(form, b"content").status_code == 204
    later = timezone.now() + timezone.timedelta(seconds=301)
    monkeypatch.setattr(policies.timezone, "now", lambda: later)
    answer = somebody.send(form, b"content")
    assert (answer.status_code, b"Policy expired" in answer.content) == (403, True)


@pytest.mark.threat("T-39")
@pytest.mark.seed("S1")
@pytest.mark.parametrize("path", ["/media/s3/uploads", "/media/s3/uploads/"])
@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
def test_fake_is_not_there_in_production(people, settings, path, method):
    settings.UPLOADS_FAKE, settings.DEBUG = None, False
    assert getattr(Client(), method)(path).status_code == 404


@pytest.mark.threat("T-39")
def test_signed_form_is_not_taken_in_production(somebody, form, settings):
    settings.UPLOADS_FAKE, settings.DEBUG = None, False
    assert somebody.send(form, b"content").status_code == 404
    assert default_storage.listdir("") == ([], [])


def test_fake_answers_in_development(somebody, form, settings):
    settings.UPLOADS_FAKE, settings.DEBUG = None, True
    assert somebody.send(form, b"content").status_code == 204


def ids():
    return {message.id for message in run_checks(tags=["storages_uploads"])} & {f"storages_uploads.{n}" for n in FAKE}


FAKE = ("W032", "E008", "E035")


@pytest.mark.threat("T-39")
@pytest.mark.parametrize(
    ("debug", "fake", "found"), [(True, None, []), (False, True, ["E008"]), (False, None, ["E008", "E035"])]
)
def test_check_tells_of_a_fake_in_production(people, settings, debug, fake, found):
    settings.DEBUG, settings.UPLOADS_FAKE = debug, fake
    assert ids() == {f"storages_uploads.{number}" for number in found}


def test_no_check_is_about_a_project_without_it(settings):
    settings.ROOT_URLCONF = "tests.private.urls"
    assert ids() == set()


@pytest.mark.seed("S1")
@pytest.mark.parametrize("key", ["../evil.py", "a/../../evil.py", "/etc/evil.py"])
def test_storage_writes_nothing_outside_of_its_directory(fake_s3, key):
    with pytest.raises(SuspiciousFileOperation):
        fake_s3.put(key, ContentFile(b"content"))
    with pytest.raises(SuspiciousFileOperation):
        fake_s3.get_signed_url(key)


@pytest.mark.seed("S1")
def test_link_out_of_the_directory_is_not_followed(fake_s3, tmp_path):
    (tmp_path / "outside").mkdir()
    Path(fake_s3.location, "inside").symlink_to(tmp_path / "outside")
    with pytest.raises(SuspiciousFileOperation):
        fake_s3.put("inside/evil.py", ContentFile(b"content"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_fields_of_the_protocol_are_uploaded_to_it_too(people, fake_s3):
    terms = UploadTerms(7, "text/plain", 60)
    signed = fake_s3.presign_upload("a.txt", "post", terms)
    form = {"url": signed.url, "fields": dict(signed.fields)}
    assert Browser().send(form, b"too long").status_code == 400
    assert Browser().send(form, b"content").status_code == 204
    with fake_s3.open_range("a.txt", 1, 3, fake_s3.stat("a.txt").etag) as body:
        assert body.read() == b"on"
    with pytest.raises(ObjectChanged):
        fake_s3.open_range("a.txt", 0, 1, "another")
    with pytest.raises(ValueError, match="post"):
        fake_s3.presign_upload("a.txt", "put", terms)


def test_both_spellings_name_one_storage():
    assert S3FakeStorage is FakeS3Storage


def test_directory_may_be_given(tmp_path):
    storage = FakeS3Storage(dir=str(tmp_path))
    name = storage.save("a.txt", ContentFile(b"content"))
    assert (tmp_path / "a.txt").read_bytes() == content_of(storage, name) == b"content"
    assert storage.exists(name)
    storage.delete(name)
    assert not storage.exists(name)


def test_default_directory_is_below_the_media(fake_s3, settings):
    assert fake_s3.location == str(Path(settings.MEDIA_ROOT, "s3", "uploads"))


def test_signing_it_answers_url_and_fields(fake_s3):
    form = fake_s3.get_signed_url("a/b.txt")
    assert form.keys() == {"url", "fields"}
    assert (form["url"], form["fields"]["key"]) == ("/media/s3/uploads/", "a/b.txt")


def test_fixtures_make_files(create_file, fake_s3):
    create_file("a/b.txt", b"content")
    assert content_of(fake_s3, "a/b.txt") == b"content"


def test_a_storage_of_the_name_of_the_old_module_is_not_needed_for_urls(people):
    assert default_storage.url("a b.txt") == "/media/s3/uploads/a%20b.txt"
