"""The system checks of direct uploads: what is told, and that nothing is told of a sound project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import models
from django.test.utils import isolate_apps
from django.urls import path

import storages.uploads
from storages.backends.memory import MemoryStorage
from storages.contract import Enforced
from storages.uploads import checks, kinds, permissions, schema, sealing
from storages.uploads.errors import UploadError
from storages.uploads.fields import DirectUploadField
from storages.uploads.middleware import UploadsMiddleware
from tests.uploads.form_site import urlpatterns

pytestmark = pytest.mark.urls("tests.uploads.form_site")


class Cloud(MemoryStorage):
    """Offers the kinds that it is given."""

    def __init__(self, **kinds):
        super().__init__()
        self.kinds = kinds

    @property
    def upload_kinds(self):
        return self.kinds


EXACT, PROMOTED = Enforced(size="exact", type="signed", overwrite="denied"), Enforced(size="range", type="signed")
LATE = Enforced()


def a_function(*args):
    """Do what a hook does that is not there for this."""


def told(check):
    return [message.id.removeprefix("storages_uploads.") for message in check(None)]


@pytest.fixture
def field(monkeypatch):
    """Make the only field of the project."""

    def make(storage=None, **options):
        with isolate_apps("tests.uploads"):

            class Paper(models.Model):
                file = DirectUploadField(storage=storage or MemoryStorage(), **options)

                class Meta:
                    app_label = "tests_uploads"

        made = Paper._meta.get_field("file")
        monkeypatch.setattr(checks, "_fields", lambda: [made])
        return made

    return make


def test_sound_project_is_told_nothing(field):
    field()
    call_command("check", tags=["storages_uploads"])


def test_checks_are_those_that_manage_runs(settings):
    settings.UPLOADS_PERMISSION = None
    with pytest.raises(SystemCheckError, match=r"storages_uploads\.E004"):
        call_command("check", tags=["storages_uploads"])


def test_every_id_is_documented_once():
    app = Path(storages.uploads.__file__).parent
    sources = "".join(path.read_text("utf-8") for path in app.glob("*.py"))
    used = set(re.findall(r'(?:_error\(\s*"|storages_uploads\.|\{TAG\}\.)([EW]\d{3})"', sources))
    rows = re.findall(r"\* - ``storages_uploads\.(\w+)``", (app.parents[1] / "docs/checks.rst").read_text("utf-8"))
    assert rows == sorted(used)


@pytest.mark.parametrize(
    ("kinds", "options", "ids"),
    [
        ({"put": EXACT, "multipart": EXACT}, {"enforce": ["size", "type", "overwrite"]}, []),
        ({"put": EXACT, "multipart": EXACT}, {"enforce": "checksum"}, ["E001", "E001"]),
        ({"put": LATE}, {}, []),
        ({"put": LATE, "blocks": LATE}, {"enforce": "size"}, ["E001", "E001"]),
        ({"put": LATE, "blocks": LATE}, {"enforce": "size", "max_size": 1000}, ["E001"]),
        ({"post": PROMOTED, "multipart": LATE}, {"enforce": "size", "max_size": 1000}, []),
        ({"post": PROMOTED, "multipart": LATE}, {"enforce": "size"}, ["E001"]),
        ({"post": PROMOTED, "put": EXACT}, {"enforce": "overwrite", "max_size": 1000}, []),
        ({"link": LATE}, {"enforce": "size", "max_size": 1000}, ["E001"]),
        ({"blocks": EXACT}, {"enforce": "size", "max_size": 1000}, []),
        ({"put": LATE, "multipart": EXACT}, {"enforce": "size", "min_size": 10**9}, []),
        ({}, {"enforce": ["size", "overwrite"]}, []),
        ({}, {"enforce": "type"}, ["E001", "E001"]),
    ],
)
def test_promise_that_the_storage_does_not_keep_is_told(field, kinds, options, ids):
    field(Cloud(**kinds), **options)
    assert told(checks.check_promises) == ids


@pytest.mark.parametrize(("promise", "is_kept"), [("size", True), ("overwrite", True), ("type", False)])
def test_hint_says_whether_the_files_would_come_through_this_server(field, promise, is_kept):
    made = field(Cloud(put=LATE), enforce=promise, max_size=1000)
    (message,) = checks.check_promises(None)
    assert ("by tus" in message.hint) is is_kept
    said = {"slot": "s", "filename": "a", "size": 10, "content_type": "text/plain", "accepts": ["put", "tus"]}
    asked = schema.begin(said)
    if is_kept:
        assert kinds.choose(made, asked)[0] == "tus"
    else:
        with pytest.raises(UploadError, match="kind_not_supported"):
            kinds.choose(made, asked)


@pytest.mark.parametrize(
    ("storage", "spool", "ids"),
    [(None, None, ["W003"]), (None, "/srv/spool", []), (Cloud(put=EXACT), None, [])],
    ids=["through the server", "with a place", "to a service"],
)
def test_spool_without_a_place_is_told_before_deployment(field, settings, storage, spool, ids):
    field(storage)
    settings.UPLOADS_SPOOL = spool
    assert told(checks.check_spool) == ids
    assert checks.check_spool not in registry.get_checks()
    assert checks.check_spool in registry.get_checks(include_deployment_checks=True)


def test_message_says_which_kind_does_not_keep_what(field):
    field(Cloud(put=EXACT, post=LATE), enforce=["size", "checksum"], max_size=1000)
    (message,) = checks.check_promises(None)
    assert message.msg == (
        "tests_uploads.Paper.file wants checksum, size enforced, and Cloud does not: "
        "put does not refuse by checksum; post does not refuse by checksum, size"
    )


@pytest.mark.parametrize("is_installed", [True, False])
def test_kind_that_needs_encryption_is_told(field, is_installed, monkeypatch):
    monkeypatch.setattr(sealing, "is_possible", lambda: is_installed)
    field(Cloud(put=EXACT, resumable=EXACT))
    assert told(checks.check_secrets) == ([] if is_installed else ["W002"])


@pytest.mark.parametrize(
    ("kinds", "options", "ids"),
    [
        pytest.param({"post": EXACT}, {}, ["W004"], id="small-ones-are-signed"),
        pytest.param({"post": EXACT}, {"max_size": 64 * 2**20 + 1}, ["W004"], id="larger-than-that"),
        pytest.param({"post": EXACT}, {"max_size": 64 * 2**20}, [], id="never-larger"),
        pytest.param({"post": EXACT, "multipart": EXACT}, {}, [], id="parts-are-signed"),
        pytest.param({}, {}, [], id="nothing-is-signed"),
    ],
)
def test_large_files_that_come_through_the_server_are_told(field, kinds, options, ids):
    field(Cloud(**kinds), **options)
    assert told(checks.check_detours) == ids


@pytest.mark.parametrize(
    ("middleware", "ids"),
    [
        (["storages.uploads.middleware.UploadsMiddleware"], []),
        (["tests.uploads.test_upload_checks.OwnMiddleware"], []),
        (["django.middleware.common.CommonMiddleware", "not.there"], ["E002"]),
        ([], ["E002"]),
    ],
)
def test_missing_middleware_is_told(settings, middleware, ids):
    settings.MIDDLEWARE = middleware
    assert told(checks.check_middleware) == ids


class OwnMiddleware(UploadsMiddleware):
    pass


@pytest.mark.parametrize("check", [checks.check_middleware, checks.check_urls])
def test_project_without_fields_needs_neither(settings, check, monkeypatch):
    settings.MIDDLEWARE, settings.ROOT_URLCONF = [], "tests.private.urls"
    monkeypatch.setattr(checks, "_fields", list)
    assert told(check) == []


def test_missing_urls_are_told(settings):
    assert told(checks.check_urls) == []
    settings.ROOT_URLCONF = "tests.private.urls"
    assert told(checks.check_urls) == ["E003"]


@pytest.mark.threat("T-18")
@pytest.mark.parametrize(
    ("policy", "ids"),
    [
        ("storages.uploads.permissions.allow_staff", []),
        (a_function, []),
        (None, ["E004"]),
        ("", ["E004"]),
        ("not.there", ["E005"]),
        ("storages.uploads.permissions.inspect", ["E005"]),
        (17, ["E005"]),
        ("storages.uploads.permissions.allow_anybody", ["W001"]),
        (permissions.allow_anybody, ["W001"]),
    ],
)
@pytest.mark.parametrize("where", ["setting", "field"])
def test_permission_that_denies_or_admits_everybody_is_told(field, settings, policy, ids, where):
    field(permission=policy if where == "field" else None)
    settings.UPLOADS_PERMISSION = policy if where == "setting" or policy is None else "not.asked"
    assert told(checks.check_permissions) == ids


def test_open_uploads_without_sessions_are_told(field, settings):
    field(permission=permissions.allow_anybody)
    settings.MIDDLEWARE = []
    assert told(checks.check_permissions) == ["W001", "E006"]


@pytest.mark.threat("T-29")
@pytest.mark.parametrize(
    ("name", "value", "ids"),
    [
        ("UPLOADS_SCANNER", "not.there", ["E007"]),
        ("UPLOADS_SCANNER", "tests.uploads.test_upload_checks.LATE", ["E007"]),
        ("UPLOADS_SCANNER", a_function, []),
        ("UPLOADS_RATE", "not.there", ["E007"]),
        ("UPLOADS_QUOTA", "not.there", ["E007"]),
        ("UPLOADS_QUOTA", 10**9, []),
        ("UPLOADS_QUOTA", None, []),
    ],
)
def test_hook_that_is_not_there_is_told(field, settings, name, value, ids):
    field()
    setattr(settings, name, value)
    assert told(checks.check_hooks) == ids


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ([], []),
        (["rest_framework.authentication.TokenAuthentication", a_function], []),
        (["tests.uploads.test_upload_checks.knows_later"], ["E007"]),
        (["not.there", "tests.uploads.test_upload_checks.LATE", a_function], ["E007", "E007"]),
        ("rest_framework.authentication.TokenAuthentication", ["E007"]),
        (None, ["E007"]),
    ],
)
def test_authenticator_that_is_not_there_is_told(field, settings, value, ids):
    field()
    settings.UPLOADS_AUTHENTICATION = value
    assert told(checks.check_hooks) == ids


async def knows_later(request):
    """Be asynchronous, which an authenticator may not."""


@pytest.mark.threat("T-29")
@pytest.mark.parametrize(
    ("scan", "ids"), [(None, []), (False, []), (a_function, []), (True, ["E007"]), ("not.there", ["E007"])]
)
def test_scanner_of_a_field_that_is_not_there_is_told(field, scan, ids):
    field(scan=scan)
    assert told(checks.check_hooks) == ids


def test_field_that_must_be_scanned_is_content_with_the_setting(field, settings):
    settings.UPLOADS_SCANNER = a_function
    field(scan=True)
    assert told(checks.check_hooks) == []


def fake_view(request):
    """Stand for the fake S3."""


fake_view.__module__ = "storages.uploads.testing.views"
WITH_FAKE = type("urls", (), {"urlpatterns": [*urlpatterns, path("media/s3/uploads/", fake_view)]})


@pytest.mark.threat("T-39")
@pytest.mark.parametrize(
    ("debug", "setting", "has_route", "ids"),
    [
        (True, None, True, []),
        (True, True, True, []),
        (False, None, False, []),
        (False, None, True, ["E008"]),
        (False, True, False, ["E008"]),
        (False, True, True, ["E008"]),
        (False, False, True, []),
    ],
)
def test_fake_outside_debug_is_told(settings, debug, setting, has_route, ids):
    settings.DEBUG, settings.UPLOADS_FAKE = debug, setting
    if has_route:
        settings.ROOT_URLCONF = WITH_FAKE
    assert told(checks.check_fake) == ids


@pytest.mark.parametrize(
    ("staging", "upload_to", "ids"),
    [
        ("uploads-staging", "letters", []),
        ("uploads-staging", "uploads-staging-not", []),
        ("a/b", "a", []),
        ("a/b/", "a/b/c", ["E010"]),
        ("a", "a", ["E010"]),
        ("a", lambda instance, filename: f"a/{filename}", ["E010"]),
        ("a", lambda instance, filename: instance.nobody, []),
        ("", "", ["E009"]),
        (None, "", ["E009"]),
        ("/", "", ["E009"]),
        ("/a", "", ["E009"]),
        ("a/../b", "", ["E009"]),
        ("a//b", "", ["E009"]),
    ],
)
def test_staging_that_is_no_place_of_its_own_is_told(field, settings, staging, upload_to, ids):
    field(upload_to=upload_to)
    settings.UPLOADS_STAGING = staging
    assert told(checks.check_staging) == ids


def test_app_that_is_not_installed_is_told(field, settings):
    made = field()
    assert made.check() == []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "storages.uploads"]
    assert [message.id for message in made.check()] == ["storages_uploads.E014"]
