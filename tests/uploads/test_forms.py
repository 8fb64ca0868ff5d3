"""Forms take a token or a file, refuse what is not theirs, and lose nothing that was uploaded."""

from __future__ import annotations

import contextlib
import html
import json
import re

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.db.models.signals import post_save
from django.test import RequestFactory

from storages.uploads import claims, signals, tokens
from storages.uploads.errors import UploadError
from storages.uploads.fields import UploadedDirectly
from storages.uploads.forms import DirectUploadFormField, cleaned_file
from storages.uploads.middleware import UploadsMiddleware
from storages.uploads.models import State, Upload
from tests.uploads.conftest import Browser
from tests.uploads.files import HTML, PDF, PNG, finished, session_of, token_of
from tests.uploads.form_models import Enclosure, Letter, nameless, paper
from tests.uploads.form_site import EnclosureFormSet, LetterForm

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.uploads.form_site"),
    pytest.mark.usefixtures("form_storages"),
]

SCAN, FILE = "tests_uploads.Letter.scan", "tests_uploads.Enclosure.file"


@pytest.fixture
def anna(client):
    user = User.objects.create_user("anna")
    client.force_login(user)
    return user


@pytest.fixture
def bob():
    return User.objects.create_user("bob")


def elements(response):
    """Return the attributes of every <storages-upload>."""
    page = response.content.decode()
    return [
        {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)(?:="([^"]*)")?', inner)}
        for inner in re.findall(r"<storages-upload ([^>]*)>", page)
    ]


def errors_of(response):
    """Return the texts of a page's errors."""
    return [html.unescape(text) for text in re.findall(r"<li>(.*?)</li>", response.content.decode())]


# What is taken


def test_token_becomes_the_file_without_a_copy(client, anna):
    upload = finished(SCAN, anna)
    client.post("/letters/", {"title": "a", "scan": token_of(upload)})
    letter = Letter.objects.get()
    assert letter.scan.name == upload.name
    assert letter.scan.read() == PNG
    assert list(paper.client) == [upload.name]
    assert Upload.objects.get().state == State.CLAIMED


def test_file_of_a_browser_without_javascript_is_stored_the_ordinary_way(client, anna):
    client.post("/letters/", {"title": "a", "scan": SimpleUploadedFile("a.png", PNG, "image/png")})
    letter = Letter.objects.get()
    assert letter.scan.name == "letters/a.png"
    assert letter.scan.read() == PNG
    assert not Upload.objects.exists()


def test_form_may_be_sent_without_a_file(client, anna):
    client.post("/letters/", {"title": "a", "scan": ""})
    assert Letter.objects.get().scan.name == ""


def test_file_stays_where_nothing_is_sent(client, anna):
    letter = Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    client.post(f"/letters/{letter.pk}/", {"title": "b"})
    letter.refresh_from_db()
    assert (letter.title, letter.scan.name) == ("b", "letters/a.png")


def test_file_is_cleared_by_its_checkbox(client, anna):
    letter = Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    client.post(f"/letters/{letter.pk}/", {"title": "a", "scan-clear": "on"})
    letter.refresh_from_db()
    assert not letter.scan


def test_file_cannot_be_cleared_and_replaced_at_once(client, anna):
    letter = Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    data = {"title": "a", "scan-clear": "on", "scan": token_of(finished(SCAN, anna))}
    response = client.post(f"/letters/{letter.pk}/", data)
    assert errors_of(response) == ["Please either submit a file or check the clear checkbox, not both."]
    assert Upload.objects.get().state == State.FINISHED


def test_cleaned_file_is_like_any_uploaded_file(anna, rf):
    upload = finished(SCAN, anna, filename="b.png")
    request = rf.post("/")
    request.user = anna
    file = cleaned_file(Letter._meta.get_field("scan"), token_of(upload), request)
    assert (file.name, file.size, file.content_type) == ("b.png", len(PNG), "image/png")
    assert file.read() == PNG
    file.close()
    assert file.open().read(4) == PNG[:4]
    assert b"".join(file.chunks()) == PNG
    file.close()


def test_several_files_come_as_a_list(client, anna):
    letter = Letter.objects.create(title="a")
    uploads = [finished(FILE, anna, filename=f"{number}.txt", content=b"x") for number in range(2)]
    client.post(f"/letters/{letter.pk}/several/", {"files": [token_of(upload) for upload in uploads]})
    assert {row.file.name for row in Enclosure.objects.all()} == {upload.name for upload in uploads}


def test_tokens_and_files_come_together(client, anna):
    letter = Letter.objects.create(title="a")
    posted = [token_of(finished(FILE, anna)), SimpleUploadedFile("b.txt", b"b")]
    client.post(f"/letters/{letter.pk}/several/", {"files": posted})
    assert sorted(row.file.read() for row in Enclosure.objects.all()) == [b"b", PNG]


def test_no_more_files_than_allowed(client, anna):
    letter = Letter.objects.create(title="a")
    posted = [token_of(finished(FILE, anna, filename=f"{number}.txt")) for number in range(4)]
    response = client.post(f"/letters/{letter.pk}/several/", {"files": posted})
    assert errors_of(response) == ["Choose at most 3 files."]


# What is refused


@pytest.mark.threat("T-19")
@pytest.mark.parametrize("sent", ["token", "name", "url", "seed's url"])
@pytest.mark.seed("S4")
def test_file_of_somebody_else_is_refused_and_untouched(client, anna, bob, sent):
    upload = finished(SCAN, bob)
    texts = {"token": token_of(upload), "name": upload.name, "url": f"/paper/{upload.name}"}
    texts["seed's url"] = f"https://s3.amazonaws.com/bucket/{upload.name}"
    response = client.post("/letters/", {"title": "a", "scan": texts[sent]})
    assert errors_of(response) == ["This upload is not known; choose the file again."]
    assert elements(response)[0].get("value") is None
    upload.refresh_from_db()
    assert upload.state == State.FINISHED
    assert paper.exists(upload.name)
    assert not Letter.objects.exists()


@pytest.mark.threat("T-19")
def test_no_token_is_taken_of_nobody_knows_whom(anna):
    field = DirectUploadFormField(field=SCAN)
    with pytest.raises(ValidationError, match="not known"):
        field.clean(token_of(finished(SCAN, anna)))


@pytest.mark.threat("T-19")
def test_anonymous_upload_is_for_its_session_alone(client, django_user_model):
    client.get("/letters/")
    request = RequestFactory().get("/")
    request.session = client.session
    request.session.create()
    client.cookies["sessionid"] = request.session.session_key
    upload = finished(SCAN, None, session=session_of(request))
    stranger = type(client)()
    assert stranger.post("/letters/", {"title": "a", "scan": token_of(upload)}).status_code == 200
    assert client.post("/letters/", {"title": "a", "scan": token_of(upload)}).status_code == 302


@pytest.mark.threat("T-20")
@pytest.mark.parametrize("kind", ["slot", "upload", "file", "foreign field", "cut", "long", "NUL", "number"])
@pytest.mark.parametrize("prefix", ["storages-upload:", ""])
def test_only_the_token_of_a_file_of_this_field_passes(client, anna, kind, prefix):
    upload, foreign = finished(SCAN, anna), finished(FILE, anna)
    slot = tokens.slot_token(SCAN, "policy", tokens.Audience(str(anna.pk), ""), 1)
    texts = {"slot": slot, "upload": tokens.upload_token(upload), "file": tokens.file_token(upload)}
    texts |= {"foreign field": tokens.file_token(foreign), "cut": texts["file"][:-3], "long": 5000 * "a"}
    texts |= {"NUL": "\x00", "number": "17"}
    response = client.post("/letters/", {"title": "a", "scan": prefix + texts[kind]})
    assert response.status_code == (302 if kind == "file" else 200)


@pytest.mark.threat("T-21")
def test_file_is_taken_once(client, anna):
    upload = finished(SCAN, anna)
    client.post("/letters/", {"title": "a", "scan": token_of(upload)})
    response = client.post("/letters/", {"title": "b", "scan": token_of(upload)})
    assert errors_of(response) == ["This file was saved already; choose it again."]
    Letter.objects.all().delete()
    response = client.post("/letters/", {"title": "b", "scan": token_of(upload)})
    assert errors_of(response) == ["This file was saved already; choose it again."]


@pytest.mark.threat("T-21")
def test_upload_comes_back_after_an_error_of_another_field(client, anna):
    upload = finished(SCAN, anna, filename="my photo.png")
    token = token_of(upload)
    response = client.post("/letters/", {"title": "", "scan": token})
    kept = json.loads(elements(response)[0]["value"])
    assert kept == [{"token": tokens.file_token(upload), "name": "my photo.png", "size": len(PNG)}]
    client.post("/letters/", {"title": "a", "scan": f"storages-upload:{kept[0]['token']}"})
    assert Letter.objects.get().scan.name == upload.name


def test_kept_upload_does_not_hide_the_file_that_is_there(client, anna):
    letter = Letter.objects.create(title="a", scan=SimpleUploadedFile("a.png", PNG))
    response = client.post(f"/letters/{letter.pk}/", {"title": "", "scan": token_of(finished(SCAN, anna))})
    assert b'<a href="/paper/letters/a.png">letters/a.png</a>' in response.content
    assert json.loads(elements(response)[0]["value"])[0]["name"] == "a.png"


@pytest.mark.parametrize("state", [State.BEGUN, State.QUARANTINED, State.REJECTED, State.EXPIRED, State.ABORTED])
def test_upload_that_is_not_finished_is_refused(client, anna, state):
    response = client.post("/letters/", {"title": "a", "scan": token_of(finished(SCAN, anna, state=state))})
    assert response.status_code == 200
    assert elements(response)[0].get("value") is None


@pytest.mark.seed("S13")
@pytest.mark.parametrize(
    ("name", "claim", "content", "errors"),
    [
        ("a.png", "image/png", PNG, []),
        ("a.pdf", "application/pdf", PDF, []),
        ("a.png", "image/png", HTML, ["File type not supported."]),
        ("a.html", "image/png", PNG, ["File type not supported."]),
        ("a.html", "text/html", HTML, ["File type not supported."]),
        ("a.png", "image/png", PNG + bytes(1000), ["The file may not be larger than 1000\xa0bytes."]),
        ("a.png", "image/png", b"", ["The submitted file is empty."]),
        (
            "a.png",
            "image/png",
            HTML + bytes(1000),
            ["The file may not be larger than 1000\xa0bytes.", "File type not supported."],
        ),
    ],
)
def test_posted_file_is_looked_at(client, anna, name, claim, content, errors):
    response = client.post("/letters/", {"title": "a", "scan": SimpleUploadedFile(name, content, claim)})
    assert (errors_of(response) if response.status_code == 200 else []) == errors


@pytest.mark.parametrize(
    ("columns", "errors"),
    [
        ({"size": 1001}, ["The file may not be larger than 1000\xa0bytes."]),
        ({"size": 0}, ["The file may not be smaller than 1\xa0byte."]),
        ({"content_type": "text/html"}, ["File type not supported."]),
        ({"content_type": "image/svg+xml"}, ["File type not supported."]),
        (
            {"size": 1001, "content_type": "x/y"},
            ["The file may not be larger than 1000\xa0bytes.", "File type not supported."],
        ),
    ],
)
def test_limits_of_today_hold_for_uploads_of_yesterday(client, anna, columns, errors):
    upload = finished(SCAN, anna, **columns)
    assert errors_of(client.post("/letters/", {"title": "a", "scan": token_of(upload)})) == errors


@pytest.mark.threat("T-29")
@pytest.mark.parametrize(
    ("verdict", "errors"),
    [
        (True, []),
        (False, ["This file was refused."]),
        (None, ["This file could not be checked; try again later."]),
        (OSError("down"), ["This file could not be checked; try again later."]),
    ],
)
def test_posting_a_file_is_no_way_around_the_scanner(client, anna, settings, verdict, errors):
    seen = []

    def scanner(upload, file):
        seen.append((upload.filename, file.read()))
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    settings.UPLOADS_SCANNER = scanner
    response = client.post("/letters/", {"title": "a", "scan": SimpleUploadedFile("a.png", PNG, "image/png")})
    assert seen == [("a.png", PNG)]
    assert (errors_of(response) if response.status_code == 200 else []) == errors
    assert Letter.objects.count() == (not errors)
    assert not errors or not paper.client


# Formsets


def management(total, initial=0, prefix="enclosure_set"):
    return {f"{prefix}-TOTAL_FORMS": total, f"{prefix}-INITIAL_FORMS": initial}


def test_rows_of_a_formset_have_a_file_each(client, anna):
    letter = Letter.objects.create(title="a")
    uploads = [finished(FILE, anna, filename=f"{number}.txt") for number in range(2)]
    data = {f"enclosure_set-{number}-file": token_of(upload) for number, upload in enumerate(uploads)}
    client.post(f"/letters/{letter.pk}/enclosures/", {**data, **management(2)})
    assert {row.file.name for row in letter.enclosure_set.all()} == {upload.name for upload in uploads}


@pytest.mark.threat("T-21")
def test_two_rows_of_a_formset_do_not_share_a_file(client, anna):
    letter = Letter.objects.create(title="a")
    token = token_of(finished(FILE, anna))
    data = {f"enclosure_set-{number}-file": token for number in range(2)}
    client.raise_request_exception = False
    response = client.post(f"/letters/{letter.pk}/enclosures/", {**data, **management(2)})
    assert response.status_code in (409, 500)
    assert not letter.enclosure_set.exists()
    assert Upload.objects.get().state == State.FINISHED


def test_empty_row_of_a_formset_can_be_uploaded_to(client, anna):
    letter = Letter.objects.create(title="a")
    page = client.get(f"/letters/{letter.pk}/enclosures/")
    assert [element["name"] for element in elements(page)] == ["enclosure_set-0-file", "enclosure_set-1-file"]
    assert 'name="enclosure_set-__prefix__-file"' in EnclosureFormSet(instance=letter).empty_form.as_p()


# Saving


@pytest.mark.threat("T-21")
def test_rollback_gives_the_file_back(client, anna):
    Letter.objects.create(title="taken")
    upload = finished(SCAN, anna)
    with pytest.raises(IntegrityError), transaction.atomic():
        Letter.objects.create(title="taken", scan=UploadedDirectly(upload, paper))
    upload.refresh_from_db()
    assert upload.state == State.FINISHED
    client.post("/letters/", {"title": "a", "scan": token_of(upload)})
    assert Letter.objects.get(title="a").scan.name == upload.name


@pytest.mark.threat("T-21")
def test_of_two_who_save_at_once_one_wins(client, anna):
    token = token_of(finished(SCAN, anna))
    forms = [form_by(anna, {"title": title, "scan": token}) for title in "ab"]
    assert [form.is_valid() for form in forms] == [True, True]
    forms[0].save()
    with pytest.raises(UploadError, match="already_claimed"), transaction.atomic():
        forms[1].save()
    assert [letter.title for letter in Letter.objects.all()] == ["a"]


@pytest.mark.threat("T-21")
def test_saving_again_after_a_rollback_takes_the_file_again(anna):
    upload = finished(SCAN, anna)
    letter = Letter(title="a", scan=UploadedDirectly(upload, paper))
    with pytest.raises(RuntimeError), transaction.atomic():
        letter.save()
        raise RuntimeError
    letter.pk = None
    letter._state.adding = True
    letter.save()
    upload.refresh_from_db()
    assert upload.state == State.CLAIMED
    letter.title = "b"
    letter.save()
    assert Letter.objects.get().scan.name == upload.name


@pytest.mark.threat("T-21")
def test_saving_again_after_a_rollback_does_not_take_what_another_has(anna):
    upload = finished(SCAN, anna)
    letter = Letter(title="a", scan=UploadedDirectly(upload, paper))
    with pytest.raises(RuntimeError), transaction.atomic():
        letter.save()
        raise RuntimeError
    Letter.objects.create(title="b", scan=UploadedDirectly(Upload.objects.get(), paper))
    letter.pk = None
    letter._state.adding = True
    with pytest.raises(UploadError, match="already_claimed"), transaction.atomic():
        letter.save()


@pytest.mark.threat("T-21")
@pytest.mark.django_db(transaction=True)
def test_save_that_fails_outside_a_transaction_gives_the_file_back(anna):
    """The form is sent again with another title, as after any error; and so is the object saved again."""
    Letter.objects.create(title="taken")
    upload = finished(SCAN, anna)
    said = {"scan": token_of(upload)}
    form = form_by(anna, {"title": "a", **said})
    assert form.is_valid()
    form.instance.title = "taken"  # by somebody who was quicker
    told = []
    with receiving(signals.upload_claimed, lambda **sent: told.append(sent["upload"].pk)):
        with pytest.raises(IntegrityError):
            form.save()
        upload.refresh_from_db()
        assert (upload.state, told) == (State.FINISHED, [])
        again = form_by(anna, {"title": "b", **said})
        assert again.is_valid()
        again.save()
        assert told == [upload.pk]
    upload.refresh_from_db()
    assert upload.state == State.CLAIMED
    assert Letter.objects.get(title="b").scan.read() == PNG
    form.instance.title = "c"
    with pytest.raises(UploadError, match="already_claimed"):
        form.save()


@pytest.mark.threat("T-21")
@pytest.mark.django_db(transaction=True)
def test_object_that_was_not_saved_outside_a_transaction_can_be_saved_again(anna):
    Letter.objects.create(title="taken")
    upload = finished(SCAN, anna)
    letter = Letter(title="taken", scan=UploadedDirectly(upload, paper))
    with pytest.raises(IntegrityError):
        letter.save()
    letter.title = "free"
    letter.save()
    upload.refresh_from_db()
    assert (upload.state, Letter.objects.get(title="free").scan.name) == (State.CLAIMED, upload.name)


@pytest.mark.threat("T-21")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_new", [True, False])
def test_file_of_a_row_that_was_saved_is_not_given_back_for_an_error_after_it(anna, is_new):
    upload = finished(SCAN, anna)
    letter = Letter(title="a") if is_new else Letter.objects.create(title="a")
    letter.scan = UploadedDirectly(upload, paper)

    def fail(**sent):
        raise RuntimeError("after the row")

    with receiving(post_save, fail, sender=Letter), pytest.raises(RuntimeError):
        letter.save()
    upload.refresh_from_db()
    assert (upload.state, Letter.objects.get().scan.name) == (State.CLAIMED, upload.name)


@pytest.mark.threat("T-31")
@pytest.mark.django_db(transaction=True)
def test_replaced_file_outlives_a_save_that_fails_and_goes_with_the_next(anna):
    old, new = finished(FILE, anna), finished(FILE, anna)
    row = Enclosure.objects.create(letter=Letter.objects.create(), file=UploadedDirectly(old, nameless))
    letter, row.letter_id = row.letter_id, None
    row.file = UploadedDirectly(new, nameless)
    with pytest.raises(IntegrityError):
        row.save()
    assert set(nameless.client) == {old.name, new.name}
    assert {*Upload.objects.values_list("pk", "state")} == {(old.pk, "claimed"), (new.pk, "finished")}
    row.letter_id = letter
    row.save()
    assert set(nameless.client) == {new.name}
    assert {*Upload.objects.values_list("pk", "state")} == {(old.pk, "expired"), (new.pk, "claimed")}


@contextlib.contextmanager
def receiving(signal, receiver, **options):
    signal.connect(receiver, weak=False, **options)
    try:
        yield
    finally:
        signal.disconnect(receiver, **options)


def test_file_of_another_field_is_not_saved(anna):
    letter = Letter(title="a", scan=UploadedDirectly(finished(FILE, anna), nameless))
    with pytest.raises(ValueError, match=r"uploaded for tests_uploads\.Enclosure\.file"):
        letter.save()


@pytest.mark.threat("T-31")
@pytest.mark.seed("S4")
@pytest.mark.parametrize("posted", ["url", "name", "token"])
def test_posting_what_is_of_another_deletes_nothing(client, anna, bob, posted, django_capture_on_commit_callbacks):
    foreign = finished(FILE, bob)
    letter = Letter.objects.create(title="a")
    row = Enclosure.objects.create(letter=letter, file=UploadedDirectly(finished(FILE, anna), nameless))
    mine = row.file.name
    texts = {"url": f"https://bucket/{foreign.name}", "name": foreign.name, "token": token_of(foreign)}
    data = {"enclosure_set-0-id": row.pk, "enclosure_set-0-file": texts[posted], "enclosure_set-0-file-clear": "on"}
    with django_capture_on_commit_callbacks(execute=True):
        for text in (texts[posted], ""):
            data["enclosure_set-0-file"] = text
            client.post(f"/letters/{letter.pk}/enclosures/", {**data, **management(1, 1)})
    assert {mine, foreign.name} <= set(nameless.client)


@pytest.mark.threat("T-31")
def test_replaced_file_is_deleted_when_that_is_committed(anna, django_capture_on_commit_callbacks):
    old, new = finished(FILE, anna), finished(FILE, anna)
    row = Enclosure.objects.create(letter=Letter.objects.create(), file=UploadedDirectly(old, nameless))
    row.file = UploadedDirectly(new, nameless)
    with django_capture_on_commit_callbacks(execute=True):
        row.save()
        assert set(nameless.client) == {old.name, new.name}
    assert set(nameless.client) == {new.name}
    assert {*Upload.objects.values_list("name", "state")} == {(old.name, "expired"), (new.name, "claimed")}


@pytest.mark.threat("T-31")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["replaced", "cleared", "failed", "same"])
def test_replaced_file_is_deleted_outside_a_transaction_too(anna, change):
    old, letter = finished(FILE, anna), Letter.objects.create()
    row = Enclosure.objects.create(letter=letter, file=UploadedDirectly(old, nameless))
    row = Enclosure.objects.get(pk=row.pk)
    if change == "failed":
        row.letter_id = None
    if change != "same":
        row.file = "" if change == "cleared" else UploadedDirectly(finished(FILE, anna), nameless)
    try:
        row.save()
    except IntegrityError:
        assert change == "failed"
    assert (old.name in nameless.client) == (change in ("failed", "same"))


@pytest.mark.threat("T-31")
@pytest.mark.parametrize("why", ["rolled back", "of another row", "never uploaded here", "of another field"])
def test_replaced_file_stays_if_it_is_not_this_rows_own(anna, why, django_capture_on_commit_callbacks):
    letter = Letter.objects.create()
    name = nameless.save("old.png", SimpleUploadedFile("old.png", PNG))
    if why != "never uploaded here":
        field = SCAN if why == "of another field" else FILE
        finished(field, anna, name=name, state=State.CLAIMED)
    row = Enclosure.objects.create(letter=letter, file=name)
    if why == "of another row":
        Enclosure.objects.create(letter=letter, file=name)
    row.file = SimpleUploadedFile("new.png", PNG)
    with django_capture_on_commit_callbacks(execute=True):
        try:
            with transaction.atomic():
                row.save()
                if why == "rolled back":
                    raise RuntimeError
        except RuntimeError:
            pass
    assert name in nameless.client


def form_by(user, data):
    """Return a form that ``user`` posts."""
    request = RequestFactory().post("/")
    request.user = user
    form = LetterForm(data)
    UploadsMiddleware(lambda request: form.is_valid())(request)
    return form


# From the page to the row


@pytest.mark.parametrize("javascript", [True, False])
def test_rendered_form_is_all_that_a_browser_needs(anna, javascript, settings):
    settings.ROOT_URLCONF = "tests.uploads.form_site"
    browser = Browser(anna)
    (element,) = elements(browser.http.get("/letters/"))
    scan = SimpleUploadedFile("a.png", PNG, "image/png")
    if javascript:
        told = {"filename": "a.png", "content_type": "image/png", "slot": element["slot-token"]}
        scan = f"storages-upload:{browser.upload(PNG, **told)['token']}"
    response = browser.http.post("/letters/", {"title": "a", "scan": scan})
    assert response.status_code == 302
    letter = Letter.objects.get()
    assert letter.scan.read() == PNG
    assert letter.scan.name.startswith("letters/")
    assert list(paper.client) == [letter.scan.name]


@pytest.mark.threat("T-27")
def test_neither_way_takes_html_that_is_called_an_image(anna, settings):
    settings.ROOT_URLCONF = "tests.uploads.form_site"
    browser = Browser(anna)
    (element,) = elements(browser.http.get("/letters/"))
    begun = browser.begun(HTML, filename="a.png", content_type="image/png", slot=element["slot-token"])
    browser.send(begun, HTML)
    assert browser.call("finish", {"upload": begun["upload"]}).status_code == 422
    response = browser.http.post("/letters/", {"title": "a", "scan": SimpleUploadedFile("a.png", HTML, "image/png")})
    assert errors_of(response) == ["File type not supported."]
    assert paper.client == {}


@pytest.mark.threat("T-21")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["forms", "serializers"])
def test_loser_of_two_is_answered_409(client, anna, how, monkeypatch):
    """Of two who save at once the second finds the file taken only when it saves."""
    upload = finished(SCAN, anna)
    mark = claims._mark

    def mark_second(upload):
        monkeypatch.setattr(claims, "_mark", mark)
        Letter.objects.create(title="first", scan=UploadedDirectly(Upload.objects.get(), paper))
        mark(upload)

    monkeypatch.setattr(claims, "_mark", mark_second)
    address = "/letters/" if how == "forms" else "/api/letters/"
    response = client.post(address, {"title": "second", "scan": token_of(upload)})
    assert response.status_code == 409
    assert not Letter.objects.filter(title="second").exists()
