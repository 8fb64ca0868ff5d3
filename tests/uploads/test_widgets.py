"""The element that a form has for a file: what it is told, for whom, and that nothing in it can break out."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser

import pytest
from django import forms
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms.renderers import get_default_renderer
from django.forms.widgets import ClearableFileInput
from django.utils import translation

from storages.uploads import tokens
from storages.uploads.forms import DirectUploadFormField
from storages.uploads.legacy_widgets import S3FileUploadWidget
from storages.uploads.middleware import UploadsMiddleware
from storages.uploads.models import State, Upload
from storages.uploads.widgets import AdminDirectUploadInput, DirectUploadInput, Module
from tests.uploads.files import PNG, finished, token_of
from tests.uploads.form_models import Enclosure, Letter
from tests.uploads.form_site import LetterForm

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.uploads.form_site"),
    pytest.mark.usefixtures("form_storages"),
]

SCAN, FILE = "tests_uploads.Letter.scan", "tests_uploads.Enclosure.file"
HOSTILE = """"><img src=x onerror=alert(1)>'&<script>alert(1)</script>\u202egnp.exe"""


@pytest.fixture
def anna(client):
    user = User.objects.create_superuser("anna")
    client.force_login(user)
    return user


class Page(HTMLParser):
    """All tags of a page, with their attributes."""

    def __init__(self, response):
        super().__init__()
        self.tags = []
        self.feed(response if isinstance(response, str) else response.content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def one(self, tag, **wanted):
        found = [attrs for attrs in self.all(tag) if wanted.items() <= attrs.items()]
        assert len(found) == 1, found
        return found[0]


def test_element_says_all_that_the_script_needs(client, anna):
    page = Page(client.get("/letters/"))
    element = page.one("storages-upload")
    slot = tokens.read_slot(element.pop("slot-token"))
    assert (slot.field, slot.user, slot.session) == (SCAN, str(anna.pk), "")
    messages = json.loads(element.pop("messages"))
    assert messages["cancel"] == "Cancel upload of {name}"
    assert element == {
        "name": "scan",
        "endpoint": "/uploads/",
        "field": SCAN,
        "max-size": "1000",
        "min-size": "1",
        "types": "image/*,application/pdf",
        "max-files": "1",
    }
    assert page.one("input", type="file") == {
        "type": "file",
        "name": "scan",
        "id": "id_scan",
        "accept": "image/*,application/pdf",
    }


def test_element_of_several_says_so(client, anna):
    letter = Letter.objects.create(title="a")
    page = Page(client.get(f"/letters/{letter.pk}/several/"))
    element = page.one("storages-upload")
    assert {"multiple": None, "max-files": "3", "required": None, "max-size": "1000"}.items() <= element.items()
    assert {"multiple", "required"} <= page.one("input", type="file").keys()
    assert "types" not in element


def test_numbers_are_not_for_readers(client, anna, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    with translation.override("de"):
        assert Page(client.get("/letters/")).one("storages-upload")["max-size"] == "1000"


@pytest.mark.threat("T-18")
@pytest.mark.parametrize("who", ["nobody", "not permitted", "inactive"])
def test_there_is_no_slot_for_those_who_may_not_upload(client, who, settings):
    if who != "nobody":
        client.force_login(User.objects.create_user("eve", is_active=who != "inactive"))
    if who == "not permitted":
        settings.UPLOADS_PERMISSION = None
    page = Page(client.get("/letters/"))
    assert "slot-token" not in page.one("storages-upload")
    assert page.one("input", type="file")["name"] == "scan"


@pytest.mark.parametrize("lacking", ["URLs", "request"])
def test_without_the_protocol_it_is_a_plain_input(client, anna, lacking, settings):
    if lacking == "URLs":
        settings.ROOT_URLCONF = "tests.private.urls"
    element = Page(str(LetterForm()["scan"])).one("storages-upload")
    assert "slot-token" not in element
    assert ("endpoint" in element) == (lacking == "request")


def test_media_is_one_module_and_one_style_sheet(client, anna):
    media = str(LetterForm().media + LetterForm().media)
    assert media.count("<script") == media.count("<link") == 1
    assert '<script type="module" src="/static/storages_uploads/widget.js"></script>' in media
    assert 'href="/static/storages_uploads/uploads.css"' in media


def test_modules_of_one_path_are_one():
    assert {Module("a.js"), Module("a.js"), Module("b.js")} == {Module("b.js"), Module("a.js")}
    assert Module("a.js") != "a.js"
    assert str(Module('a".js')) == '<script type="module" src="/static/a%22.js"></script>'


@pytest.mark.threat("T-36")
@pytest.mark.seed("S8")
def test_nothing_is_inline(client, anna):
    Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    for address in ("/letters/", f"/letters/{Letter.objects.get().pk}/"):
        page = Page(client.get(address))
        assert [attrs for attrs in page.all("script") if "src" not in attrs] == []
        assert page.all("style") == []
        names = {name for _, attrs in page.tags for name in attrs}
        assert [name for name in names if name == "style" or name.startswith("on")] == []


@pytest.mark.threat("T-36")
@pytest.mark.seed("S8")
@pytest.mark.parametrize("template", ["plain", "admin"])
def test_hostile_names_stay_text(client, anna, template):
    letter = Letter.objects.create(title="a", scan=f"letters/{HOSTILE}")
    upload = finished(SCAN, anna)
    Upload.objects.filter(pk=upload.pk).update(filename=HOSTILE)
    data = {"title": "", "scan": token_of(upload), "enclosure_set-TOTAL_FORMS": 0, "enclosure_set-INITIAL_FORMS": 0}
    address = f"/letters/{letter.pk}/" if template == "plain" else f"/admin/tests_uploads/letter/{letter.pk}/change/"
    response = client.post(address, data)
    page = Page(response)
    assert page.all("img") == []
    assert [attrs for attrs in page.all("script") if "alert(1)" in str(attrs)] == []
    assert b"<script>alert" not in response.content
    elements = [attrs for attrs in page.all("storages-upload") if attrs["name"] == "scan"]
    assert json.loads(elements[0]["value"])[0]["name"] == HOSTILE


@pytest.mark.threat("T-36")
def test_hostile_text_in_a_token_is_not_shown(client, anna):
    response = client.post("/letters/", {"title": "", "scan": f"storages-upload:{HOSTILE}"})
    assert "onerror" not in response.content.decode()


@pytest.mark.threat("T-19")
@pytest.mark.threat("T-37")
def test_name_of_somebody_elses_file_is_not_shown(client, anna):
    upload = finished(SCAN, User.objects.create_user("bob"), filename="salary.png")
    response = client.post("/letters/", {"title": "", "scan": token_of(upload)})
    assert b"salary" not in response.content


def test_claimed_upload_does_not_come_back(client, anna):
    upload = finished(SCAN, anna, state=State.CLAIMED)
    response = client.post("/letters/", {"title": "", "scan": token_of(upload)})
    assert "value" not in Page(response).one("storages-upload")


def test_file_without_a_url_is_named(client, anna):
    letter = Letter.objects.create(title="a")
    Enclosure.objects.create(letter=letter, file=SimpleUploadedFile("b.txt", b"b"))
    text = client.get(f"/letters/{letter.pk}/enclosures/").content.decode()
    assert re.search(r"Currently: enclosures/b.txt", text)
    assert "<a href" not in text


def test_required_file_cannot_be_cleared(client, anna):
    letter = Letter.objects.create(title="a")
    Enclosure.objects.create(letter=letter, file=SimpleUploadedFile("b.txt", b"b"))
    assert b"-file-clear" not in client.get(f"/letters/{letter.pk}/enclosures/").content


def test_messages_are_in_the_language_of_the_page(client, anna):
    with translation.override("fr"):
        element = Page(str(LetterForm()["scan"])).one("storages-upload")
    assert json.loads(element["messages"])["failed"] == "{name} n’a pas pu être téléversé"


# The admin


def test_admin_has_the_element_in_its_own_clothes(client, anna):
    letter = Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    response = client.get(f"/admin/tests_uploads/letter/{letter.pk}/change/")
    page = Page(response)
    names = {attrs["name"] for attrs in page.all("storages-upload")}
    assert names == {"scan", "enclosure_set-0-file", "enclosure_set-__prefix__-file"}
    assert {"class": "file-upload"} in page.all("p")
    assert {"class": "clearable-file-input"} in page.all("span")
    assert {"type": "module", "src": "/static/storages_uploads/widget.js"} in page.all("script")
    assert all("slot-token" in attrs for attrs in page.all("storages-upload"))


def test_admin_saves_tokens_of_the_form_and_its_inlines(client, anna):
    scan, file = finished(SCAN, anna), finished(FILE, anna)
    data = {"title": "a", "scan": token_of(scan), "enclosure_set-0-file": token_of(file)}
    data |= {"enclosure_set-TOTAL_FORMS": 1, "enclosure_set-INITIAL_FORMS": 0}
    response = client.post("/admin/tests_uploads/letter/add/", data)
    assert response.status_code == 302
    letter = Letter.objects.get()
    assert (letter.scan.name, letter.enclosure_set.get().file.name) == (scan.name, file.name)


def test_admin_keeps_uploads_over_an_error(client, anna):
    scan, file = finished(SCAN, anna), finished(FILE, anna)
    data = {"title": "", "scan": token_of(scan), "enclosure_set-0-file": token_of(file)}
    data |= {"enclosure_set-TOTAL_FORMS": 1, "enclosure_set-INITIAL_FORMS": 0}
    page = Page(client.post("/admin/tests_uploads/letter/add/", data))
    kept = {attrs["name"]: attrs["value"] for attrs in page.all("storages-upload") if "value" in attrs}
    assert kept.keys() == {"scan", "enclosure_set-0-file"}


def test_admin_shows_a_read_only_file(client):
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_letter"))
    client.force_login(user)
    letter = Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    response = client.get(f"/admin/tests_uploads/letter/{letter.pk}/change/")
    assert b'<a href="/paper/letters/a.png">' in response.content
    assert Page(response).all("storages-upload") == []


# Widgets of others


class OwnInput(ClearableFileInput):
    pass


@pytest.mark.parametrize(
    ("widget", "expected"),
    [
        (None, DirectUploadInput),
        (ClearableFileInput, DirectUploadInput),
        (ClearableFileInput({"class": "wide"}), DirectUploadInput),
        (AdminDirectUploadInput, AdminDirectUploadInput),
        (OwnInput, OwnInput),
        (forms.FileInput, forms.FileInput),
    ],
)
def test_only_djangos_own_inputs_are_replaced(widget, expected):
    field = DirectUploadFormField(field=SCAN, widget=widget)
    assert type(field.widget) is expected
    if getattr(widget, "attrs", None):
        assert field.widget.attrs == {"class": "wide"}


@pytest.mark.parametrize("widget", [OwnInput, forms.FileInput])
def test_another_input_still_posts_files(widget, rf):
    form = type("Form", (forms.Form,), {"scan": DirectUploadFormField(field=SCAN, widget=widget)})
    assert form({}, {"scan": SimpleUploadedFile("a.png", PNG, "image/png")}).is_valid()
    assert not form({}, {"scan": SimpleUploadedFile("a.png", b"text", "image/png")}).is_valid()


def test_forms_of_one_class_do_not_share_what_they_keep(client, anna):
    first = LetterForm({"title": "", "scan": token_of(finished(SCAN, anna))})
    assert not first.is_valid()
    assert LetterForm({"title": ""}).fields["scan"].widget.kept == []
    assert html.escape("storages-upload") in str(first["scan"])


# Renderers


@pytest.fixture
def jinja2(settings):
    settings.FORM_RENDERER = "django.forms.renderers.Jinja2"
    get_default_renderer.cache_clear()
    yield
    get_default_renderer.cache_clear()


@pytest.mark.parametrize("widget", [DirectUploadInput, AdminDirectUploadInput])
@pytest.mark.parametrize("state", ["empty", "initial", "required", "kept", "disabled"])
def test_forms_of_jinja2_have_the_same_element(request, anna, state, widget, rf):
    letter = Letter(title="a", scan=f"letters/{HOSTILE}")
    token = token_of(finished(SCAN, anna))

    def rendered():
        data = {"title": "", "scan": token, "scan-clear": "on"} if state == "kept" else None
        form = LetterForm(data, instance=None if state == "empty" else letter)
        field = form.fields["scan"]
        field.widget = widget(field.widget.attrs)
        field.widget.take_terms(field)
        field.widget.is_required = field.required = state == "required"
        field.disabled = state == "disabled"
        asked = rf.get("/")
        asked.user = anna
        return UploadsMiddleware(lambda request: str(form["scan"]))(asked)

    expected = rendered()
    request.getfixturevalue("jinja2")
    found = rendered()
    assert [without_token(tag) for tag in Page(found).tags] == [without_token(tag) for tag in Page(expected).tags]
    assert text_of(found) == text_of(expected)
    element = Page(found).one("storages-upload")
    assert "slot-token" in element
    assert ("value" in element) is (state == "kept")


def without_token(tag):
    name, attrs = tag
    return name, {key: value for key, value in attrs.items() if key != "slot-token"}


def text_of(page):
    """Return what is read of it, with spaces as a browser has them."""
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def test_widget_of_django_buckets_is_the_same_in_jinja2(request):
    widget = S3FileUploadWidget("reports", ["text/plain"], field="seed_site.Report.file", attrs={"required": True})

    def rendered():
        return widget.render("file", f"https://example.com/{HOSTILE}", {"id": "id_file"})

    expected = rendered()
    request.getfixturevalue("jinja2")
    found = rendered()
    assert Page(found).tags == Page(expected).tags
    assert text_of(found) == text_of(expected)
    with translation.override("de"):
        assert "(Entfernen)" in text_of(rendered())
