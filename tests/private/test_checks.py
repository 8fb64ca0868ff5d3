"""What manage.py check says of private files."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.apps.registry import Apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import models
from django.http import HttpResponse
from django.test import override_settings
from django.test.utils import isolate_apps
from django.urls import include, path, re_path

from storages.backends.memory import MemoryStorage
from storages.private.checks import CHECKS, DEAD_SETTINGS, TAG
from storages.private.fields import PrivateFileField
from storages.private.storage import PrivateFileSystemStorage, PrivateStorageMixin, private_storage
from storages.private.views import PrivateStorageDetailView, PrivateStorageView
from tests.servers.b2 import B2

ROOT = Path(__file__).parent.parent.parent
PRIVATE = {"BACKEND": "tests.private.test_checks.PrivateMemoryStorage"}


class PrivateMemoryStorage(PrivateStorageMixin, MemoryStorage):
    pass


class NeedyStorage(PrivateFileSystemStorage):
    def __init__(self, **options):
        raise ImproperlyConfigured("a thing is missing")


class Urls:
    urlpatterns = [path("private-media/", include("storages.private.urls"))]


class NoUrls:
    urlpatterns: tuple = ()


class B2Urls:
    urlpatterns = [path("files/", include("storages.private.b2_urls"))]


def urls(*views):
    """Return a URLconf of ``views``."""
    patterns = [re_path(f"^v{number}/(?P<path>.*)$", view) for number, view in enumerate(views)]
    return type("Views", (), {"urlpatterns": [path("below/", include(patterns))]})


@pytest.fixture(autouse=True)
def project(settings, tmp_path, monkeypatch):
    """A project in which nothing is wrong, and no model has a file."""
    settings.MEDIA_ROOT, settings.STATIC_ROOT = str(tmp_path / "media"), str(tmp_path / "static")
    settings.PRIVATE_STORAGE_ROOT = str(tmp_path / "private")
    settings.ROOT_URLCONF = Urls
    monkeypatch.setattr("storages.private.checks.apps", Apps([]))
    return settings


def found(**settings):
    """Return the messages, as text by id."""
    with override_settings(**settings):
        messages = run_checks(tags=[TAG])
    return {message.id.removeprefix(f"{TAG}."): str(message) for message in messages}


def private_model(storage=private_storage):
    class Paper(models.Model):
        file = PrivateFileField(storage=storage)

        class Meta:
            app_label = "contenttypes"

    return Paper


def with_model(storage=private_storage, **settings):
    """Return the messages for a project that has a model with a private file."""
    with isolate_apps("django.contrib.contenttypes", attr_name="apps") as apps:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("storages.private.checks.apps", apps)
            private_model(storage)
            return found(**settings)


def test_app_registers_every_check():
    output = StringIO()
    with override_settings(AWS_PRIVATE_PRELOAD_METADATA=True):
        call_command("check", tags=[TAG], stderr=output)
    assert "storages_private.W001" in output.getvalue()
    assert len(CHECKS) == 7


@pytest.mark.parametrize("urlconf", [Urls, NoUrls])
def test_good_configuration_has_nothing_to_report(urlconf):
    assert found(ROOT_URLCONF=urlconf) == {}
    assert with_model() == {}


def test_every_id_is_documented():
    text = (ROOT / "docs/checks.rst").read_text("utf-8")
    code = (ROOT / "storages/private/checks.py").read_text("utf-8")
    ids = {f"E{number:03}" for number in range(1, 10)} | {"W001", "W002", "W003"}
    assert {id_ for id_ in ids if id_ in code} == ids
    assert {id_ for id_ in ids if f"``{TAG}.{id_}``" in text} == ids


# Storages


def test_class_that_is_not_there_is_reported():
    assert "PRIVATE_STORAGE_CLASS cannot be imported" in found(PRIVATE_STORAGE_CLASS="nowhere.Storage")["E001"]


def test_storage_that_cannot_be_made_is_reported():
    message = found(PRIVATE_STORAGE_CLASS="tests.private.test_checks.NeedyStorage")["E001"]
    assert "cannot be made: a thing is missing" in message


@pytest.mark.seed("S7")
@pytest.mark.parametrize("unset", [None, ""])
def test_unset_root_is_reported(unset):
    assert "set PRIVATE_STORAGE_ROOT to a directory" in found(PRIVATE_STORAGE_ROOT=unset)["E002"]
    assert "contenttypes.Paper.file" in with_model(PRIVATE_STORAGE_ROOT=unset)["E002"]


def test_unset_root_that_nobody_needs_is_left_alone():
    assert found(PRIVATE_STORAGE_ROOT=None, ROOT_URLCONF=NoUrls) == {}
    assert found(PRIVATE_STORAGE_ROOT=None, PRIVATE_STORAGE_CLASS=PrivateMemoryStorage) == {}
    assert with_model(PrivateFileSystemStorage("/srv/x"), PRIVATE_STORAGE_ROOT=None, ROOT_URLCONF=Urls).keys() == {
        "E002"
    }
    assert with_model(PrivateFileSystemStorage("/srv/x", "/x/"), PRIVATE_STORAGE_ROOT=None, ROOT_URLCONF=NoUrls) == {}


@pytest.mark.seed("S7")
@pytest.mark.parametrize("public", ["MEDIA_ROOT", "STATIC_ROOT", "STATICFILES_DIRS"])
@pytest.mark.parametrize(
    ("private", "reported"),
    [(".", True), ("below/it", True), ("..", True), ("../beside", False), ("../public-too", False), ("link", False)],
)
def test_root_that_is_not_apart_from_a_public_one_is_reported(tmp_path, public, private, reported):
    root = tmp_path / "public"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    value = [("prefix", str(root))] if public == "STATICFILES_DIRS" else str(root)
    messages = found(**{public: value, "PRIVATE_STORAGE_ROOT": str(root / private)})
    assert ("E003" in messages) is reported


def test_root_that_is_public_by_a_link_is_reported(tmp_path, project):
    (tmp_path / "media").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "media")
    assert "not apart" in found(PRIVATE_STORAGE_ROOT=str(tmp_path / "link" / "private"))["E003"]


def test_storage_of_a_field_or_an_alias_is_looked_at_too(tmp_path, project):
    inside = PrivateFileSystemStorage(tmp_path / "media" / "x")
    assert "contenttypes.Paper.file" in with_model(inside)["E003"]
    backend = "storages.private.storage.PrivateFileSystemStorage"
    vault = {"BACKEND": backend, "OPTIONS": {"location": str(tmp_path / "media")}}
    message = found(STORAGES={**project.STORAGES, "vault": vault})["E003"]
    assert message.startswith("STORAGES['vault']: ")


# URLs


def test_urls_that_are_not_included_are_reported():
    message = with_model(ROOT_URLCONF=NoUrls)["E004"]
    assert "contenttypes.Paper.file: (storages_private.E004) Private files have no URL" in message
    assert "include('storages.private.urls')" in message


def test_view_of_a_storages_own_that_is_not_there_is_reported():
    message = with_model(PrivateMemoryStorage(view_name="vault:file"))["E004"]
    assert "no view is named 'vault:file'" in message
    assert "correct 'view_name'" in message


@pytest.mark.parametrize(
    "storage", [PrivateMemoryStorage(base_url="/x/"), PrivateFileSystemStorage("/srv/private", base_url="/x/")]
)
def test_storage_with_urls_of_its_own_needs_no_view(storage):
    assert with_model(storage, ROOT_URLCONF=NoUrls) == {}


def test_storage_that_signs_needs_no_view():
    keys = {"bucket_name": "b", "access_key": "id", "secret_key": "secret"}
    from storages.private.storage import PrivateS3Storage

    assert with_model(PrivateS3Storage(**keys), ROOT_URLCONF=NoUrls) == {}
    assert "E004" in with_model(PrivateS3Storage(**keys, querystring_auth=False), ROOT_URLCONF=NoUrls)


def test_model_with_a_detail_view_needs_no_other(monkeypatch):
    with isolate_apps("django.contrib.contenttypes", attr_name="apps") as apps:
        model = private_model()
    monkeypatch.setattr("storages.private.checks.apps", apps)
    assert found(ROOT_URLCONF=urls(PaperView.as_view(model=model))) == {}
    assert "E004" in found(ROOT_URLCONF=urls(PaperView.as_view(model=model, model_file_field="other")))


# Permissions


class Unguarded(PrivateStorageView):
    can_access_file = None


class Guarded(PrivateStorageView):
    def can_access_file(self, private_file):
        return True


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("view", [Unguarded.as_view(), PrivateStorageView.as_view(can_access_file=None)])
def test_view_without_a_permission_is_reported(view):
    message = found(ROOT_URLCONF=urls(view))["E005"]
    assert "at 'below/^v0/(?P<path>.*)$' has no permission: can_access_file is None" in message


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("unset", [None, ""])
def test_setting_without_a_permission_is_reported_once(unset):
    views = urls(PrivateStorageView.as_view(), PrivateStorageView.as_view(), Guarded.as_view())
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=unset, ROOT_URLCONF=views):
        messages = run_checks(tags=[TAG])
    assert [message.id for message in messages] == [f"{TAG}.E005"]
    assert "PRIVATE_STORAGE_AUTH_FUNCTION is" in messages[0].msg


def test_setting_that_no_view_asks_is_left_alone():
    assert found(PRIVATE_STORAGE_AUTH_FUNCTION=None, ROOT_URLCONF=urls(Guarded.as_view())) == {}


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("nowhere.allow", "cannot be imported"),
        ("storages.private.permissions.allow_nobody", "cannot be imported"),
        ("storages.private.checks.TAG", "is no function"),
    ],
)
def test_permission_that_is_not_there_is_reported(policy, problem):
    assert problem in found(PRIVATE_STORAGE_AUTH_FUNCTION=policy)["E006"]
    view = PrivateStorageView.as_view(can_access_file=policy)
    assert problem in found(ROOT_URLCONF=urls(view))["E006"]


# Deliveries


class Picky:
    @staticmethod
    def problem(storage):
        return "not these" if isinstance(storage, MemoryStorage) else None

    @staticmethod
    def serve(private_file):
        return HttpResponse()


class PaperView(PrivateStorageDetailView):
    model_file_field = "file"


@pytest.mark.parametrize("name", ["nginxx", "nowhere.Server"])
def test_delivery_that_is_not_there_is_reported(name):
    assert f"there is no delivery {name!r}" in found(PRIVATE_STORAGE_SERVER=name)["E007"]
    assert f"there is no delivery {name!r}" in found(ROOT_URLCONF=urls(Guarded.as_view(server_class=name)))["E007"]


def test_delivery_that_cannot_is_reported():
    good = Guarded.as_view(server_class=Picky)
    assert found(ROOT_URLCONF=urls(good)) == {}
    bad = Guarded.as_view(server_class=Picky, storage=PrivateMemoryStorage())
    assert "cannot deliver its files: not these" in found(ROOT_URLCONF=urls(bad))["E007"]
    chosen = Guarded.as_view(storage=PrivateMemoryStorage(server=Picky))
    assert "not these" in found(ROOT_URLCONF=urls(chosen))["E007"]


def test_delivery_of_a_models_files_is_looked_at():
    with isolate_apps("django.contrib.contenttypes"):
        model = private_model(PrivateMemoryStorage())
    assert "not these" in found(ROOT_URLCONF=urls(PaperView.as_view(model=model, server_class=Picky)))["E007"]


@pytest.mark.parametrize(
    ("name", "storage", "ids"),
    [
        ("nginx", PrivateFileSystemStorage("/srv/private"), set()),
        ("apache", PrivateFileSystemStorage("/srv/private"), set()),
        ("redirect", PrivateFileSystemStorage("/srv/private"), {"E007"}),
        ("nginx-proxy", PrivateFileSystemStorage("/srv/private"), {"E007"}),
        ("nginx", PrivateMemoryStorage(), {"E007"}),
        ("apache", PrivateMemoryStorage(), {"E007"}),
        ("lighttpd", PrivateMemoryStorage(), {"E007"}),
        ("django", PrivateMemoryStorage(), set()),
    ],
)
def test_delivery_goes_with_the_storage(name, storage, ids):
    assert found(ROOT_URLCONF=urls(Guarded.as_view(server_class=name, storage=storage))).keys() == ids


# Earlier packages


def test_old_name_in_storages_is_answered_with_the_new_one(project):
    old = {"BACKEND": "private_storage.storage.s3boto3.PrivateS3BotoStorage"}
    message = found(STORAGES={**project.STORAGES, "old": old})["E008"]
    assert message.startswith("STORAGES['old']: ")
    assert "Use storages.private.storage.PrivateS3BotoStorage." in message


@pytest.mark.parametrize(
    ("name", "value", "new"),
    [
        (
            "PRIVATE_STORAGE_CLASS",
            "private_storage.storage.files.PrivateFileSystemStorage",
            "storages.private.storage.PrivateFileSystemStorage",
        ),
        (
            "PRIVATE_STORAGE_AUTH_FUNCTION",
            "private_storage.permissions.allow_staff",
            "storages.private.permissions.allow_staff",
        ),
        ("PRIVATE_STORAGE_SERVER", "private_storage.servers.DjangoServer", "storages.private.servers.DjangoServer"),
    ],
)
def test_old_name_in_a_setting_works_and_is_reported(name, value, new):
    messages = found(**{name: value})
    assert messages.keys() == {"W002"}
    assert f"Write {new!r}." in messages["W002"]


@pytest.mark.parametrize("name", list(DEAD_SETTINGS))
@pytest.mark.parametrize("value", [True, False, "s3kr1t"])
def test_dead_setting_is_named_with_what_to_do(name, value):
    messages = found(**{name: value})
    assert messages.keys() == {"W001"}
    assert f"{name} is not read" in messages["W001"]
    assert DEAD_SETTINGS[name] in messages["W001"]
    assert "s3kr1t" not in messages["W001"]


# B2's routes


@pytest.fixture(scope="module")
def b2():
    with B2() as b2:
        yield b2


@pytest.mark.seed("S2")
@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ({}, {"E009", "W003"}),
        ({"specific_bucket_names": {"public": "django"}}, {"E009", "W003"}),
        ({"specific_bucket_names": {"public": "open"}}, {"W003"}),
        ({"specificBucketNames": {"public": "open", "loggedIn": "users"}}, set()),
        ({"specific_bucket_names": {"public": "open", "staff": "open"}}, {"E009"}),
        ({"public_prefix": "open"}, {"W003"}),
        ({"public_prefix": "/open/", "specific_bucket_names": {"staff": "s"}}, set()),
    ],
)
def test_routes_of_b2_that_share_a_bucket_are_reported(b2, config, ids):
    login = {"realm": b2.url, "application_key_id": "id", "application_key": "s3kr1t", "authorize_on_init": True}
    before = len(b2.requests)
    messages = found(ROOT_URLCONF=B2Urls, BACKBLAZE_CONFIG={**login, **config})
    assert messages.keys() == ids
    assert "s3kr1t" not in str(messages)
    assert len(b2.requests) == before
    assert found(ROOT_URLCONF=NoUrls, BACKBLAZE_CONFIG={**login, **config}) == {}
