"""The views: whom they ask, what they serve, and every place where a project changes that."""

from __future__ import annotations

import contextlib

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.files.base import ContentFile
from django.http import Http404, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import reverse

from storages.private import settings
from storages.private.models import PrivateFile
from storages.private.permissions import allow_staff, allow_superuser
from storages.private.views import PrivateStorageDetailView, PrivateStorageView
from tests.private.models import CountingStorage, Document


def allow(private_file):
    return True


def body_of(response):
    with contextlib.closing(response):
        return b"".join(response)


def get(view, request, **kwargs):
    return view.as_view()(request, **kwargs)


# A private file


def test_private_file_asks_nothing_before_it_is_used(request_of, memory):
    request = request_of()
    private_file = PrivateFile(request, memory, "a.txt")
    assert (private_file.request, private_file.storage, private_file.relative_name) == (request, memory, "a.txt")
    assert private_file.parent_object is None
    assert private_file.content_type == private_file.response_type == "text/plain"
    assert repr(private_file) == "<PrivateFile: a.txt>"
    assert memory.calls == []


def test_private_file_knows_its_file(request_of, memory):
    private_file = PrivateFile(request_of(), memory, "a.txt")
    assert private_file.exists()
    assert private_file.size == 8
    assert private_file.modified_time == memory.get_modified_time("a.txt")
    with private_file.open() as opened:
        assert opened.read() == b"the file"
    with pytest.raises(NotImplementedError):
        _ = private_file.full_path


def test_private_file_without_a_name_does_not_exist(request_of, memory):
    assert not PrivateFile(request_of(), memory, "").exists()
    assert not PrivateFile(request_of(), memory, None).exists()
    assert memory.calls == []


# Serving


@pytest.mark.parametrize("zones", [True, False])
def test_file_is_served(request_of, memory, settings, zones):
    settings.USE_TZ = zones
    view = PrivateStorageView.as_view(storage=memory)
    response = view(request_of(), path="a.txt")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain"
    assert response["Content-Disposition"] == 'inline; filename="a.txt"'
    assert body_of(response) == b"the file"


def test_missing_file_is_a_plain_404(request_of, memory):
    response = PrivateStorageView.as_view(storage=memory)(request_of(), path="<script>.html")
    assert response.status_code == 404
    assert response["Content-Type"] == "text/plain"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-cache"
    assert response.content == b"Not found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_are_refused(request_of, memory, method):
    response = PrivateStorageView.as_view(storage=memory)(request_of(method=method), path="a.txt")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, OPTIONS"
    assert memory.calls == []


def test_options_tell_nothing_of_a_file(request_of, memory):
    response = PrivateStorageView.as_view(storage=memory)(request_of("anonymous", "OPTIONS"), path="a.txt")
    assert response["Allow"] == "GET, HEAD, OPTIONS"
    assert memory.calls == []


# Hooks


class Attachment(PrivateStorageView):
    content_disposition = "attachment"
    content_disposition_filename = "report of the year.txt"


class Named(Attachment):
    def get_content_disposition_filename(self, private_file):
        return f"{private_file.size} bytes.txt"


class Own:
    @staticmethod
    def serve(private_file):
        return HttpResponse(f"own {private_file.relative_name}")


class OwnByName(PrivateStorageView):
    server_class = "tests.private.test_views.Own"


class OwnByClass(PrivateStorageView):
    server_class = Own


class OwnStorage(PrivateStorageView):
    def get_storage(self):
        return self.own_storage

    own_storage = None


class OwnPath(PrivateStorageView):
    def get_path(self):
        return f"drawer/{super().get_path()}"


class OwnFile(PrivateStorageView):
    def get_private_file(self):
        return PrivateFile(self.request, self.get_storage(), f"drawer/{self.get_path()}", parent_object="parent")


class OwnMissing(PrivateStorageView):
    def serve_file_not_found(self, private_file):
        return HttpResponse(f"no {private_file.relative_name}", status=404)


class OwnServe(PrivateStorageView):
    def serve_file(self, private_file):
        response = super().serve_file(private_file)
        response["X-Mine"] = "yes"
        response["Cross-Origin-Resource-Policy"] = "same-site"
        return response


class OwnAnswer(PrivateStorageView):
    def serve_file(self, private_file):
        return HttpResponse("<script>")


class OwnFailure(PrivateStorageView):
    def serve_file(self, private_file):
        raise TimeoutError


class OwnGet(PrivateStorageView):
    def get(self, request, *args, **kwargs):
        return self.serve_file(self.get_private_file())


@pytest.mark.parametrize(
    ("view", "path", "header", "value"),
    [
        (Attachment, "a.txt", "Content-Disposition", 'attachment; filename="report of the year.txt"'),
        (Named, "a.txt", "Content-Disposition", 'attachment; filename="8 bytes.txt"'),
        (OwnServe, "a.txt", "X-Mine", "yes"),
        (OwnServe, "a.txt", "Cross-Origin-Resource-Policy", "same-site"),
        (OwnServe, "a.txt", "X-Content-Type-Options", "nosniff"),
        (OwnAnswer, "a.html", "Content-Type", "application/octet-stream"),
        (OwnAnswer, "a.html", "X-Content-Type-Options", "nosniff"),
        (OwnGet, "a.txt", "X-Content-Type-Options", "nosniff"),
        (OwnGet, "missing", "Content-Type", "text/plain"),
        (OwnFailure, "a.txt", "Content-Type", "text/plain"),
    ],
)
def test_project_changes_a_header(request_of, memory, view, path, header, value):
    response = view.as_view(storage=memory)(request_of(), path=path)
    assert response[header] == value
    response.close()


@pytest.mark.parametrize(
    ("view", "path", "body"),
    [
        (OwnByName, "a.txt", b"own a.txt"),
        (OwnByClass, "a.txt", b"own a.txt"),
        (OwnPath, "b.txt", b"another"),
        (OwnFile, "b.txt", b"another"),
        (OwnMissing, "c.txt", b"no c.txt"),
    ],
)
def test_project_changes_what_is_served(request_of, memory, view, path, body):
    assert body_of(view.as_view(storage=memory)(request_of(), path=path)) == body


def test_project_chooses_the_storage(request_of, memory):
    assert body_of(OwnStorage.as_view(own_storage=memory)(request_of(), path="a.txt")) == b"the file"


def test_storage_may_be_an_alias(request_of):
    options = {"BACKEND": "tests.private.models.CountingStorage"}
    with override_settings(STORAGES={"private": options}):
        assert (
            get(type("Alias", (PrivateStorageView,), {"storage": "private"}), request_of(), path="a").status_code == 404
        )


class StorageWithServer(CountingStorage):
    server = "tests.private.test_views.Own"


def test_delivery_is_of_the_view_then_the_storage_then_the_setting(request_of, memory):
    with override_settings(PRIVATE_STORAGE_SERVER="tests.private.test_views.Own"):
        assert body_of(PrivateStorageView.as_view(storage=memory)(request_of(), path="a.txt")) == b"own a.txt"
        view = PrivateStorageView.as_view(storage=memory, server_class="streaming")
        assert body_of(view(request_of(), path="a.txt")) == b"the file"
    storage = StorageWithServer()
    assert body_of(PrivateStorageView.as_view(storage=storage)(request_of(), path="a.txt")) == b"own a.txt"


def test_unknown_delivery_is_told_to_the_project(request_of, memory):
    with pytest.raises(ImproperlyConfigured, match="ngnix"):
        PrivateStorageView.as_view(storage=memory, server_class="ngnix")(request_of(), path="a.txt")


# Permissions of views


class Method(PrivateStorageView):
    def can_access_file(self, private_file):
        return private_file.request.user.is_staff


class Static(PrivateStorageView):
    can_access_file = staticmethod(allow_staff)


class Dotted(PrivateStorageView):
    can_access_file = "private_storage.permissions.allow_staff"


class Async(PrivateStorageView):
    async def can_access_file(self, private_file):
        return private_file.request.user.is_staff


@pytest.mark.parametrize("view", [Method, Static, Dotted, Async])
@pytest.mark.parametrize(("person", "status"), [("staff", 200), ("user", 403), ("superuser", 403)])
def test_permission_of_the_view_beats_the_setting(request_of, memory, view, person, status):
    assert status_of(view.as_view(storage=memory), request_of(person)) == status


def status_of(view, request, path="a.txt"):
    try:
        response = view(request, path=path)
    except PermissionDenied:
        return 403
    response.close()
    return response.status_code


@pytest.mark.parametrize(
    ("function", "person", "status"),
    [
        ("storages.private.permissions.allow_staff", "staff", 200),
        ("private_storage.permissions.allow_staff", "staff", 200),
        ("private_storage.permissions.allow_staff", "user", 403),
        (allow_staff, "staff", 200),
        (None, "superuser", 403),
    ],
)
def test_setting_names_the_permission(request_of, memory, function, person, status):
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=function):
        assert status_of(PrivateStorageView.as_view(storage=memory), request_of(person)) == status


@pytest.mark.parametrize(
    ("person", "status"),
    [("anonymous", 403), ("user", 403), ("staff", 403), ("superuser", 200), ("former superuser", 403)],
)
def test_only_superusers_may_see_a_file_by_default(request_of, memory, person, status):
    assert status_of(PrivateStorageView.as_view(storage=memory), request_of(person)) == status


def test_denial_has_the_message_of_the_view(request_of, memory):
    view = PrivateStorageView.as_view(storage=memory, permission_denied_message="ask the archive")
    with pytest.raises(PermissionDenied, match="ask the archive"):
        view(request_of("anonymous"), path="a.txt")


@override_settings(
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"403.html": "house rules: {{ exception }}"})]
            },
        }
    ]
)
def test_denial_is_the_403_page_of_the_project(memory):
    response = Client().get("/memory/a.txt")
    assert response.status_code == 403
    assert response.content == b"house rules: Private storage access denied"


# The detail view


class OfDocument(PrivateStorageDetailView):
    model = Document


@pytest.fixture
def people(db):
    return {name: User.objects.create_user(name, is_superuser=name == "root") for name in ("owner", "other", "root")}


@pytest.fixture
def document(people, memory):
    document = Document.objects.create(title="t", owner=people["owner"], file=ContentFile(b"a document", "d.txt"))
    memory.calls.clear()
    return document


@pytest.mark.parametrize(("person", "status"), [("owner", 200), ("other", 403), ("root", 200)])
def test_file_of_an_object_is_its_owners(document, people, memory, person, status):
    client = Client()
    client.force_login(people[person])
    response = client.get(reverse("document", args=[document.pk]))
    assert response.status_code == status
    assert bool(memory.calls) == (status == 200)
    response.close()


def test_detail_view_hands_over_object_and_storage(document, request_of):
    seen = []
    view = OfDocument.as_view(can_access_file=lambda private_file: seen.append(private_file) or True)
    assert body_of(view(request_of(), pk=document.pk)) == b"a document"
    assert seen[0].parent_object == document
    assert seen[0].storage is Document._meta.get_field("file").storage
    assert seen[0].relative_name == document.file.name


def test_detail_view_falls_back_to_the_setting(document, request_of):
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION="storages.private.permissions.allow_staff"):
        with pytest.raises(PermissionDenied):
            OfDocument.as_view()(request_of("superuser"), pk=document.pk)
        OfDocument.as_view()(request_of("staff"), pk=document.pk).close()


class OwnDocuments(OfDocument):
    def get_queryset(self):
        return super().get_queryset().filter(owner=self.request.user)


def test_object_outside_the_queryset_and_object_that_is_not_there_look_the_same(document, people, request_of):
    view = OwnDocuments.as_view(can_access_file=allow)
    request = request_of()
    request.user = people["other"]
    answers = [view(request, pk=document.pk), view(request, pk=document.pk + 1)]
    assert [(one.status_code, one.content, one.headers) for one in answers[:1]] == [
        (404, b"Not found", answers[1].headers)
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "a/../b", "../x"])
def test_object_without_a_proper_name_of_a_file_is_missing(request_of, memory, name):
    document = Document.objects.create(file=name)
    response = OfDocument.as_view(can_access_file=allow)(request_of(), pk=document.pk)
    assert response.status_code == 404
    assert memory.calls == []


def test_other_field_may_hold_the_file(document, request_of):
    Document.file_again = property(lambda self: self.file)
    view = OfDocument.as_view(model_file_field="file_again", can_access_file=allow)
    assert body_of(view(request_of(), pk=document.pk)) == b"a document"
    del Document.file_again


def test_get_private_file_that_finds_none_is_missing(request_of, memory):
    def get_private_file(self):
        raise Http404

    view = type("Finder", (PrivateStorageView,), {"get_private_file": get_private_file})
    assert get(view, request_of(), path="a").status_code == 404


# URLs, settings, servers of two kinds


def test_two_storages_are_side_by_side(memory):
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=allow):
        assert Client().get(reverse("memory", args=["a.txt"])).getvalue() == b"the file"
        assert Client().get(reverse("drawer", args=["b.txt"])).getvalue() == b"another"
    assert reverse("serve_private_file", args=["a b/ü.txt"]) == "/private-media/a%20b/%C3%BC.txt"


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators:Warning")
@pytest.mark.parametrize("policy", [allow, "async"])
def test_view_works_under_asgi(memory, policy):
    import asyncio

    async def allow_slowly(private_file):
        await asyncio.sleep(0)
        return True

    async def fetch():
        response = await AsyncClient().get("/memory/a.txt")
        body = b"".join([chunk async for chunk in response]) if response.is_async else b"".join(response)
        denied = await AsyncClient().get("/memory/../a.txt")
        response.close()
        return response.status_code, body, denied.status_code

    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=allow_slowly if policy == "async" else policy):
        assert asyncio.run(fetch()) == (200, b"the file", 404)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("private_storage.permissions.allow_staff", "storages.private.permissions.allow_staff"),
        ("private_storage.storage.files.PrivateFileSystemStorage", "storages.private.storage.PrivateFileSystemStorage"),
        ("private_storage.storage.s3boto3.PrivateS3BotoStorage", "storages.private.storage.PrivateS3BotoStorage"),
        ("private_storage.storage.minio.PrivateMinioStorage", "storages.private.storage.PrivateMinioStorage"),
        ("private_storage.storage.PrivateStorage", "storages.private.storage.PrivateStorage"),
        ("private_storage_of_mine.x", "private_storage_of_mine.x"),
        ("nginx", "nginx"),
    ],
)
def test_old_dotted_values_become_ours(old, new):
    assert settings.modern(old) == new


def test_settings_are_read_when_needed():
    assert settings.get("PRIVATE_STORAGE_SERVER") == "django"
    assert settings.resolve(settings.get("PRIVATE_STORAGE_AUTH_FUNCTION")) is allow_superuser
    with override_settings(PRIVATE_STORAGE_SERVER="nginx", PRIVATE_STORAGE_MINO_REVERSE_PROXY=True):
        assert settings.get("PRIVATE_STORAGE_SERVER") == "nginx"
        assert settings.get("PRIVATE_STORAGE_MINIO_REVERSE_PROXY") is True
    with pytest.raises(KeyError):
        settings.get("PRIVATE_STORAGE_SEVRER")
