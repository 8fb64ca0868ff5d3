"""Clients of an API that have no session: whom UPLOADS_AUTHENTICATION knows may upload, and claims by a serializer."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.urls import path
from rest_framework import authentication as rest
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated

from storages.uploads.models import State, Upload
from tests.uploads import form_site
from tests.uploads.conftest import Browser, code_of
from tests.uploads.files import PNG
from tests.uploads.form_models import Letter, paper

SCAN = "tests_uploads.Letter.scan"
HERE = "tests.uploads.test_authentication"
SECRET = "c" * 32  # of CSRF


class Tokens(rest.TokenAuthentication):
    """That of REST framework, with the names of users for tokens."""

    def authenticate_credentials(self, key):
        user = User.objects.filter(username=key).first()
        if user is None:
            raise AuthenticationFailed("Invalid token.")
        return user, SimpleNamespace(scope="uploads")


def by_key(request):
    """Know a client by a header of its own."""
    key = request.headers.get("X-Api-Key")
    if key == "revoked":
        raise PermissionDenied
    return User.objects.filter(username=key).first() if key else None


def by_cookie(request):
    """Know a client by what any browser sends along."""
    return User.objects.filter(username=request.COOKIES.get("jwt")).first()


def nobody(request):
    return AnonymousUser()


def in_scope(request, field):
    return request.auth.scope == "uploads"


class Keys(rest.BaseAuthentication):
    def authenticate(self, request):
        user = by_key(request)
        return user and (user, None)


class LetterViews(form_site.LetterViews):
    authentication_classes = [Tokens, Keys]
    permission_classes = [IsAuthenticated]


urlpatterns = [path("api/letters/", LetterViews.as_view()), *form_site.urlpatterns]
pytestmark = [pytest.mark.django_db, pytest.mark.urls(HERE)]
BOTH = [f"{HERE}.Tokens", by_key]  # as a path, and as it is


@pytest.fixture(autouse=True)
def _site(settings, anna, tmp_path):
    settings.UPLOADS_AUTHENTICATION, settings.UPLOADS_SPOOL = BOTH, str(tmp_path / "spool")
    yield
    paper.client.clear()


def client(cookies=(), **headers):
    """Return a client whose every request is as it is told, and CSRF is looked at as in a browser."""
    client = Browser(enforce_csrf_checks=True, headers={name.replace("_", "-"): said for name, said in headers.items()})
    client.http.cookies.load(dict(cookies))
    return client


def asked(client):
    return client.call("slot", {"field": SCAN})


@pytest.mark.threat("T-18")
@pytest.mark.parametrize("headers", [{"Authorization": "Token anna"}, {"X_Api_Key": "anna"}], ids=["token", "key"])
def test_client_without_a_session_uploads_and_a_serializer_takes_the_file(headers, anna):
    api = client(**headers)
    done = api.upload(PNG, field=SCAN, filename="a.png", content_type="image/png")
    answer = api.http.post("/api/letters/", {"title": "a", "scan": done["token"]}, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert Letter.objects.get().scan.read() == PNG
    assert [(upload.user, upload.state) for upload in Upload.objects.all()] == [(anna, State.CLAIMED)]
    assert not api.http.cookies


@pytest.mark.threat("T-32")
@pytest.mark.parametrize(
    ("cookies", "headers", "status"),
    [
        ({}, {"Authorization": "Token anna"}, 200),
        ({"balancer": "7"}, {"Authorization": "Token anna"}, 200),
        ({"sessionid": "s"}, {"Authorization": "Token anna"}, 403),
        ({"sessionid": "s", "csrftoken": SECRET}, {"Authorization": "Token anna", "X_CSRFToken": SECRET}, 200),
        ({}, {"X_Api_Key": "anna"}, 200),
        ({"balancer": "7"}, {"X_Api_Key": "anna"}, 403),
        ({"jwt": "anna"}, {}, 403),
        ({"jwt": "anna", "csrftoken": SECRET}, {"X_CSRFToken": SECRET}, 200),
        ({}, {}, 403),
        ({}, {"Authorization": "Basic YW5uYTphbm5h"}, 403),
    ],
)
def test_csrf_is_asked_of_what_a_browser_may_have_sent_by_itself(settings, cookies, headers, status):
    settings.UPLOADS_AUTHENTICATION = [*BOTH, by_cookie, nobody]
    answer = asked(client(cookies, **headers))
    assert answer.status_code == status
    assert status == 200 or code_of(answer) == (403, "csrf_failed")


@pytest.mark.threat("T-32")
def test_token_is_nothing_where_the_project_has_not_said_so(settings):
    del settings.UPLOADS_AUTHENTICATION
    assert code_of(asked(client(Authorization="Token anna"))) == (403, "csrf_failed")


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"Authorization": "Token eve"}, (401, "not_authenticated")),
        ({"Authorization": "Token"}, (401, "not_authenticated")),
        ({"X_Api_Key": "revoked"}, (403, "permission_denied")),
    ],
)
def test_credentials_that_are_refused_are_told(headers, refusal):
    api = client(**headers)
    assert code_of(asked(api)) == refusal
    assert code_of(api.http.post("/uploads/tus/", headers={"Tus-Resumable": "1.0.0"})) == refusal


@pytest.mark.threat("T-18")
def test_user_who_is_no_longer_active_may_not(anna):
    User.objects.filter(pk=anna.pk).update(is_active=False)
    assert code_of(asked(client(Authorization="Token anna"))) == (403, "csrf_failed")


@pytest.mark.threat("T-19")
def test_upload_is_that_of_the_token_s_user_alone(ben):
    begun = client(Authorization="Token anna").begun(PNG, field=SCAN, content_type="image/png", filename="a.png")
    asked = {"upload": begun["upload"]}
    assert code_of(client(Authorization="Token ben").call("status", asked)) == (404, "upload_not_found")
    assert client(X_Api_Key="anna").ok("status", asked)["state"] == "begun"


def test_token_tells_who_it_is_also_where_a_session_tells_of_another(anna, ben):
    api = client({"csrftoken": SECRET}, Authorization="Token anna", X_CSRFToken=SECRET)
    api.http.force_login(ben)
    api.begun(PNG, field=SCAN, content_type="image/png", filename="a.png")
    assert Upload.objects.get().user == anna


def test_tus_client_needs_its_token_alone():
    api = client(Authorization="Token anna", Tus_Resumable="1.0.0")
    told = {"slot": asked(api).json()["slot"], "filename": "a.png", "filetype": "image/png"}
    metadata = ",".join(f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in told.items())
    headers = {"Upload-Length": str(len(PNG)), "Upload-Metadata": metadata}
    made = api.http.post("/uploads/tus/", headers=headers)
    assert made.status_code == 201
    headers = {"Upload-Token": made["Upload-Token"], "Upload-Offset": "0"}
    sent = api.http.patch(made["Location"], PNG, content_type="application/offset+octet-stream", headers=headers)
    assert (sent.status_code, sent["Upload-Offset"]) == (204, str(len(PNG)))


def test_permission_knows_what_the_token_is_for(monkeypatch):
    monkeypatch.setattr(Letter._meta.get_field("scan"), "permission", in_scope)
    assert asked(client(Authorization="Token anna")).status_code == 200
