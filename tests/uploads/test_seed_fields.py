"""S3FileField and S3File: a URL in the database, and the file behind it."""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations.writer import MigrationWriter
from django.utils import timezone

from storages.uploads import addresses, fields, legacy
from storages.uploads.fields import S3File, S3FileField
from storages.uploads.models import State, Upload
from tests.uploads.seed_fixtures import *  # noqa: F403
from tests.uploads.seed_site.models import Loose, Picture, Report

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "/media/s3/uploads/"


@pytest.fixture(autouse=True)
def project(people):
    return people


def stored(content=b"some text", name="reports/a.txt"):
    return BASE + default_storage.save(name, ContentFile(content))


def read(file):
    with file.open() as opened:
        return opened.read()


def test_names_are_where_the_mapping_has_them():
    from storages.uploads import serializers, storage, widgets
    from storages.uploads.legacy_serializers import S3Field
    from storages.uploads.legacy_widgets import S3FileUploadWidget

    assert (fields.S3FileField, fields.S3File) == (legacy.S3FileField, legacy.S3File)
    assert widgets.S3FileUploadWidget is S3FileUploadWidget
    assert serializers.S3Field is S3Field
    assert storage.S3Storage is storage.S3DirectStorage


def test_url_is_kept_as_it_is():
    report = Report.objects.create(file="https://example.com/elsewhere/a.txt")
    report.refresh_from_db()
    assert report.file.url == str(report.file) == "https://example.com/elsewhere/a.txt"
    assert report.file.committed


def test_column_is_that_of_a_charfield():
    field = Report._meta.get_field("file")
    assert isinstance(field, models.CharField)
    assert field.db_type(connection) == models.CharField(max_length=200).db_type(connection)
    assert S3FileField(max_length=50, default="x", unique=True, help_text="help").max_length == 50


def test_attribute_gives_the_file():
    report = Report.objects.create(file=stored())
    report.refresh_from_db()
    assert isinstance(report.file, S3File)
    assert read(report.file) == b"some text"


def test_file_can_be_opened_again():
    report = Report(file=stored())
    assert (read(report.file), read(report.file)) == (b"some text", b"some text")


def test_files_attribute_file_is_open():
    report = Report(file=stored())
    with report.file.file as file:
        assert file.read() == b"some text"


@pytest.mark.seed("S7")
def test_copy_that_is_read_is_in_no_directory(settings):
    with Report(file=stored()).file.open() as file:
        assert file.file.name is None or not isinstance(file.file.name, str)
        found = [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]
        assert found == [Path(default_storage.path("reports/a.txt"))]
        assert os.fstat(file.fileno()).st_nlink == 0
    assert os.path.commonpath([tempfile.gettempdir(), settings.MEDIA_ROOT]) != settings.MEDIA_ROOT


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_file_is_false(nothing):
    report = Report.objects.create(file=nothing)
    report.refresh_from_db()
    assert not report.file
    assert (str(report.file), report.file.url) == ("", None)
    with pytest.raises(ValueError, match="no file"):
        report.file.open()


def test_missing_file_is_not_found():
    with pytest.raises(FileNotFoundError):
        Report(file=f"{BASE}reports/missing.txt").file.open()


@pytest.mark.seed("S4")
@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com/reports/a.txt", f"{BASE}secret/a.txt", f"{BASE}reports/../secret/a.txt", "/etc/passwd"),
        *(f"{BASE}reports/%2e%2e/secret/a.txt", f"http://localhost{BASE}reports/a.txt", "file:///etc/passwd"),
    ],
)
def test_url_of_elsewhere_is_not_read(url):
    stored(name="secret/a.txt")
    with pytest.raises(SuspiciousFileOperation):
        Report(file=url).file.open()


def test_file_that_is_assigned_is_stored_when_the_object_is_saved():
    report = Report(file=ContentFile(b"assigned", "b.txt"))
    assert not report.file.committed
    report.save()
    assert report.file.committed
    assert report.file.url == f"{BASE}reports/b.txt"
    report.refresh_from_db()
    assert read(report.file) == b"assigned"


def test_file_of_the_file_can_be_set():
    report = Report.objects.create(file=stored())
    report.file.file = ContentFile(b"new", "c.txt")
    report.save()
    assert read(Report.objects.get().file) == b"new"


def test_file_of_the_file_can_be_taken_back():
    report = Report.objects.create(file=stored())
    report.file.file = ContentFile(b"new", "c.txt")
    del report.file.file
    report.save()
    assert read(Report.objects.get().file) == b"some text"


def test_file_may_be_stored_before_the_object():
    file = S3File(None, Report._meta.get_field("file"))
    file.file = ContentFile(b"first", "d.txt")
    file.save()
    assert (file.url, file.committed) == (f"{BASE}reports/d.txt", True)


def test_file_can_be_deleted():
    report = Report(file=stored())
    report.file.delete()
    assert not report.file
    assert not default_storage.exists("reports/a.txt")


def test_replaced_file_is_deleted_when_the_object_is_saved():
    report = Report.objects.create(file=stored())
    report.file = ContentFile(b"new", "b.txt")
    assert default_storage.exists("reports/a.txt")
    report.save()
    assert default_storage.listdir("reports") == ([], ["b.txt"])


def test_original_url_is_that_of_before():
    report = Report(file="/one")
    report.file = "/two"
    assert report.file.original_url == "/one"


@pytest.mark.parametrize("nothing", [None, ""])
def test_cleared_file_is_deleted_when_the_object_is_saved(nothing):
    report = Report.objects.create(file=stored())
    report = Report.objects.get()
    report.file = nothing
    report.save()
    assert not default_storage.exists("reports/a.txt")


def test_replaced_file_stays_if_the_transaction_fails():
    report = Report.objects.create(file=stored())
    report.file = None
    with pytest.raises(IntegrityError), transaction.atomic():
        report.save()
        raise IntegrityError
    assert default_storage.exists("reports/a.txt")


@pytest.mark.parametrize("is_atomic", [False, True])
def test_replaced_file_goes_with_the_save_that_succeeds(monkeypatch, is_atomic):
    """One that failed before it has not made the new file the one of before."""
    report = Report.objects.create(file=stored())
    report.file = stored(name="reports/b.txt")
    context = transaction.atomic if is_atomic else nullcontext
    if not is_atomic:
        monkeypatch.setattr(Report, "_do_update", failing)
    with pytest.raises(IntegrityError), context():
        report.save()
        raise IntegrityError
    assert default_storage.exists("reports/a.txt")
    monkeypatch.undo()
    report.save()
    assert default_storage.listdir("reports") == ([], ["b.txt"])


def failing(*args):
    raise IntegrityError("the database says no")


class ReportOfAnotherName(Report):
    class Meta:
        app_label = "seed_site"
        proxy = True


def test_file_that_is_replaced_through_a_proxy_is_deleted():
    ReportOfAnotherName.objects.create(file=stored())
    report = ReportOfAnotherName.objects.get()
    report.file = None
    report.save()
    assert not default_storage.exists("reports/a.txt")


@pytest.mark.threat("T-21")
def test_claim_of_a_save_that_failed_outside_a_transaction_is_given_back(somebody, monkeypatch):
    url = somebody.upload("reports/c.txt")
    upload = Upload.objects.get()
    Upload.objects.update(state=State.FINISHED, name=upload.staging or upload.name)
    upload.refresh_from_db()
    report = Report()
    report.file = url
    report.file.accept(upload)
    with monkeypatch.context() as patches, pytest.raises(IntegrityError):
        patches.setattr(Report, "_do_insert", failing)
        report.save()
    assert Upload.objects.get().state == State.FINISHED
    report.save()
    assert Upload.objects.get().state == State.CLAIMED
    other = Report(file=report.file)  # a copy of a file that is taken has nothing to claim
    other.save()
    assert str(other.file) == str(report.file)


def test_replaced_file_stays_if_other_columns_are_saved():
    report = Report.objects.create(file=stored())
    report.file = None
    report.save(update_fields=["name"])
    assert default_storage.exists("reports/a.txt")


@pytest.mark.seed("S4")
@pytest.mark.threat("T-31")
@pytest.mark.parametrize("name", ["reports/a.txt", "reports/gehälter 100%_.txt"])
def test_file_that_another_row_has_stays(name):
    url = addresses.join(BASE, default_storage.save(name, ContentFile(b"content")))
    mine, _other = Report.objects.create(file=url), Report.objects.create(file=url)
    mine.file = None
    mine.save()
    assert default_storage.exists(name)


@pytest.mark.seed("S4")
def test_file_goes_though_another_row_has_one_of_its_name_in_a_directory_of_its_own():
    names = [f"reports/{letter * 24}/a.txt" for letter in "xy"]
    mine, _other = [Report.objects.create(file=stored(name=name)) for name in names]
    mine.file = None
    mine.save()
    assert [default_storage.exists(name) for name in names] == [False, True]


@pytest.mark.seed("S4")
@pytest.mark.threat("T-31")
@pytest.mark.parametrize("name", ["pictures/a.txt", "a.txt", "secret/a.txt", "reports/sub/a.txt"])
def test_file_of_another_directory_stays(name):
    report = Report.objects.create(file=stored(name=name))
    report.file = None
    report.save()
    assert default_storage.exists(name)


@pytest.mark.seed("S4")
@pytest.mark.threat("T-31")
@pytest.mark.parametrize(
    ("state", "field"), [(State.BEGUN, "Report"), (State.FINISHED, "Report"), (State.CLAIMED, "Picture")]
)
@pytest.mark.parametrize(
    "delete", [lambda report: (setattr(report, "file", None), report.save()), lambda r: r.file.delete()]
)
def test_file_that_nobody_has_taken_yet_or_another_field_stays(state, field, delete):
    url = stored()
    row = {
        "field": f"seed_site.{field}.file",
        "kind": "post",
        "size": 9,
        "filename": "a.txt",
        "content_type": "text/plain",
    }
    Upload.objects.create(name="reports/a.txt", state=state, expires=timezone.now(), **row)
    delete(Report.objects.create(file=url))
    assert default_storage.exists("reports/a.txt")


def test_file_of_a_function_for_names_is_only_deleted_by_its_row():
    loose = Loose.objects.create(owned=stored(name="people/a/a.txt"))
    loose.owned = ""
    loose.save()
    assert default_storage.exists("people/a/a.txt")


def test_upload_to_may_have_dates():
    loose = Loose.objects.create(dated=ContentFile(b"x", "a.txt"))
    assert loose.dated.url == timezone.localtime().strftime(f"{BASE}dated/%Y/%m/a.txt")


def test_upload_to_may_be_a_function():
    loose = Loose.objects.create(name="ann", owned=ContentFile(b"x", "a.txt"))
    assert loose.owned.url == f"{BASE}people/ann/a.txt"


@pytest.mark.parametrize("options", [{}, {"upload_to": "x", "accepted_types": ["a/b"], "null": True, "max_length": 9}])
def test_migrations_keep_every_argument(options):
    _, path, args, said = S3FileField(**options).deconstruct()
    assert path == "storages.uploads.fields.S3FileField"
    again = S3FileField(*args, **said)
    assert (again.accepted_types, again.upload_to) == (options.get("accepted_types"), options.get("upload_to", ""))
    assert (again.null, again.max_length) == (options.get("null", False), options.get("max_length", 200))


def test_migration_can_be_written():
    text, imports = MigrationWriter.serialize(S3FileField(accepted_types=["a/b"], storage=choose))
    assert "accepted_types=['a/b']" in text
    assert any("storages.uploads.fields" in line for line in imports)


def choose():
    return storages["default"]


def test_storage_may_be_chosen():
    field = S3FileField(storage=choose)
    assert field.storage is storages["default"]


@pytest.mark.seed("S13")
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.exe", b"MZ"), ("a.png", b"<html><script>"), ("a.txt", b"\x89PNG\r\n\x1a\n"), ("a.svg", b"<svg/>")],
)
def test_type_is_looked_at_by_the_server(name, content):
    with pytest.raises(ValidationError):
        Report(file=ContentFile(content, name)).full_clean()


def test_accepted_file_is_valid():
    Report(name="x", file=ContentFile(b"some text", "a.txt")).full_clean()
    Report(name="x", file="https://example.com/a.txt").full_clean()


@pytest.mark.seed("S13")
def test_size_is_looked_at_by_the_server(settings):
    settings.AWS = {"MAX_FILE_SIZE": 3}
    with pytest.raises(ValidationError):
        Picture(file=ContentFile(b"1234", "a.txt")).full_clean()


def test_value_is_compared_as_its_url():
    report = Report(file="/x")
    assert report.file == "/x" == str(Report(file="/x").file)
    assert report.file == Report(file="/x").file != Report(file="/y").file
    assert len({report.file, Report(file="/x").file}) == 1
    assert Report.objects.filter(file="/x").count() == 0


def test_deferred_file_is_loaded():
    Report.objects.create(file="/x")
    assert Report.objects.defer("file").get().file == "/x"
    assert Report.objects.values_list("file", flat=True).get() == "/x"


def test_expression_can_be_saved():
    report = Report.objects.create(name="x", file="/x")
    report.file = models.F("name")
    report.save()
    assert Report.objects.values_list("file", flat=True).get() == "x"


def test_key_of_a_url():
    assert legacy.key_from_url("https://s3.example.com/bucket/reports/a.txt?x=1", "reports") == "reports/a.txt"
