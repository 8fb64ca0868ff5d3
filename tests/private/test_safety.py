"""The threats: what a stranger, a cache between, and an error of the storage must not give away."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.test import AsyncClient, Client, override_settings

from storages.private.views import PrivateStorageView
from tests.private.models import Document
from tests.private.urls import DocumentView
from tests.test_memory import SharedMemoryStorage

ASKING = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=0-1"}),
    ("GET", {"Range": "bytes=999-"}),
    ("GET", {"If-None-Match": "*"}),
    ("GET", {"If-None-Match": '"x"'}),
    ("GET", {"If-Match": '"x"'}),
    ("GET", {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"}),
    ("GET", {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    ("HEAD", {"If-None-Match": "*"}),
]
NAMES = ["a.txt", "drawer/b.txt", "nothing.txt", "drawer/nothing.txt", "nothing/b.txt"]


def allow(private_file):
    return True


def shown(response):
    """All that a client can see of an answer."""
    body = b"".join(response) if response.streaming else response.content
    return response.status_code, body, dict(response.items()), str(response.cookies)


# T-01


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("person", ["anonymous", "user", "staff", "superuser"])
@pytest.mark.parametrize("hide", [False, True])
def test_view_without_a_policy_serves_nobody(request_of, memory, person, hide):
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=None, PRIVATE_STORAGE_HIDE_DENIED=hide):
        for view in (
            PrivateStorageView.as_view(storage=memory),
            PrivateStorageView.as_view(storage=memory, can_access_file=None),
        ):
            try:
                assert view(request_of(person), path="a.txt").status_code == 404
                assert hide
            except PermissionDenied:
                assert not hide
    assert memory.calls == []


@pytest.mark.threat("T-01")
@pytest.mark.django_db
@pytest.mark.parametrize("person", ["anonymous", "user", "staff", "superuser"])
def test_detail_view_without_a_policy_serves_nobody(request_of, memory, person):
    document = Document.objects.create(file="a.txt")
    with pytest.raises(PermissionDenied):
        DocumentView.as_view(can_access_file=None)(request_of(person), pk=document.pk)
    assert memory.calls == []


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("path", ["/private-media/a.txt", "/memory/a.txt", "/drawer/b.txt", "/documents/1/"])
@pytest.mark.django_db
def test_no_url_of_the_project_serves_a_stranger(memory, path):
    Document.objects.create(pk=1, file="a.txt")
    assert Client().get(path).status_code == 403
    assert memory.calls == []


# T-02


@pytest.mark.threat("T-02")
@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize(("method", "headers"), ASKING)
def test_denial_looks_the_same_for_every_name_and_asks_the_storage_nothing(memory, hide, method, headers):
    with override_settings(PRIVATE_STORAGE_HIDE_DENIED=hide):
        answers = [shown(Client().generic(method, f"/memory/{name}", headers=headers)) for name in NAMES]
    assert memory.calls == []
    assert [answer[0] for answer in answers] == [404 if hide else 403] * len(NAMES)
    assert [answer for answer in answers if answer != answers[0]] == []


@pytest.mark.threat("T-02")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@override_settings(PRIVATE_STORAGE_HIDE_DENIED=True)
def test_hidden_denial_looks_as_a_missing_file_does(memory, method):
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=allow):
        missing = shown(Client().generic(method, "/memory/nothing.txt"))
        hostile = shown(Client().generic(method, "/memory/a/../b"))
    denied = shown(Client().generic(method, "/memory/a.txt"))
    assert denied == missing == hostile
    assert denied[0] == 404


@pytest.mark.threat("T-02")
@pytest.mark.django_db
@override_settings(PRIVATE_STORAGE_HIDE_DENIED=True)
def test_hidden_object_looks_as_a_missing_one_does(memory):
    document = Document.objects.create(file="a.txt")
    nameless = Document.objects.create(file="")
    paths = [f"/documents/{number}/" for number in (document.pk, nameless.pk, nameless.pk + 1)]
    answers = [shown(Client().get(path)) for path in paths]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 404
    assert memory.calls == []


# T-13: a cache that keeps to RFC 9111, and one that keeps what it must not only if nothing forbids it


class SharedCache:
    """Stores what a shared cache may, under what Vary names; asks again only where told so."""

    def __init__(self, application):
        self.application = application
        self.stored = []
        self.passed = []

    def get(self, path, **headers):
        for stored_path, varying, response in self.stored:
            if stored_path == path and all(headers.get(name) == value for name, value in varying.items()):
                return response
        response = self.application(path, headers)
        self.passed.append(response)
        directives = {one.strip().partition("=")[0] for one in response.get("Cache-Control", "").lower().split(",")}
        names = [name.strip() for name in response.get("Vary", "").split(",") if name.strip()]
        if not directives & {"private", "no-store", "no-cache"} and "*" not in names:
            self.stored.append((path, {name: headers.get(name) for name in names}, response))
        return response


class VaryCache(SharedCache):
    """Overrides Cache-Control, as administrators let some: only Vary keeps users apart."""

    def __init__(self, application):
        def without_control(path, headers):
            response = application(path, headers)
            del response["Cache-Control"]
            return response

        super().__init__(without_control)


def client_of(user):
    client = Client()
    client.force_login(user)
    return client, "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


@pytest.fixture
def users(db):
    return [User.objects.create_user(name, is_superuser=name == "chief") for name in ("chief", "clerk")]


@pytest.mark.threat("T-13")
@pytest.mark.parametrize("cache", [SharedCache, VaryCache])
@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("every_request", [False, True])
def test_cache_between_never_gives_one_users_file_to_another(users, memory, cache, hide, every_request):
    chief, clerk = (client_of(user)[1] for user in users)

    def application(path, headers):
        response = Client().get(path, headers=headers)
        response.body = shown(response)[1]
        return response

    with override_settings(PRIVATE_STORAGE_HIDE_DENIED=hide, SESSION_SAVE_EVERY_REQUEST=every_request):
        between = cache(application)
        for path in ("/memory/a.txt", "/memory/nothing.txt"):
            answers = [between.get(path, Cookie=cookie) for cookie in (clerk, chief, clerk, "", chief)]
            denied = 404 if hide else 403
            found = 200 if path == "/memory/a.txt" else 404
            assert [one.status_code for one in answers] == [denied, found, denied, denied, found]
            assert [b"the file" in one.body for one in answers] == [found == 200 and n in (1, 4) for n in range(5)]
    if cache is SharedCache:
        assert [one for _, _, one in between.stored if one.status_code == 200] == []


@pytest.mark.threat("T-13")
@pytest.mark.parametrize("path", ["/memory/a.txt", "/memory/nothing.txt", "/memory/a/../b"])
@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "signed_cookies"])
def test_answer_sets_no_cookie_and_writes_no_session(users, memory, path, engine, django_assert_max_num_queries):
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}", SESSION_SAVE_EVERY_REQUEST=True
    ):
        client, _ = client_of(users[0])
        before = list(Session.objects.values())
        with django_assert_max_num_queries(2) as queries:
            response = client.get(path)
            body = shown(response)[1]
        assert response.status_code == (200 if path == "/memory/a.txt" else 404), body
        assert not response.cookies
        assert list(response.cookies.values()) == list(response.cookies.items()) == []
        assert [query["sql"] for query in queries if not query["sql"].startswith("SELECT")] == []
        assert list(Session.objects.values()) == before


@pytest.mark.threat("T-13")
def test_answer_does_not_delete_the_cookie_of_a_session_that_is_over(memory, db):
    client = Client()
    client.cookies["sessionid"] = "gone"
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=allow):
        assert list(client.get("/memory/a.txt").cookies.values()) == []


@pytest.mark.threat("T-13")
def test_rotated_secret_does_not_log_out_by_a_cookie_that_is_not_sent(users, memory):
    client, _ = client_of(users[0])
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        assert client.get("/memory/a.txt").getvalue() == b"the file"
        assert client.get("/memory/a.txt").getvalue() == b"the file"


@pytest.mark.threat("T-13")
def test_policy_that_writes_to_the_session_writes_to_none(users, memory):
    def counting(private_file):
        private_file.request.session["count"] = 1
        private_file.request.session.cycle_key()
        return True

    client, _ = client_of(users[0])
    before = list(Session.objects.values())
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=counting):
        response = client.get("/memory/a.txt")
        assert response.getvalue() == b"the file"
    assert list(response.cookies.values()) == []
    assert list(Session.objects.values()) == before


@pytest.mark.threat("T-13")
@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators:Warning")
def test_no_cookie_under_asgi_either(memory):
    user = User.objects.create_user("chief", is_superuser=True)

    async def fetch():
        client = AsyncClient()
        await client.aforce_login(user)
        return await client.get("/memory/a.txt")

    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        response = asyncio.run(fetch())
    assert response.status_code == 200
    assert list(response.cookies.values()) == []
    response.close()


# T-17

SECRETS = ["bucket-of-secrets", "AKIA123", "storage.internal", "/srv/private", "a.txt", "<Error>", "Traceback", "boto"]
ERRORS = [
    ConnectionError("storage.internal refused"),
    TimeoutError("no answer of storage.internal"),
    PermissionError(13, "denied", "/srv/private/a.txt"),
    OSError(5, "I/O error", "/srv/private/a.txt"),
    RuntimeError("<Error><Code>InternalError</Code><Bucket>bucket-of-secrets</Bucket></Error> boto"),
    IndexError("AKIA123"),
    type("ClientError", (Exception,), {})("boto: AKIA123 may not GetObject bucket-of-secrets/a.txt"),
]
NO_SUCH_FILE = [
    FileNotFoundError(2, "no such key in bucket-of-secrets", "/srv/private/a.txt"),
    IsADirectoryError(21, "is a directory", "/srv/private/a.txt"),
    NotADirectoryError(20, "not a directory", "/srv/private/a.txt"),
    SuspiciousFileOperation("leaves /srv/private"),
    ValueError("the key of 'a.txt' in bucket-of-secrets"),
    UnicodeEncodeError("ascii", "ü", 0, 1, "/srv/private"),
]


class Failing(SharedMemoryStorage):
    error: BaseException

    def _stat(self, key):
        raise self.error

    def _open_range(self, key, start, end, if_match=None):
        raise self.error

    def open(self, *args, **options):
        raise self.error


def failing(error):
    storage = Failing()
    storage.error = error
    return PrivateStorageView.as_view(storage=storage, can_access_file=allow)


@pytest.mark.threat("T-17")
@pytest.mark.seed("S6")
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_failure_of_the_storage_is_a_502_that_tells_its_number_only(request_of, caplog, error, method):
    with caplog.at_level(logging.DEBUG, "storages.private"):
        response = failing(error)(request_of(method=method), path="a.txt")
    assert response.status_code == 502
    assert response["Content-Type"] == "text/plain"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-cache"
    everything = response.content.decode() + str(response.headers)
    assert [secret for secret in SECRETS if secret in everything] == []
    number = re.search(r"\b[0-9a-f]{32}\b", response.content.decode())[0]
    record = next(record for record in caplog.records if number in record.getMessage())
    assert record.name == "storages.private"
    assert record.exc_info[1] is error or record.exc_info[1].__cause__ is error
    assert "a.txt" in record.getMessage()


@pytest.mark.threat("T-17")
@pytest.mark.seed("S6")
@pytest.mark.parametrize("error", NO_SUCH_FILE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_name_of_no_file_is_a_404_that_tells_nothing(request_of, error, method):
    response = failing(error)(request_of(method=method), path="a.txt")
    assert (response.status_code, response.content) == (404, b"Not found")
    assert response["Content-Type"] == "text/plain"
    assert response["X-Content-Type-Options"] == "nosniff"


# S14


@pytest.mark.seed("S14")
def test_head_reads_nothing_of_the_file(request_of, memory):
    memory.save("long.bin", ContentFile(bytes(1024 * 1024)))
    memory.calls.clear()
    response = PrivateStorageView.as_view(storage=memory)(request_of(method="HEAD"), path="long.bin")
    assert response["Content-Length"] == str(1024 * 1024)
    assert "_open_range" not in memory.calls
    response.close()


@pytest.mark.seed("S14")
def test_file_is_streamed(request_of, memory):
    memory.save("long.bin", ContentFile(bytes(1024 * 1024)))
    response = PrivateStorageView.as_view(storage=memory)(request_of(), path="long.bin")
    assert response.streaming
    assert max(len(chunk) for chunk in response) <= 1024 * 1024 // 2
    response.close()
