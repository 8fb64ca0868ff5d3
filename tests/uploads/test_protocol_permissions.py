"""Who may upload, and how much at a time."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ImproperlyConfigured, PermissionDenied

from storages.uploads.models import Upload
from tests.uploads import models
from tests.uploads.conftest import FIELD, Browser, code_of

PLACE = "storages.uploads.permissions."


async def agree(request, field):
    return True


def refuse(request, field):
    raise PermissionDenied


def forget(request, field):
    return lambda: False


def wait_a_while(request, field):
    return {"alone": 7, "busy": 0.2}.get(request.headers.get("X-Mood", ""))


def of_user(request, field):
    return 20


@pytest.mark.threat("T-18")
def test_nobody_who_is_not_logged_in_may_upload(db, cloud):
    response = Browser().call("slot", {"field": FIELD})
    assert code_of(response) == (401, "not_authenticated")
    assert b"slot" not in response.content
    assert "sessionid" not in response.cookies


@pytest.mark.threat("T-18")
@pytest.mark.parametrize(
    ("permission", "people"),
    [
        (None, []),
        (PLACE + "allow_authenticated", ["user", "staff", "superuser"]),
        (PLACE + "allow_staff", ["staff"]),
        (PLACE + "allow_superuser", ["superuser"]),
        (PLACE + "allow_anybody", ["anonymous", "user", "staff", "superuser"]),
        (PLACE + "allow_editors", ["superuser"]),
        (agree, ["anonymous", "user", "staff", "superuser"]),
        (refuse, []),
    ],
)
def test_permission_of_the_setting_lets_in_who_it_names(db, cloud, settings, django_user_model, permission, people):
    settings.UPLOADS_PERMISSION = permission
    marks = {"user": {}, "staff": {"is_staff": True}, "superuser": {"is_superuser": True}}
    users = {name: django_user_model.objects.create_user(name, **mark) for name, mark in marks.items()}
    let = [
        name
        for name in ("anonymous", *users)
        if Browser(users.get(name)).call("slot", {"field": FIELD}).status_code == 200
    ]
    assert let == people
    if "user" not in people:
        assert code_of(Browser(users["user"]).call("slot", {"field": FIELD})) == (403, "permission_denied")


@pytest.mark.threat("T-18")
def test_editors_are_who_may_add_or_change_the_model(browser, anna, settings):
    settings.UPLOADS_PERMISSION = PLACE + "allow_editors"
    assert code_of(browser.call("slot", {"field": FIELD})) == (403, "permission_denied")
    anna.user_permissions.add(Permission.objects.get(codename="change_clip"))
    browser.slot()


@pytest.mark.threat("T-18")
def test_permission_is_asked_again_when_an_upload_begins(browser, monkeypatch):
    monkeypatch.setitem(models.TURNS, "answer", True)
    slot = browser.slot("tests_uploads.Strict.file")
    monkeypatch.setitem(models.TURNS, "answer", False)
    assert code_of(browser.begin(slot=slot)) == (403, "permission_denied")
    assert not Upload.objects.exists()


@pytest.mark.parametrize("permission", [forget, "storages.uploads.permissions.no_such_thing", "no.such.module"])
def test_permission_that_cannot_be_asked_lets_nobody_in(browser, settings, permission):
    settings.UPLOADS_PERMISSION = permission
    with pytest.raises(ImproperlyConfigured):
        browser.call("slot", {"field": FIELD})


# Limits


@pytest.mark.threat("T-25")
def test_so_many_uploads_of_one_user_are_open_at_a_time(browser, ben, settings):
    settings.UPLOADS_MAX_OPEN = 2
    first = browser.begun(accepts=["put"])
    browser.begun()
    response = browser.begin()
    assert code_of(response) == (429, "too_many_open")
    assert response["Retry-After"] == "60"
    Browser(ben).begun()  # somebody else's are not counted
    browser.send(first, b"the file")
    browser.ok("finish", {"upload": first["upload"]})
    browser.begun()
    assert Upload.objects.count() == 4


@pytest.mark.threat("T-25")
@pytest.mark.parametrize("quota", [20, "tests.uploads.test_protocol_permissions.of_user"])
def test_bytes_that_no_form_has_taken_are_counted(browser, settings, quota):
    settings.UPLOADS_QUOTA = quota
    browser.upload(b"x" * 12, accepts=["put"])
    begun = browser.begun(b"x" * 8)
    response = browser.begin(b"x")
    assert code_of(response) == (429, "quota_exceeded")
    assert response["Retry-After"] == "60"
    browser.ok("abort", {"upload": begun["upload"]})
    browser.begun(b"x" * 8)


@pytest.mark.threat("T-25")
def test_uploads_that_have_expired_are_not_counted(browser, settings, clock):
    settings.UPLOADS_MAX_OPEN = 1
    settings.UPLOADS_EXPIRE = 30
    browser.begun()
    clock.forward(10)
    assert browser.begin()["Retry-After"] == "20"
    clock.forward(21)
    browser.begun()


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(("mood", "seconds"), [("alone", "7"), ("busy", "1"), ("", None)])
def test_projects_own_hook_slows_uploads_down(browser, settings, mood, seconds):
    settings.UPLOADS_RATE = "tests.uploads.test_protocol_permissions.wait_a_while"
    said = {"slot": browser.slot(), "filename": "a", "size": 1, "content_type": "", "accepts": ["put"]}
    response = browser.call("begin", said, **{"X-Mood": mood})
    if seconds is None:
        assert response.status_code == 201
    else:
        assert code_of(response) == (429, "rate_limited")
        assert response["Retry-After"] == seconds
        assert not Upload.objects.exists()


@pytest.mark.threat("T-25")
def test_upload_that_is_refused_for_a_limit_leaves_nothing(browser, cloud, settings):
    settings.UPLOADS_MAX_OPEN = 0
    assert code_of(browser.begin()) == (429, "too_many_open")
    assert not Upload.objects.exists()
    assert not cloud.calls
