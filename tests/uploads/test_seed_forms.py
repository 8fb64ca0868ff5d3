"""What a form or an API client says of a file: only what was signed for it, and is there."""

from __future__ import annotations

import contextlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.db.models.signals import post_save
from rest_framework import serializers

from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from storages.uploads.serializers import S3Field
from storages.uploads.widgets import S3FileUploadWidget
from tests.uploads.seed_fixtures import *  # noqa: F403
from tests.uploads.seed_site.models import Loose, Report
from tests.uploads.seed_site.urls import ReportForm

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def post(browser, file, pk=None, **said):
    return browser.post(f"/reports/{f'{pk}/' if pk else ''}", {"name": "x", "file": file, **said})


def test_form_takes_what_was_uploaded(somebody):
    answer = post(somebody, somebody.upload("reports/a.txt"))
    assert answer.status_code == 200
    with Report.objects.get().file.open() as file:
        assert file.read() == b"some text"
    assert Upload.objects.get().state == State.CLAIMED


@pytest.mark.threat("T-25")
def test_saved_file_is_none_that_the_signed_form_can_replace(somebody):
    form = somebody.sign("reports/a.txt").json()
    somebody.send(form, b"looked at")
    post(somebody, form["url"] + form["fields"]["key"])
    assert somebody.send(form, b"<html>swapped").status_code == 204
    with Report.objects.get().file.open() as file:
        assert file.read() == b"looked at"


def test_form_can_be_sent_again_after_an_error(somebody):
    url = somebody.upload("reports/a.txt")
    assert post(somebody, url, name="x" * 21).status_code == 400
    assert post(somebody, url).status_code == 200
    assert Report.objects.get().file


@pytest.mark.threat("T-21")
def test_form_can_be_sent_again_after_a_transaction_that_came_to_nothing(somebody, monkeypatch, settings):
    """What was uploaded has been copied by then, and what it was copied from is gone."""
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    url = somebody.upload("reports/a.txt")
    with receiving_error(post_save), pytest.raises(RuntimeError):
        post(somebody, url)
    assert (Report.objects.count(), Upload.objects.get().state) == (0, State.BEGUN)
    assert post(somebody, url).status_code == 200
    with Report.objects.get().file.open() as file:
        assert file.read() == b"some text"


@contextlib.contextmanager
def receiving_error(signal):
    """Have every save of a report fail once its row is there."""

    def fail(**sent):
        raise RuntimeError("after the row")

    signal.connect(fail, sender=Report, weak=False)
    try:
        yield
    finally:
        signal.disconnect(fail, sender=Report)


def test_form_takes_a_file_once(somebody):
    url = somebody.upload("reports/a.txt")
    assert post(somebody, url).status_code == 200
    assert post(somebody, url).status_code == 400


def test_unchanged_url_is_no_claim(somebody):
    saved = post(somebody, somebody.upload("reports/a.txt")).json()
    assert post(somebody, saved["url"], saved["pk"], name="y").json() == saved
    assert Report.objects.get().name == "y"


def test_form_may_post_the_token(somebody):
    answer = somebody.sign("reports/a.txt")
    somebody.send(answer.json(), b"some text")
    assert post(somebody, f"storages-upload:{answer['Upload-Token']}").status_code == 200


def test_cleared_file_is_deleted(somebody):
    saved = post(somebody, somebody.upload("reports/a.txt")).json()
    assert post(somebody, "", saved["pk"]).status_code == 200
    assert not Report.objects.get().file
    assert default_storage.listdir("reports") == ([], [])


def test_replaced_file_is_deleted(somebody):
    saved = post(somebody, somebody.upload("reports/a.txt")).json()
    post(somebody, somebody.upload("reports/b.txt", b"second"), saved["pk"])
    assert len(default_storage.listdir("reports")[1]) == 1
    with Report.objects.get().file.open() as file:
        assert file.read() == b"second"


@pytest.mark.seed("S4")
@pytest.mark.threat("T-31")
def test_file_of_another_user_is_neither_taken_nor_deleted(somebody, other):
    victims = post(other, other.upload("reports/a.txt")).json()
    mine = post(somebody, somebody.upload("reports/b.txt")).json()
    assert post(somebody, victims["url"], mine["pk"]).status_code == 400
    assert post(somebody, "", mine["pk"]).status_code == 200
    with Report.objects.get(pk=victims["pk"]).file.open() as file:
        assert file.read() == b"some text"


@pytest.mark.seed("S4")
@pytest.mark.threat("T-31")
def test_upload_of_another_user_is_not_taken(somebody, other):
    url = other.upload("reports/a.txt")
    assert post(somebody, url).status_code == 400
    assert post(other, url).status_code == 200


@pytest.mark.seed("S4")
@pytest.mark.threat("T-31")
@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://example.com/a.txt",
            "/media/s3/uploads/reports/served.txt",
            "javascript:alert(1)",
            "x",
            "storages-upload:x",
        ),
        *("/media/s3/uploads/../../etc/passwd", "//example.com/media/s3/uploads/reports/served.txt"),
    ],
)
def test_posted_url_that_was_not_signed_is_refused(somebody, url):
    default_storage.save("reports/served.txt", ContentFile(b"of the server"))
    answer = post(somebody, url)
    assert answer.status_code == 400
    assert Report.objects.count() == 0
    assert default_storage.exists("reports/served.txt")


def test_url_before_the_upload_is_refused_and_then_taken(somebody):
    form = somebody.sign("reports/a.txt").json()
    url = form["url"] + form["fields"]["key"]
    assert post(somebody, url).status_code == 400
    somebody.send(form, b"some text")
    assert post(somebody, url).status_code == 200


@pytest.mark.seed("S13")
@pytest.mark.parametrize("content", [b"<html><script>alert(1)</script>", PNG, b"\x00\x01\x02binary"])
def test_file_that_is_not_what_its_name_says_is_refused(somebody, content):
    assert post(somebody, somebody.upload("reports/a.txt", content)).status_code == 400
    assert Upload.objects.get().state == State.REJECTED
    assert default_storage.listdir("reports")[1] == []


@pytest.mark.seed("S13")
def test_file_larger_than_the_field_takes_is_refused(somebody, settings):
    url = somebody.upload("reports/a.txt", b"123456")
    settings.AWS = {"MAX_FILE_SIZE": 5}
    assert post(somebody, url).status_code == 400


@pytest.mark.seed("S4")
def test_upload_to_another_directory_is_refused(somebody):
    assert post(somebody, somebody.upload("pictures/a.txt")).status_code == 400
    assert post(somebody, somebody.upload("a.txt")).status_code == 400


def test_field_may_be_said_when_it_is_signed(somebody):
    url = somebody.upload("whatever.txt", field="seed_site.Report.file")
    assert post(somebody, url).status_code == 200


def test_upload_can_be_for_a_field_with_dates(somebody):
    url = somebody.upload("whatever.txt", field="seed_site.Loose.dated")
    form = forms.modelform_factory(Loose, fields=["dated"])({"dated": url})
    assert not form.is_valid()  # nobody asks: there is no request
    assert Upload.objects.get().field == "seed_site.Loose.dated"


@pytest.mark.seed("S4")
def test_posted_url_is_neither_read_nor_deleted_without_being_looked_at(somebody, other):
    victims = post(other, other.upload("reports/a.txt")).json()
    form = ReportForm({"name": "x", "file": victims["url"]})
    form.full_clean()
    with pytest.raises(SuspiciousFileOperation):
        form.instance.file.open()
    form.instance.file.delete()
    with Report.objects.get().file.open() as file:
        assert file.read() == b"some text"


def test_admin_shows_the_widget():
    from django.contrib.admin import ModelAdmin, site

    field = ModelAdmin(Report, site).formfield_for_dbfield(Report._meta.get_field("file"), request=None)
    assert isinstance(field.widget, S3FileUploadWidget)


def test_posted_url_is_not_saved_without_being_looked_at(somebody):
    form = ReportForm({"name": "x", "file": "https://example.com/a.txt"})
    form.full_clean()
    with pytest.raises(UploadError):
        form.instance.save()


def test_name_of_the_client_is_kept_to_the_end(somebody, settings):
    settings.UPLOADS_S3_KEEP_NAMES = True
    saved = post(somebody, somebody.upload("reports/my file.txt")).json()
    assert re.fullmatch(r"/media/s3/uploads/reports/\w{24}/my_file\.txt", saved["url"])
    with Report.objects.get().file.open() as file:
        assert file.read() == b"some text"


# The widget


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, cls):
        return next(attrs for _, attrs in self.found if cls in attrs.get("class", "").split())


def test_form_renders_a_working_widget(somebody):
    html = somebody.get("/reports/").content.decode()
    tags = Tags(html)
    assert '<script type="module" src="/static/storages_uploads/s3.js"></script>' in html
    outer = tags.of("s3-buckets")
    assert outer["data-upload-to"] == "reports"
    assert outer["data-accepted-types"] == "text/plain,image/png"
    assert outer["data-sign-url"] == "/s3/signed-url/"
    assert outer["data-field"] == "seed_site.Report.file"
    assert tags.of("file-url") == {
        "class": "file-url", "type": "hidden", "id": "id_file", "name": "file", "value": ""
    }  # fmt: skip
    picker = tags.of("file-input")
    assert ("name" not in picker, picker["type"], picker["accept"]) == (True, "file", "text/plain,image/png")
    assert '<label for="id_file_file">' in html


def test_widget_shows_the_file(somebody):
    html = S3FileUploadWidget().render("file", "https://example.com/x/a%20b.txt")
    assert Tags(html).of("file-link")["href"] == "https://example.com/x/a%20b.txt"
    assert ">a b.txt</a>" in html
    assert "uploaded" in Tags(html).of("s3-buckets")["class"]


HOSTILE = ['x"><script>alert(1)</script>', "javascript:alert(1)", "'\"><img src=x onerror=alert(1)>", "//example.com/x"]
CUSTOM = '<p{settings}>{upload_to}|{accepted_types}|{name}|{element_id}|<a href="{link}">{file_name}</a>|{file_url}</p>'


@pytest.mark.seed("S8")
@pytest.mark.parametrize("html", [None, CUSTOM], ids=["template", "html="])
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_becomes_html(settings, value, html):
    settings.MIME_LOOKUPS = {"x": "</script><script>alert(1)</script>"}
    widget = S3FileUploadWidget(upload_to=value, accepted_types=[value], html=html)
    said = widget.render(value, value, {"id": value})
    tags = Tags(said)
    assert {tag for tag, _ in tags.found} <= {"div", "a", "button", "input", "span", "p"}
    assert not any(name.startswith("on") for _, attrs in tags.found for name in attrs)
    links = [attrs.get("href") or "" for tag, attrs in tags.found if tag == "a"]
    assert links == [""]


@pytest.mark.seed("S8")
def test_no_script_is_inline(somebody, settings):
    settings.MIME_LOOKUPS = {"gpx": "application/gpx+xml"}
    html = somebody.get("/reports/").content.decode()
    assert re.findall(r"<script[^>]*>", html) == ['<script type="module" src="/static/storages_uploads/s3.js">']
    assert json.loads(Tags(html).of("s3-buckets")["data-mime-lookups"]) == {"gpx": "application/gpx+xml"}


def test_html_replaces_the_template():
    html = S3FileUploadWidget("up", ["a/b"], html=CUSTOM).render("file", "/x/a.txt", {"id": "id_file"})
    assert re.sub(r"<p[^>]*>", "<p>", html) == '<p>up|a/b|file|id_file|<a href="/x/a.txt">a.txt</a>|/x/a.txt</p>'


def test_widget_works_in_a_charfield(somebody):
    class Custom(forms.Form):
        file = forms.CharField(widget=S3FileUploadWidget(upload_to="reports"))

    form = Custom({"file": "/media/s3/uploads/reports/a.txt"})
    assert form.is_valid()
    assert form.cleaned_data == {"file": "/media/s3/uploads/reports/a.txt"}
    assert 'data-upload-to="reports"' in str(form)


# Django REST framework


class ReportSerializer(serializers.ModelSerializer):
    file = S3Field(required=False, allow_null=True)

    class Meta:
        model = Report
        fields = ["name", "file"]


def request_of(browser):
    from django.contrib.auth.models import User

    return SimpleNamespace(user=User.objects.get(pk=browser.session["_auth_user_id"]), headers={})


def serialized(browser, file, instance=None):
    return ReportSerializer(instance, data={"name": "x", "file": file}, context={"request": request_of(browser)})


def test_serializer_takes_what_was_uploaded_and_gives_the_url(somebody):
    serializer = serialized(somebody, somebody.upload("reports/a.txt"))
    assert serializer.is_valid(), serializer.errors
    report = serializer.save()
    assert ReportSerializer(report).data["file"] == report.file.url
    assert Upload.objects.get().state == State.CLAIMED


@pytest.mark.seed("S4")
@pytest.mark.parametrize("url", ["https://example.com/a.txt", "/media/s3/uploads/reports/x.txt", 5, ["x"]])
def test_serializer_takes_nothing_else(somebody, url):
    serializer = serialized(somebody, url)
    assert not serializer.is_valid()
    assert list(serializer.errors) == ["file"]


@pytest.mark.seed("S4")
def test_serializer_takes_nothing_of_another_user(somebody, other):
    assert not serialized(somebody, other.upload("reports/a.txt")).is_valid()


def test_serializer_leaves_an_unchanged_file(somebody):
    report = Report.objects.create(file="https://example.com/a.txt")
    serializer = serialized(somebody, report.file.url, report)
    assert serializer.is_valid(), serializer.errors
    assert serializer.save().file.url == "https://example.com/a.txt"


def test_serializer_without_a_request_takes_nothing():
    with pytest.raises(ImproperlyConfigured):
        ReportSerializer(data={"name": "x", "file": "/x"}).is_valid()


def test_serializer_of_no_model_is_told_the_field(somebody):
    class Plain(serializers.Serializer):
        file = S3Field(field="seed_site.Report.file")

    url = somebody.upload("reports/a.txt")
    serializer = Plain(data={"file": url}, context={"request": request_of(somebody)})
    assert serializer.is_valid(), serializer.errors
