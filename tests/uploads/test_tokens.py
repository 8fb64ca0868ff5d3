"""Tokens: each is good for one purpose, one user, and not for ever."""

from __future__ import annotations

import base64

import pytest
from django.core import signing

from storages.uploads import tokens
from storages.uploads.audience import Audience
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from tests.uploads.conftest import FIELD, Browser, code_of, row_of
from tests.uploads.models import Clip

COVER = "tests_uploads.Clip.cover"


def made(browser):
    """Return one token of every kind, of one upload to Clip.file."""
    slot = browser.slot()
    begun = browser.begun(b"the file", slot=slot, accepts=["put"])
    browser.send(begun, b"the file")
    done = browser.ok("finish", {"upload": begun["upload"]})
    return {"slot": slot, "upload": begun["upload"], "file": done["token"]}


@pytest.mark.threat("T-20")
@pytest.mark.parametrize("kind", ["slot", "upload", "file"])
def test_token_is_good_for_its_purpose_alone(browser, kind):
    from django.test import RequestFactory

    from storages.uploads import claims

    token = made(browser)[kind]
    request = RequestFactory().get("/")
    request.user = row_of({"upload": made(browser)["upload"]}).user
    assert (browser.begin(slot=token).status_code == 201) is (kind == "slot")
    for call in ("status", "finish", "abort"):
        assert (browser.call(call, {"upload": token}).status_code < 300) is (kind == "upload")
    if kind != "file":
        with pytest.raises(UploadError, match="upload_not_found"):
            claims.look(token, Clip._meta.get_field("file"), request)


@pytest.mark.threat("T-20")
@pytest.mark.parametrize(
    "salt", ["django.core.signing", tokens.SLOT, tokens.UPLOAD, tokens.FILE, "storages.private.link"]
)
@pytest.mark.parametrize("dumps", [signing.dumps, lambda said, salt: signing.Signer(salt=salt).sign_object(said)])
@pytest.mark.parametrize(
    "said",
    [
        *({}, [], "", None, 3, [None], ["x", "y"], ["x" * 32, "y"], [1, 2], {"id": "x"}),
        *([FIELD, "p", "1", "", "9", "n"], [FIELD, "p", "1", "", True, "n"], ["0" * 32, "n"], ["0" * 32, "n", "m"]),
    ],
    ids=repr,
)
def test_whatever_was_signed_with_whichever_salt_is_refused_and_breaks_nothing(browser, salt, dumps, said):
    token = dumps(said, salt=salt)
    assert code_of(browser.begin(slot=token)) == (403, "slot_invalid")
    for call in ("status", "finish", "abort"):
        assert code_of(browser.call(call, {"upload": token})) == (404, "upload_not_found")
    assert tokens.read_file(token) is None or tokens.read_file(token).row == "0" * 32


@pytest.mark.threat("T-20")
@pytest.mark.parametrize("kind", ["slot", "upload", "file"])
def test_token_with_any_character_changed_is_refused(browser, kind):
    token = made(browser)[kind]
    read = {"upload": tokens.read_upload, "file": tokens.read_file}.get(kind)
    for place in range(0, len(token), 7):
        forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        if read:
            assert read(forged) is None
        else:
            with pytest.raises(UploadError, match="slot_"):
                tokens.read_slot(forged)


@pytest.mark.threat("T-20")
def test_token_is_not_even_read_as_one_of_another_purpose(browser):
    found = made(browser)
    assert tokens.read_upload(found["upload"])
    assert tokens.read_file(found["file"])
    assert tokens.read_upload(found["file"]) is tokens.read_upload(found["slot"]) is None
    assert tokens.read_file(found["upload"]) is tokens.read_file(found["slot"]) is None
    for other in ("upload", "file"):
        with pytest.raises(UploadError, match="slot_invalid"):
            tokens.read_slot(found[other])


@pytest.mark.threat("T-18")
def test_slot_ends_with_the_life_of_a_form(browser, clock, settings):
    slot = browser.slot()
    clock.forward(settings.UPLOADS_SLOT_EXPIRE - 1 if hasattr(settings, "UPLOADS_SLOT_EXPIRE") else 12 * 3600 - 1)
    assert browser.begin(slot=slot).status_code == 201
    clock.forward(2)
    assert code_of(browser.begin(slot=slot)) == (403, "slot_expired")


@pytest.mark.threat("T-18")
def test_slot_of_another_user_is_refused(browser, ben, db):
    slot = browser.slot()
    assert code_of(Browser(ben).begin(slot=slot)) == (403, "slot_invalid")
    assert code_of(Browser().begin(slot=slot)) == (403, "slot_invalid")
    assert not Upload.objects.exists()


@pytest.mark.threat("T-18")
@pytest.mark.parametrize("slot", [None, "", "x", "a:b:c"])
def test_no_slot_no_upload(browser, slot):
    said = {"filename": "a", "size": 1, "content_type": "", "accepts": ["put"], "slot": slot}
    assert code_of(browser.call("begin", {k: v for k, v in said.items() if v is not None})) == (403, "slot_invalid")


@pytest.mark.threat("T-20")
def test_slot_of_before_the_rules_changed_is_renewed(browser, monkeypatch):
    slot = browser.slot()
    monkeypatch.setattr(Clip._meta.get_field("file"), "max_size", 5000)
    assert code_of(browser.begin(slot=slot)) == (403, "slot_expired")


@pytest.mark.threat("T-18")
def test_slot_names_field_limits_user_and_count(browser, anna):
    slot = tokens.read_slot(browser.slot())
    assert (slot.field, slot.user, slot.session, slot.files) == (FIELD, str(anna.pk), "", 100)


@pytest.mark.threat("T-18")
def test_slot_is_good_for_as_many_files_as_it_says(browser, settings):
    settings.UPLOADS_SLOT_FILES = 2
    slot = browser.slot()
    first = browser.begun(slot=slot)
    browser.begun(slot=slot)
    assert code_of(browser.begin(slot=slot)) == (403, "slot_expired")
    browser.ok("abort", {"upload": first["upload"]})
    browser.begun(slot=slot)


@pytest.mark.threat("T-37")
def test_no_token_or_name_tells_who_uploads_what(browser, cloud):
    name = "salary Anna.pdf"
    begun = browser.begun(accepts=["put"], filename=name, content_type="application/octet-stream")
    row = row_of(begun)
    opened = [base64.urlsafe_b64decode(part + "===") for part in begun["upload"].split(":")]
    for said in [begun["request"]["url"], row.name, repr(opened), begun["upload"]]:
        assert "salary" not in said.lower()
        assert "anna" not in said.lower()
    assert row.filename == name


@pytest.mark.threat("T-37")
def test_answer_of_begin_has_no_token_in_a_url(browser, cloud):
    begun = browser.begun(accepts=["put"])
    assert begun["upload"] not in begun["request"]["url"]


def test_token_survives_a_new_secret_key_while_the_old_one_is_a_fallback(browser, settings):
    found = made(browser)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another one"
    assert tokens.read_slot(found["slot"])
    assert tokens.read_upload(found["upload"])
    assert tokens.read_file(found["file"])
    settings.SECRET_KEY_FALLBACKS = []
    assert tokens.read_file(found["file"]) is None


@pytest.mark.threat("T-19")
@pytest.mark.parametrize("call", ["status", "finish", "abort", "parts"])
def test_upload_of_another_user_is_not_there(browser, ben, cloud, call):
    begun = browser.begun(accepts=["multipart"])
    other = Browser(ben)
    missing = {"upload": tokens.upload_token(Upload(nonce="x"))}
    said = {"numbers": [1]} if call == "parts" else {}
    cloud.calls.clear()
    foreign = other.call(call, {"upload": begun["upload"], **said})
    assert code_of(foreign) == (404, "upload_not_found")
    assert foreign.content == other.call(call, {**missing, **said}).content  # byte for byte: no oracle
    assert code_of(Browser().call(call, {"upload": begun["upload"], **said})) == (404, "upload_not_found")
    assert not cloud.calls
    assert row_of(begun).state == State.BEGUN


@pytest.mark.threat("T-19")
def test_upload_whose_nonce_was_changed_has_no_token_any_more(browser):
    begun = browser.begun()
    Upload.objects.update(nonce="another")
    assert code_of(browser.call("status", {"upload": begun["upload"]})) == (404, "upload_not_found")


@pytest.mark.threat("T-18")
def test_somebody_who_is_not_logged_in_is_known_by_the_session(db, cloud, settings):
    settings.UPLOADS_PERMISSION = "storages.uploads.permissions.allow_anybody"
    first, second = Browser(), Browser()
    slot = first.slot()
    assert code_of(second.begin(slot=slot)) == (403, "slot_invalid")
    begun = first.begun(slot=slot, accepts=["put"])
    assert code_of(second.call("status", {"upload": begun["upload"]})) == (404, "upload_not_found")
    first.send(begun, b"the file")
    first.ok("finish", {"upload": begun["upload"]})
    row = row_of(begun)
    assert (row.user, len(row.session)) == (None, 64)
    assert first.http.session.session_key not in row.session


@pytest.mark.threat("T-18")
def test_session_that_has_ended_is_nobodys(db, cloud, settings):
    settings.UPLOADS_PERMISSION = "storages.uploads.permissions.allow_anybody"
    browser = Browser()
    slot = browser.slot()
    browser.http.session.delete()
    assert code_of(browser.begin(slot=slot)) == (403, "slot_invalid")


@pytest.mark.threat("T-18")
def test_user_who_was_deactivated_goes_no_further(browser, anna):
    begun = browser.begun()
    anna.is_active = False
    anna.save()
    assert code_of(browser.call("status", {"upload": begun["upload"]})) == (404, "upload_not_found")


def test_audience_of_rows():
    assert Audience("7", "").rows == {"user_id": "7"}
    assert Audience("", "h").rows == {"session": "h"}


@pytest.mark.parametrize("label", [FIELD, COVER])
def test_slot_is_for_the_field_that_was_asked_for(browser, label):
    assert tokens.read_slot(browser.slot(label)).field == label
