"""PrivateFileField and PrivateImageField: names, limits, migrations, forms and the admin."""

from __future__ import annotations

import io
import mimetypes
import re

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter
from django.test import override_settings
from django.urls import include, path
from PIL import Image

from storages import sniffing
from storages.backends.memory import MemoryStorage
from storages.private.fields import PrivateFileField, PrivateImageField
from storages.private.storage import PrivateFileSystemStorage, get_private_storage, private_storage


def bytes_of(kind: str) -> bytes:
    image = io.BytesIO()
    Image.new("RGB", (4, 3)).save(image, kind)
    return image.getvalue()


PNG, GIF, JPEG, WEBP, ICO, BMP, TIFF = map(bytes_of, ("PNG", "GIF", "JPEG", "WEBP", "ICO", "BMP", "TIFF"))
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
ZIP = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
HTML = b"\n <!DOCTYPE html><script>alert(1)</script>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'
EXE = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

field_storage = MemoryStorage()


class Paper(models.Model):
    title = models.CharField(max_length=20, blank=True)
    file = PrivateFileField(
        "Title", upload_to="papers", content_types=["application/pdf", "text/plain", "image/*"], max_file_size=100_000
    )

    class Meta:
        app_label = "tests_private"


class Portrait(models.Model):
    image = PrivateImageField(upload_to="portraits", width_field="width", height_field="height")
    width = models.IntegerField(default=0)
    height = models.IntegerField(default=0)

    class Meta:
        app_label = "tests_private"


class PaperForm(forms.ModelForm):
    class Meta:
        model = Paper
        fields = ["title", "file"]


class PortraitForm(forms.ModelForm):
    class Meta:
        model = Portrait
        fields = ["image"]


site = admin.AdminSite(name="admin")
site.register(Paper)


class AdminUrls:
    urlpatterns = [path("admin/", site.urls), path("private-media/", include("storages.private.urls"))]


@pytest.fixture(autouse=True)
def root(settings, tmp_path):
    settings.PRIVATE_STORAGE_ROOT = str(tmp_path / "private")
    return tmp_path / "private"


def upload(content=b"text", name="a.txt", content_type="text/plain"):
    return SimpleUploadedFile(name, content, content_type)


def name_of(field, filename="a b.txt", instance=None):
    field.set_attributes_from_name("file")
    return field.generate_filename(instance, filename)


def error_codes(form):
    return {name: [error.code for error in errors.as_data()] for name, errors in form.errors.items()}


# Names


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "a_b.txt"),
        ({"upload_to": "x"}, "x/a_b.txt"),
        ({"upload_to": "x", "upload_subfolder": lambda one: ["y z", "w"]}, "x/y_z/w/a_b.txt"),
        ({"upload_subfolder": lambda one: [7]}, "7/a_b.txt"),
        ({"upload_subfolder": lambda one: []}, "a_b.txt"),
        ({"upload_subfolder": lambda one: None}, "a_b.txt"),
        ({"upload_subfolder": lambda one: ["a/b"]}, "ab/a_b.txt"),
        ({"upload_to": lambda one, name: f"u/{name}"}, "u/a_b.txt"),
        ({"upload_to": lambda one, name: "u/other n.txt", "upload_subfolder": lambda one: ["s"]}, "u/s/other_n.txt"),
    ],
)
def test_name_is_directory_then_subfolders_then_clean_name(options, name):
    assert name_of(PrivateFileField(**options)) == name


def test_upload_to_takes_the_date():
    assert re.fullmatch(r"20\d\d/\d\d/a_b\.txt", name_of(PrivateFileField(upload_to="%Y/%m")))


@pytest.mark.parametrize("name", ["../../x.txt", "C:\\dir\\x.txt", "/etc/x.txt"])
def test_directories_in_the_name_of_an_upload_are_dropped(name):
    assert name_of(PrivateFileField(upload_to="d"), name) == "d/x.txt"


@pytest.mark.threat("T-04")
@pytest.mark.parametrize(
    "options",
    [
        {"upload_subfolder": lambda one: [".."]},
        {"upload_subfolder": lambda one: ["a", "."]},
        {"upload_subfolder": lambda one: [""]},
        {"upload_to": "../x"},
        {"upload_to": "/x"},
        {"upload_to": lambda one, name: f"../{name}"},
    ],
)
def test_directory_that_leads_elsewhere_is_refused(options):
    with pytest.raises(SuspiciousFileOperation):
        name_of(PrivateFileField(**options))


def test_subfolder_as_text_works_with_a_warning():
    with pytest.warns(UserWarning, match="returns a list"):
        assert name_of(PrivateFileField(upload_subfolder=lambda one: "sub")) == "sub/a_b.txt"


def test_subfolder_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="function of the instance"):
        PrivateFileField(upload_subfolder="sub")


def test_subfolder_is_given_the_instance():
    paper = Paper(title="seven")
    field = PrivateFileField(upload_subfolder=lambda one: [one.title])
    assert name_of(field, instance=paper) == "seven/a_b.txt"


# Storage and migrations


def test_default_storage_is_private_and_not_looked_at(settings):
    settings.PRIVATE_STORAGE_CLASS = "nowhere.Storage"
    assert PrivateFileField().storage is private_storage


@pytest.mark.parametrize("storage", [None, private_storage, get_private_storage])
def test_default_storage_is_in_migrations_as_a_callable(storage):
    field = PrivateFileField("Title", storage=storage, content_types=["a/b"], max_file_size=1, upload_subfolder=id)
    field.set_attributes_from_name("file")
    name, path_, args, kwargs = field.deconstruct()
    assert (name, path_, args) == ("file", "storages.private.fields.PrivateFileField", [])
    assert kwargs == {"verbose_name": "Title", "upload_to": "", "storage": get_private_storage}
    assert field.clone().storage is private_storage


@pytest.mark.parametrize("field", [PrivateFileField(), PrivateImageField(width_field="w", height_field="h")])
def test_field_is_written_into_migrations(field):
    field.set_attributes_from_name("file")
    text, imports = MigrationWriter.serialize(field)
    assert "storage=storages.private.storage.get_private_storage" in text
    assert "import storages.private.storage" in imports


def test_storage_of_the_field_is_kept():
    field = PrivateFileField(storage=PrivateFileSystemStorage("/srv/x", "/x/"))
    assert field.clone().storage is field.storage
    assert "PrivateFileSystemStorage('/srv/x', '/x/')" in MigrationWriter.serialize(field)[0]
    assert PrivateFileField(storage=lambda: field_storage).storage is field_storage


def test_change_of_limits_makes_no_migration():
    states = []
    for limits in ({}, {"content_types": ["text/plain"], "max_file_size": 3, "upload_subfolder": id}):
        state = ProjectState()
        fields = [("id", models.BigAutoField(primary_key=True)), ("file", PrivateFileField(**limits))]
        state.add_model(ModelState("papers", "Paper", fields))
        states.append(state)
    assert MigrationAutodetector(*states)._detect_changes() == {}


# What may be uploaded

TYPES = [
    # claim, bytes, name, whether it is taken by a field that allows the claim
    ("image/png", PNG, "a.png", True),
    ("image/gif", GIF, "a.gif", True),
    ("image/jpeg", JPEG, "a.jpg", True),
    ("image/pjpeg", JPEG, "a.jpeg", True),
    ("image/webp", WEBP, "a.webp", True),
    ("image/x-icon", ICO, "a.ico", True),
    ("image/bmp", BMP, "a.bmp", True),
    ("image/tiff", TIFF, "a.tiff", True),
    ("image/heic", HEIC, "a.heic", True),
    ("application/pdf", PDF, "a.pdf", True),
    ("application/zip", ZIP, "a.zip", True),
    ("application/x-zip-compressed", ZIP, "a.zip", True),
    (DOCX, ZIP, "a.docx", True),
    ("application/msword", OLE, "a.doc", True),
    ("application/vnd.ms-excel", b"a,b\n1,2\n", "a.csv", True),  # as Windows claims it
    ("application/gzip", b"\x1f\x8b\x08\x00", "a.tar.gz", True),
    ("video/mp4", MP4, "a.mp4", True),
    ("video/quicktime", MP4, "a.mov", True),
    ("video/webm", b"\x1aE\xdf\xa3\x01", "a.webm", True),
    ("audio/mpeg", b"ID3\x04\x00", "a.mp3", True),
    ("audio/x-wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", "a.wav", True),
    ("audio/ogg", b"OggS\x00\x02", "a.ogg", True),
    ("text/plain; charset=utf-8", b"caf\xc3\xa9", "a.txt", True),
    ("text/plain", b"\xff\xfea\x00b\x00", "a.txt", True),  # UTF-16
    ("text/plain", b"The free software", "a.txt", True),
    ("text/plain", b"a < b and <i>b</i>", "a.txt", True),
    ("text/plain", b"", "a.txt", True),
    ("text/csv", b"a,b\n", "a.csv", True),
    ("text/markdown", b"<p align=center>", "a.md", True),
    ("text/html", HTML, "a.html", True),
    ("image/svg+xml", SVG, "a.svg", True),
    ("application/json", b'{"a": 1}', "a.json", True),
    ("application/x-of-nobody", b"\x00\x01\x02\x03\x04", "a.ofnobody", True),
    ("application/octet-stream", PNG, "a.bin", True),
    ("image/png", HTML, "a.png", False),
    ("image/png", b"just text", "a.png", False),
    ("image/png", JPEG, "a.png", False),
    ("image/jpeg", SVG, "a.jpg", False),
    ("image/heic", MP4, "a.heic", False),
    ("video/mp4", HEIC, "a.mp4", False),
    ("application/pdf", ZIP, "a.pdf", False),
    ("application/pdf", HTML, "a.pdf", False),
    ("application/zip", EXE, "a.zip", False),
    ("application/msword", ZIP, "a.doc", False),
    ("application/x-of-nobody", HTML, "a.ofnobody", False),
    ("application/x-of-nobody", PNG, "a.ofnobody", False),
    ("text/plain", HTML, "a.txt", False),
    ("text/plain", b"\xef\xbb\xbf <ScRiPt src=x>", "a.txt", False),
    ("text/plain", b"<svg onload=alert(1)>", "a.txt", False),
    ("text/plain", b"<?php echo 1;", "a.txt", False),
    ("text/plain", SVG, "a.txt", False),
    ("text/plain", EXE, "a.txt", False),
    ("text/plain", b"a\x00b", "a.txt", False),
    ("text/csv", HTML, "a.csv", False),
    # The name decides what it is served as.
    ("text/plain", b"not yet", "evil.html", False),
    ("text/plain", b"not yet", "evil.svg", False),
    ("image/gif", GIF, "evil.html", False),
    ("image/png", PNG, "a.jpg", False),
    ("image/gif", b"GIF89a=1;alert(1)", "evil.js", False),
    *(
        ("text/plain", b"not yet", name, False)
        for name in ("evil.html.", "evil.svg ", "evil.xht", "evil.xhtml", "data:,evil.html")
    ),
    ("image/x-of-nobody", b"\x1f\x8b\x08\x00", "evil.svgz", False),
    ("image/x-of-nobody", SVG, "a.ofnobody", False),
    ("application/x-of-nobody", b"<?xml version='1.0'?><mxfile/>", "a.ofnobody", True),
    ("application/gzip", b"\x1f\x8b\x08\x00", "sitemap.xml.gz", True),
    ("application/rss+xml", b"<?xml version='1.0'?><rss/>", "a.rss", True),
    ("text/csv", b"a,b\n", "data:a.csv", True),
]


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(
    ("claim", "content", "name", "taken"), TYPES, ids=[f"{number} {row[0]}" for number, row in enumerate(TYPES)]
)
def test_claim_bytes_and_name_have_to_agree(claim, content, name, taken):
    assert sniffing.fits(name, claim, content, [claim]) is taken


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(
    "name", ["a.html", "a.shtml", "a.svg", "a.svgz", "a.xht", "a.xhtml", "a.xslt", "a.xul", "a.js"]
)
def test_what_browsers_run_is_known_on_a_machine_without_a_list_of_types(name, monkeypatch):
    monkeypatch.setattr(mimetypes, "guess_type", mimetypes.MimeTypes(filenames=()).guess_type)
    assert not sniffing.fits(name, "image/x-of-nobody", b"not yet", ["image/*"])


@pytest.mark.parametrize(
    ("claim", "allowed", "expected"),
    [
        ("image/png", ["image/*"], True),
        ("image/of-nobody+xml", ["image/*"], False),
        ("application/rss+xml", ["application/*"], False),
        *((f"text/{name}", ["text/*"], False) for name in ("ecmascript", "jscript", "livescript", "javascript1.2")),
        ("application/x-ecmascript", ["application/*"], False),
        ("IMAGE/PNG; q=1", ["image/png"], True),
        ("image/jpg", ["image/jpeg"], True),
        ("image/svg+xml", ["image/*"], False),  # a document with scripts
        ("image/svg+xml", ["image/*", "image/svg+xml"], True),
        ("text/html", ["text/*"], False),
        ("text/javascript", ["text/*"], False),
        ("text/xml", ["text/*"], False),
        ("text/csv", ["text/*"], True),
        ("application/pdf", ["image/*"], False),
        ("", ["image/*"], False),
        ("imagex/png", ["image/*"], False),
        ("text/html", ["*/*"], True),
    ],
)
def test_patterns_allow_what_is_inert(claim, allowed, expected):
    assert sniffing.is_allowed(claim, allowed) is expected


@pytest.mark.parametrize(
    ("file", "codes"),
    [
        (upload(), {}),
        (upload(PNG, "a.png", "image/png"), {}),
        (upload(HTML), {"file": ["invalid_file_type"]}),
        (upload(b"x", "a.zip", "application/zip"), {"file": ["invalid_file_type"]}),
        (upload(b"x" * 100_000), {}),
        (upload(b"x" * 100_001), {"file": ["file_too_large"]}),
        (upload(HTML + b"x" * 100_001), {"file": ["invalid_file_type"]}),  # which is asked first
        (upload(b""), {"file": ["empty"]}),
    ],
    ids=repr,
)
def test_form_says_what_is_wrong_with_an_upload(file, codes):
    assert error_codes(PaperForm({}, {"file": file})) == codes


def test_messages_name_the_limit():
    form = PaperForm({}, {"file": upload(b"x" * 100_001)})
    assert form.errors["file"] == ["The file may not be larger than 97.7\xa0KB."]
    assert PaperForm({}, {"file": upload(HTML)}).errors["file"] == ["File type not supported."]


def test_messages_may_be_the_fields_own():
    messages = {"invalid_file_type": "Not that.", "file_too_large": "At most {max_size}, not {size}."}
    field = PrivateFileField(max_file_size=1, error_messages=messages)
    paper = Paper(file=upload(b"xx"))
    with pytest.raises(ValidationError) as caught:
        field.clean(paper.file, paper)
    assert caught.value.messages == ["At most 1\xa0byte, not 2\xa0bytes."]


@pytest.mark.django_db
def test_file_that_is_kept_is_not_checked_again(root):
    paper = PaperForm({}, {"file": upload()}).save()
    (root / paper.file.name).unlink()
    paper.refresh_from_db()
    Paper._meta.get_field("file").max_file_size, before = 0, Paper._meta.get_field("file").max_file_size
    try:
        form = PaperForm({"title": "new"}, {}, instance=paper)
        assert form.is_valid()
        paper.full_clean()
    finally:
        Paper._meta.get_field("file").max_file_size = before


def test_upload_is_left_where_it_was():
    file = upload(b"0123456789")
    file.seek(4)
    Paper(file=file).clean_fields()
    assert file.read() == b"456789"


def test_file_without_a_claim_is_what_its_name_says():
    Paper(file=ContentFile(PDF, "a.pdf")).clean_fields()
    Paper(file=ContentFile("text", "a.txt")).clean_fields()
    with pytest.raises(ValidationError):
        Paper(file=ContentFile(HTML, "a.pdf")).clean_fields()


@pytest.mark.django_db
def test_saved_file_is_below_the_private_root(root):
    paper = PaperForm({}, {"file": upload()}).save()
    assert paper.file.name == "papers/a.txt"
    assert (root / "papers/a.txt").read_bytes() == b"text"
    assert paper.file.url == "/private-media/papers/a.txt"


# Images


@pytest.mark.django_db
def test_image_has_its_size_noted(root):
    portrait = PortraitForm({}, {"image": upload(PNG, "a.png", "image/png")}).save()
    portrait.refresh_from_db()
    assert (portrait.width, portrait.height, portrait.image.width) == (4, 3, 4)


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"text", "a.png"), (SVG, "a.svg"), (HTML, "a.png"), (PDF, "a.pdf"), (PNG, "a.html")],
    ids=["text", "SVG", "HTML", "PDF", "name of a page"],
)
def test_only_images_are_taken_for_images(content, name):
    assert not PortraitForm({}, {"image": upload(content, name, "image/png")}).is_valid()
    with pytest.raises(ValidationError, match="not supported"):
        Portrait(image=upload(content, name, "image/png")).clean_fields()


def test_image_field_is_djangos_too():
    field = PrivateImageField(width_field="w", height_field="h", storage=FileSystemStorage("/srv"))
    field.set_attributes_from_name("image")
    assert isinstance(field, models.ImageField)
    assert isinstance(field.formfield(), forms.ImageField)
    assert {"width_field": "w", "height_field": "h"}.items() <= field.deconstruct()[3].items()


# Admin


@pytest.mark.django_db
@override_settings(ROOT_URLCONF=AdminUrls)
def test_admin_uploads_and_links(client, root):
    client.force_login(User.objects.create_superuser("root"))
    assert client.post("/admin/tests_private/paper/add/", {"title": "x", "file": upload()}).status_code == 302
    paper = Paper.objects.get()
    page = client.get(f"/admin/tests_private/paper/{paper.pk}/change/").content.decode()
    assert 'href="/private-media/papers/a.txt"' in page
    refused = client.post("/admin/tests_private/paper/add/", {"file": upload(HTML)}).content.decode()
    assert "File type not supported." in refused
    cleared = {"title": "x", "file": upload(b"new", "b.txt")}
    assert client.post(f"/admin/tests_private/paper/{paper.pk}/change/", cleared).status_code == 302
    assert b"".join(client.get("/private-media/papers/b.txt").streaming_content) == b"new"
