"""The routes /b2/, /b2l/ and /b2s/, and the storages whose URLs they are, on a fake of the service."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import override_settings
from django.urls import include, path, reverse

from storages.backends.b2 import B2LoggedInStorage, B2PublicStorage, B2StaffStorage, LoggedInStorage, StaffStorage
from storages.private import signals
from storages.testing.files import pattern
from tests.servers.b2 import B2

ROUTES = {"b2": B2PublicStorage, "b2l": B2LoggedInStorage, "b2s": B2StaffStorage}


class Urls:
    urlpatterns = [path("", include("storages.private.b2_urls"))]


class NestedUrls:
    urlpatterns = [path("files/", include("storages.private.b2_urls"))]


@pytest.fixture(scope="module")
def b2():
    with B2() as b2:
        yield b2


@pytest.fixture
def config(b2):
    return {
        "realm": b2.url,
        "application_key_id": b2.key.id,
        "application_key": b2.key.secret,
        "bucket": b2.make_bucket(),
        "account_info": {"type": "memory"},
    }


@pytest.fixture
def own_buckets(settings, b2, config):
    """A bucket of its own for each audience, all of them private."""
    settings.ROOT_URLCONF = Urls
    names = {"public": b2.make_bucket(), "logged_in": b2.make_bucket(), "staff": b2.make_bucket()}
    settings.BACKBLAZE_CONFIG = {**config, "specific_bucket_names": names}
    for cls in ROUTES.values():
        cls().save("dir/a b.txt", ContentFile(b"0123456789"))
        cls().save("page.html", ContentFile(b"<script>alert(1)</script>"))


@pytest.fixture
def shared_bucket(settings, config):
    """All files in one bucket, as it is by default."""
    settings.ROOT_URLCONF = Urls
    settings.BACKBLAZE_CONFIG = config
    B2StaffStorage().save("secret/salary.txt", ContentFile(b"salary"))


@pytest.fixture
def login(client, db):
    def as_(person):
        if person:
            flags = {"staff": {"is_staff": True}, "superuser": {"is_superuser": True}}.get(person, {})
            client.force_login(User.objects.create(username=person, **flags))
        return client

    return as_


@pytest.fixture
def downloads(b2):
    """The requests for objects since the test began."""
    before = len(b2.requests)
    return lambda: [request for request in b2.requests[before:] if "/file/" in request]


def body_of(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


# Who gets what


class Case(NamedTuple):
    route: str
    person: str
    status: int


CASES = [
    Case("b2", "", 200),
    Case("b2", "user", 200),
    Case("b2l", "", 302),
    Case("b2l", "user", 200),
    Case("b2l", "staff", 200),
    Case("b2s", "", 302),
    Case("b2s", "user", 401),
    Case("b2s", "superuser", 401),
    Case("b2s", "staff", 200),
]


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize(("route", "person", "status"), CASES)
def test_route_answers_whom_it_is_for(own_buckets, login, route, person, status, method):
    response = getattr(login(person), method)(f"/{route}/dir/a%20b.txt")
    assert response.status_code == status
    expected = b"" if method == "head" else {200: b"0123456789", 302: b"", 401: b"Unauthorized"}[status]
    assert body_of(response) == expected


@pytest.mark.threat("T-02")
@pytest.mark.parametrize(("route", "person", "status"), [case for case in CASES if case.status != 200])
def test_refusal_asks_nothing_of_the_service(own_buckets, login, downloads, route, person, status):
    client = login(person)
    there, missing = (client.get(f"/{route}/{name}") for name in ("dir/a%20b.txt", "none.txt"))
    assert (there.status_code, there.content) == (missing.status_code, missing.content)
    assert downloads() == []


def test_stranger_is_sent_to_log_in_and_back(own_buckets, client):
    response = client.get("/b2l/dir/a%20b.txt?x=1")
    assert response["Location"] == "/accounts/login/?next=/b2l/dir/a%2520b.txt%3Fx%3D1"
    assert response["Cache-Control"] == "private, no-cache"


@override_settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.AllowAllUsersModelBackend"])
@pytest.mark.parametrize("route", ["b2l", "b2s"])
def test_inactive_user_is_refused(own_buckets, client, db, route):
    user = User.objects.create(username="former", is_staff=True, is_active=False)
    client.force_login(user, "django.contrib.auth.backends.AllowAllUsersModelBackend")
    response = client.get(f"/{route}/dir/a%20b.txt")
    assert (response.status_code, response.content) == (401, b"Unauthorized")
    assert response["Content-Type"] == "text/plain"


@override_settings(PRIVATE_STORAGE_HIDE_DENIED=True)
@pytest.mark.parametrize(("route", "person"), [("b2l", ""), ("b2s", "user")])
def test_refusal_may_look_like_a_missing_file(own_buckets, login, route, person):
    assert login(person).get(f"/{route}/dir/a%20b.txt").status_code == 404


def test_refusals_and_downloads_are_signalled(own_buckets, login):
    heard = []

    def note(sender, private_file, signal, **kwargs):
        heard.append(
            (sender.__name__, private_file.relative_name, "denied" if signal is signals.file_denied else "served")
        )

    for signal in (signals.file_denied, signals.file_served):
        signal.connect(note, weak=False, dispatch_uid="test")
    try:
        client = login("user")
        body_of(client.get("/b2l/page.html"))
        client.get("/b2s/page.html")
    finally:
        for signal in (signals.file_denied, signals.file_served):
            signal.disconnect(dispatch_uid="test")
    assert heard == [("B2LoggedInView", "page.html", "served"), ("B2StaffView", "page.html", "denied")]


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_routes_only_read(own_buckets, client, method):
    assert getattr(client, method)("/b2/page.html").status_code == 405


# The public route


@pytest.mark.seed("S2")
@pytest.mark.parametrize("person", ["", "user", "staff"])
def test_shared_bucket_is_closed_to_the_public(shared_bucket, login, downloads, person):
    response = login(person).get("/b2/secret/salary.txt")
    assert response.status_code == 404
    assert b"salary" not in response.content
    assert downloads() == []


@pytest.mark.seed("S2")
@pytest.mark.parametrize("public", ["bucket", "staff", "logged_in"])
def test_public_bucket_that_others_use_too_is_closed(settings, b2, config, client, public):
    other = b2.make_bucket()
    names = {"bucket": {}, "staff": {"staff": other}, "logged_in": {"logged_in": other}}[public]
    named = config["bucket"] if public == "bucket" else other
    settings.ROOT_URLCONF = Urls
    settings.BACKBLAZE_CONFIG = {**config, "specific_bucket_names": {**names, "public": named}}
    B2StaffStorage().save("a.txt", ContentFile(b"x"))
    assert client.get("/b2/a.txt").status_code == 404


@pytest.mark.seed("S2")
def test_public_prefix_opens_what_lies_below_it(settings, config, client):
    settings.ROOT_URLCONF = Urls
    settings.BACKBLAZE_CONFIG = {**config, "public_prefix": "open", "location": "media"}
    storage = B2PublicStorage()
    storage.save("a.txt", ContentFile(b"public"))
    B2StaffStorage().save("a.txt", ContentFile(b"secret"))
    assert storage.url("a.txt") == "/b2/open/media/a.txt"
    assert body_of(client.get(storage.url("a.txt"))) == b"public"
    assert storage.listdir("") == ([], ["a.txt"])
    for name in ("media/a.txt", "open", "openmedia/a.txt", "open/../media/a.txt", "open%2f..%2fmedia/a.txt"):
        assert client.get(f"/b2/{name}").status_code == 404


@pytest.mark.seed("S2")
def test_each_route_sees_its_own_bucket_only(own_buckets, login):
    B2StaffStorage().save("only-staff.txt", ContentFile(b"x"))
    client = login("user")
    assert [client.get(f"/{route}/only-staff.txt").status_code for route in ("b2", "b2l")] == [404, 404]


# URLs of the storages


@pytest.mark.parametrize(("route", "cls"), ROUTES.items())
def test_url_leads_to_the_route_and_the_file(own_buckets, login, route, cls):
    url = cls().url("dir/a b.txt")
    assert url == f"/{route}/dir/a%20b.txt"
    assert body_of(login("staff").get(url)) == b"0123456789"


def test_url_of_a_public_bucket_is_its_own(settings, b2, config):
    settings.ROOT_URLCONF = Urls
    settings.BACKBLAZE_CONFIG = {**config, "specific_bucket_names": {"public": b2.make_bucket("allPublic")}}
    assert B2PublicStorage().url("a.txt").startswith(f"{b2.url}/file/")


def test_url_holds_the_location(settings, config, login):
    settings.ROOT_URLCONF = Urls
    settings.BACKBLAZE_CONFIG = config
    storage = StaffStorage(location="of one model")
    storage.save("a.txt", ContentFile(b"x"))
    assert storage.url("a.txt") == "/b2s/of%20one%20model/a.txt"
    assert body_of(login("staff").get(storage.url("a.txt"))) == b"x"


@override_settings(ROOT_URLCONF=NestedUrls)
def test_routes_may_lie_below_a_path(settings, config):
    settings.BACKBLAZE_CONFIG = config
    assert LoggedInStorage().url("a.txt") == "/files/b2l/a.txt"
    assert reverse("django_b2_storage:b2-staff", kwargs={"filename": "a"}) == "/files/b2s/a"


# The answer


@pytest.mark.seed("S6")
def test_missing_file_is_not_found_without_an_echo(own_buckets, client):
    response = client.get("/b2/%3Cscript%3Ealert(1)%3C/script%3E")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/plain")
    assert b"script" not in response.content


@pytest.mark.threat("T-06")
def test_active_file_is_downloaded(own_buckets, client):
    response = client.get("/b2/page.html")
    body_of(response)
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="page.html"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["Cache-Control"].startswith("private, no-cache")


@pytest.mark.threat("T-17")
def test_service_that_is_down_tells_nothing(own_buckets, client, b2, settings):
    settings.BACKBLAZE_CONFIG = {**settings.BACKBLAZE_CONFIG, "realm": "http://127.0.0.1:9", "max_attempts": 1}
    response = client.get("/b2/page.html")
    assert response.status_code == 502
    assert not any(word in response.content for word in (b"127.0.0.1", b2.key.id.encode(), b"bucket"))


@pytest.mark.seed("S14")
def test_head_reads_no_file(own_buckets, client, b2, downloads):
    assert client.head("/b2/dir/a%20b.txt")["Content-Length"] == "10"
    assert [request for request in downloads() if request.startswith("GET")] == []


@pytest.mark.seed("S14")
def test_range_is_what_is_read(own_buckets, client):
    response = client.get("/b2/dir/a%20b.txt", headers={"Range": "bytes=2-4"})
    assert (response.status_code, body_of(response)) == (206, b"234")


@pytest.mark.seed("S14")
def test_long_file_comes_in_pieces(own_buckets, client):
    content = pattern(6 * 1024**2)
    B2PublicStorage().save("long.bin", ContentFile(content))
    response = client.get("/b2/long.bin")
    assert response.streaming
    pieces = list(response.streaming_content)
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 1024**2
