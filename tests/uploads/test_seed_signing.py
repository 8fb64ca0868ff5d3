"""POST /s3/signed-url/: who gets a form signed, for which key, and what it says."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from storages.uploads.models import State, Upload
from tests.uploads.seed_fixtures import *  # noqa: F403
from tests.uploads.seed_fixtures import BACKEND, STATIC, Browser
from tests.uploads.seed_site.models import Picture

pytestmark = pytest.mark.django_db

SIGNED = {"key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"}


def conditions(form):
    return json.loads(base64.b64decode(form["fields"]["policy"]))["conditions"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", None])
def test_name_comes_in_json_or_a_form(somebody, kind):
    body = {"key": "file.txt"}
    answer = somebody.post("/s3/signed-url/", *[json.dumps(body), kind] if kind else [body])
    assert answer.status_code == 200
    assert answer.json().keys() == {"url", "fields"}
    assert answer.json()["fields"].keys() >= SIGNED


def test_answer_is_kept_by_no_cache(somebody):
    assert somebody.sign("file.txt")["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "body", ['{"key": ""}', "{}", "", "[]", "null", '{"key": 1}', "not json", '{"key": null}', "[" * 9]
)
def test_name_is_required(somebody, body):
    answer = somebody.post("/s3/signed-url/", body, content_type="application/json")
    assert (answer.status_code, answer.json()) == (400, {"key": "'key' is required"})


def test_form_without_a_name_is_told_so(somebody):
    answer = somebody.post("/s3/signed-url/", {})
    assert (answer.status_code, answer.json()) == (400, {"key": "'key' is required"})


def test_storage_that_signs_nothing_is_not_found(somebody, settings):
    settings.STORAGES = {"default": {"BACKEND": "storages.backends.memory.MemoryStorage"}, "staticfiles": STATIC}
    answer = somebody.sign("file.txt")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not found"})


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_posts_are_answered(somebody, method):
    assert getattr(somebody, method)("/s3/signed-url/").status_code == 405


@pytest.mark.seed("S3")
@pytest.mark.threat("T-18")
def test_nobody_signs_without_a_login(people):
    answer = Browser().sign("file.txt")
    assert (answer.status_code, answer.json()) == (403, {"error": "You may not upload this file."})
    assert Upload.objects.count() == 0


@pytest.mark.seed("S3")
@pytest.mark.parametrize("permission", [None, "storages.uploads.permissions.allow_staff", lambda request, field: False])
def test_permission_is_asked(somebody, settings, permission):
    settings.UPLOADS_PERMISSION = permission
    assert somebody.sign("file.txt").status_code == 403


@pytest.mark.threat("T-32")
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_page_of_another_site_signs_nothing(people, somebody, kind):
    client = Client(enforce_csrf_checks=True)
    client.cookies = somebody.cookies
    body = '{"key": "file.txt"}' if kind == "application/json" else "key=file.txt"
    assert client.post("/s3/signed-url/", body, content_type=kind).status_code == 403
    assert Upload.objects.count() == 0


def test_old_open_behaviour_can_be_had(people, settings):
    settings.UPLOADS_S3_OPEN = True
    assert Browser().sign("file.txt").status_code == 200


def test_open_behaviour_is_warned_of(settings):
    from storages.uploads.s3_checks import check_open

    assert list(check_open()) == []
    settings.UPLOADS_S3_OPEN = True
    assert [message.id for message in check_open()] == ["storages_uploads.W032"]


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ("file.txt", r"[A-Za-z0-9]{24}\.txt"),
        ("reports/file.txt", r"reports/[A-Za-z0-9]{24}\.txt"),
        ("/file.txt", r"[A-Za-z0-9]{24}\.txt"),
        ("README", r"[A-Za-z0-9]{24}"),
        ("a.tar.gz", r"[A-Za-z0-9]{24}\.gz"),
        ("evil.php", r"[A-Za-z0-9]{24}"),
        ("pictures/A.PNG", r"pictures/[A-Za-z0-9]{24}\.png"),
    ],
)
@pytest.mark.seed("S3")
def test_server_makes_the_key(somebody, asked, pattern):
    first, second = (somebody.sign(asked).json()["fields"]["key"] for _ in range(2))
    assert re.fullmatch(pattern, first)
    assert first != second


@pytest.mark.seed("S3")
@pytest.mark.parametrize(
    "key",
    [
        *(
            "secret/file.txt",
            "reports/sub/file.txt",
            "../file.txt",
            "reports/../secret/a.txt",
            "a//b.txt",
            "reports\\a.txt",
        ),
        *("reports/", "a\x00.txt", "a\n.txt", "..", "./a.txt"),
    ],
)
def test_directory_has_to_be_one_of_ours(somebody, key):
    answer = somebody.sign(key)
    assert (answer.status_code, list(answer.json())) == (400, ["key"])
    assert Upload.objects.count() == 0


def test_directories_may_be_named(somebody, settings):
    settings.UPLOADS_S3_DIRECTORIES = ["api/files"]
    assert somebody.sign("api/files/a.txt").status_code == 200
    assert somebody.sign("a.txt").status_code == 400


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        ("reports/my file.txt", "my_file.txt"),
        ("pictures/${filename}.png", "filename.png"),
        ("pictures/???.png", "file.png"),
        ("pictures/..hidden.png", "hidden.png"),
        ("pictures/ångström.png", "ångström.png"),
    ],
)
def test_name_of_the_client_may_be_kept(somebody, settings, asked, ending):
    settings.UPLOADS_S3_KEEP_NAMES = True
    directory = asked.partition("/")[0]
    key = somebody.sign(asked).json()["fields"]["key"]
    assert re.fullmatch(rf"{directory}/[A-Za-z0-9]{{24}}/{re.escape(ending)}", key)


@pytest.mark.parametrize("letter", ["a", "ä", "漢", "😀"])
def test_url_of_a_kept_name_fits_the_field(somebody, settings, letter):
    settings.UPLOADS_S3_KEEP_NAMES = True
    key = somebody.sign(f"reports/{letter * 200}.txt").json()["fields"]["key"]
    assert 4 < len(quote(key.rpartition("/")[2])) <= 100 + len(".txt")


@pytest.mark.seed("S13")
def test_policy_has_key_type_and_length(somebody, settings):
    settings.AWS = {"MAX_FILE_SIZE": 1000}
    form = somebody.sign("reports/a.txt").json()
    found = conditions(form)
    assert {"key": form["fields"]["key"]} in found
    assert {"Content-Type": "text/plain"} in found
    assert ["content-length-range", 1, 1000] in found


@pytest.mark.seed("S13")
@pytest.mark.parametrize("name", ["a.exe", "a.html", "a", "a.svg"])
def test_type_that_the_field_does_not_take_is_refused(somebody, name):
    assert somebody.sign(f"reports/{name}").status_code == 400


def test_type_is_free_where_one_field_of_the_directory_takes_any(somebody, monkeypatch):
    assert somebody.sign("reports/a.pdf").status_code == 400
    monkeypatch.setattr(Picture._meta.get_field("file"), "upload_to", "reports")
    assert somebody.sign("reports/a.pdf").status_code == 200


def test_type_may_be_looked_up_by_extension(somebody, settings):
    settings.MIME_LOOKUPS = {"gpx": "application/gpx+xml"}
    assert somebody.sign("a.gpx").json()["fields"]["Content-Type"] == "application/gpx+xml"


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.js", "a.xhtml"])
def test_what_browsers_run_is_signed_as_bytes(somebody, name):
    assert somebody.sign(name).json()["fields"]["Content-Type"] == "application/octet-stream"


def test_header_has_a_token_that_gives_the_upload_up(somebody):
    answer = somebody.sign("reports/a.txt")
    somebody.send(answer.json(), b"content")
    token = {"upload": answer["Upload-Token"]}
    assert somebody.post("/uploads/abort/", token, content_type="application/json").status_code == 204
    assert Upload.objects.get().state == State.ABORTED
    assert not default_storage.exists(answer.json()["fields"]["key"])


def test_header_has_a_token_that_finishes_the_upload(somebody):
    answer = somebody.sign("reports/a.txt")
    somebody.send(answer.json(), b"content")
    token = {"upload": answer["Upload-Token"]}
    finished = somebody.post("/uploads/finish/", token, content_type="application/json")
    assert (finished.status_code, finished.json()["size"]) == (200, 7)


def test_nobody_elses_token_is_good_for_anything(somebody, other):
    token = {"upload": somebody.sign("reports/a.txt")["Upload-Token"]}
    assert other.post("/uploads/finish/", token, content_type="application/json").status_code == 404


def test_limits_hold_for_signed_forms_too(somebody, settings):
    settings.UPLOADS_MAX_OPEN = 1
    assert somebody.sign("a.txt").status_code == 200
    refused = somebody.sign("a.txt")
    assert (refused.status_code, "Retry-After" in refused) == (429, True)


def test_field_that_there_is_not_is_refused(somebody):
    assert somebody.sign("a.txt", field="seed_site.Report.name").status_code == 400


def test_upload_of_no_field_is_deleted_by_its_row(somebody):
    from storages.uploads import protocol

    somebody.upload("a.txt")
    upload = Upload.objects.get()
    assert (upload.field, default_storage.exists(upload.staging)) == ("", True)
    protocol.discard(upload)
    assert not default_storage.exists(upload.staging)


def test_default_storage_signs_for_no_field(somebody, settings, tmp_path):
    fake = {"BACKEND": BACKEND, "OPTIONS": {"dir": str(tmp_path / "another")}}
    settings.STORAGES = {"default": fake, "staticfiles": STATIC}
    somebody.upload("a.txt")
    assert default_storage.exists(Upload.objects.get().staging)
