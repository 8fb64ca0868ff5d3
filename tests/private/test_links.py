"""Signed links: for whom, how long, how often, and whose permission is asked when one is used."""

from __future__ import annotations

import datetime
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.mixins import UserPassesTestMixin
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import signing
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import connections
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path
from django.utils import timezone
from django.views.decorators.cache import never_cache

from storages.backends.memory import MemoryStorage
from storages.private import links, signals
from storages.private.link_models import Link, LinkUse
from storages.private.link_views import PrivateLinkView
from storages.private.links import clear_links, make_link, open_link, revoke_links
from storages.private.models import PrivateFile
from storages.private.views import PrivateStorageDetailView, PrivateStorageView
from tests.private.models import CountingStorage, Document, memory

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.private.test_links"), pytest.mark.usefixtures("memory")]

HOUR = 3600
NOT_FOUND = 404
DENIED = 403
INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"
hidden = CountingStorage()  # in no setting


class HiddenView(PrivateStorageView):
    storage = hidden

    def can_access_file(self, private_file: PrivateFile) -> bool:
        return private_file.request.user.username == "maker"


class ClosedView(UserPassesTestMixin, PrivateStorageView):
    storage = memory
    can_access_file = staticmethod(lambda private_file: True)

    def test_func(self) -> bool:
        return self.request.user.is_staff


class StrictView(PrivateStorageView):
    storage = memory
    can_access_file = staticmethod(lambda private_file: True)

    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return (
            super().get(request, *args, **kwargs) if request.user.is_staff else HiddenView.as_view()(request, path="")
        )


class DocumentView(PrivateStorageDetailView):
    model = Document
    content_disposition_filename = "document.txt"

    def can_access_file(self, private_file: PrivateFile) -> bool:
        return private_file.parent_object.owner == private_file.request.user


urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("storages.private.link_urls")),
    path("hidden/<path:path>", HiddenView.as_view(), name="hidden"),
    path("closed/<path:path>", ClosedView.as_view(), name="closed"),
    path("strict/<path:path>", StrictView.as_view(), name="strict"),
    path("decorated/<path:path>", never_cache(HiddenView.as_view()), name="decorated"),
    path("document/<int:pk>/", DocumentView.as_view(), name="document"),
]


@pytest.fixture(autouse=True)
def named(settings: Any) -> None:
    settings.PRIVATE_STORAGE_LINK_STORAGES = {"memory": "tests.private.models.memory"}


@pytest.fixture
def maker() -> User:
    return User.objects.create_superuser("maker")


@pytest.fixture
def request_of() -> Callable[..., Any]:
    def make(user: Any = None, session: Any = None, method: str = "GET", **options: Any) -> Any:
        request = RequestFactory().generic(method, "/", REMOTE_ADDR=INSIDE, **options)
        request.user = user or AnonymousUser()
        request.session = session if session is not None else SessionStore()
        return request

    return make


@pytest.fixture
def file(maker: User, request_of: Callable[..., Any]) -> PrivateFile:
    return PrivateFile(request_of(maker), memory, "a.txt")


def token_of(link: str) -> str:
    return link.rstrip("/").rpartition("/")[2]


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def use(request: Any, link: str) -> Any:
    return PrivateLinkView.as_view()(request, token=token_of(link))


def saved_session(**values: Any) -> SessionStore:
    session = SessionStore()
    session.update(values)
    session.save()
    return session


def later(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def test_link_serves_the_file_to_whoever_has_it(client: Client, file: PrivateFile):
    response = client.get(make_link(file))
    assert (response.status_code, body_of(response)) == (200, b"the file")


@pytest.mark.threat("T-15")
def test_link_is_sent_to_no_other_site(client: Client, file: PrivateFile):
    link = make_link(file)
    for response in (client.get(link), client.get(link[:-9] + "/")):
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["Cache-Control"].startswith("private, no-cache")
        assert not response.cookies


# T-09: only the one for whom it is, in time, and as often as it is good for

RIGHT_OR_WRONG = list(itertools.product([True, False], repeat=6))


@pytest.mark.threat("T-09")
@pytest.mark.parametrize(("user", "session", "ip", "in_time", "purpose", "unused"), RIGHT_OR_WRONG)
def test_only_the_exact_tuple_passes(
    user, session, ip, in_time, purpose, unused, file, request_of, monkeypatch: pytest.MonkeyPatch
):
    alice, bob = (User.objects.create_user(name) for name in ("alice", "bob"))
    hers, another = saved_session(), saved_session()
    file.request.session = hers
    link = make_link(file, user=alice, session=True, ip="192.0.2.0/24", uses=1, expire=60)
    if not unused:
        assert use(request_of(alice, hers), link).status_code == 200
    if not purpose:
        link = signing.dumps(signing.loads(token_of(link), salt=links.SALT), salt="storages.private.upload")
    if not in_time:
        later(monkeypatch, 61)
    memory.calls.clear()
    request = request_of(alice if user else bob, hers if session else another)
    request.META["REMOTE_ADDR"] = INSIDE if ip else OUTSIDE
    response = use(request, link)
    all_right = user and session and ip and in_time and purpose and unused
    assert response.status_code == (200 if all_right else DENIED)
    assert bool(memory.calls) == all_right


@pytest.mark.threat("T-09")
@pytest.mark.parametrize("seconds", [0, -1, None, True, 1.5, "60", 7 * 24 * HOUR + 1])
def test_no_link_is_eternal(file: PrivateFile, seconds: Any):
    with pytest.raises(ValueError, match="expire is 1 to 604800 seconds"):
        make_link(file, expire=seconds)


@pytest.mark.threat("T-09")
@pytest.mark.parametrize(("options", "seconds"), [({}, HOUR), ({"expire": 100}, 100), ({"bearer": True}, 900)])
def test_life_by_default(client, file, options, seconds, monkeypatch: pytest.MonkeyPatch):
    link = make_link(file, **options)
    later(monkeypatch, seconds - 60)  # the machine may be slow
    assert client.get(link).status_code == 200
    later(monkeypatch, 61)
    assert client.get(link).status_code == DENIED


@pytest.mark.threat("T-09")
def test_shorter_longest_life_ends_older_links_too(client, file, settings, monkeypatch: pytest.MonkeyPatch):
    link = make_link(file)
    settings.PRIVATE_STORAGE_LINK_LONGEST_EXPIRE = 60
    assert client.get(link).status_code == 200
    later(monkeypatch, 62)
    assert client.get(link).status_code == DENIED


@pytest.mark.threat("T-09")
def test_bearer_link_is_short(file: PrivateFile):
    with pytest.raises(ValueError, match="PRIVATE_STORAGE_LINK_BEARER_EXPIRE"):
        make_link(file, bearer=True, expire=901)


@pytest.mark.threat("T-09")
def test_link_outlives_a_rotated_secret_only_as_a_fallback(client, file, request_of, settings):
    session = saved_session()
    file.request.session = session
    link = make_link(file, session=True)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert use(request_of(session=session), link).status_code == DENIED
    settings.SECRET_KEY_FALLBACKS = [old]
    assert use(request_of(session=session), link).status_code == 200


@pytest.mark.threat("T-09")
def test_another_version_ends_every_link(client: Client, file: PrivateFile, settings):
    link = make_link(file)
    settings.PRIVATE_STORAGE_LINK_VERSION = 2
    assert client.get(link).status_code == DENIED
    assert client.get(make_link(file)).status_code == 200


@pytest.mark.threat("T-09")
def test_session_that_has_ended_opens_nothing(file: PrivateFile, request_of):
    session = file.request.session = saved_session()
    link = make_link(file, session=True)
    session.delete(session.session_key)
    assert use(request_of(session=SessionStore(session.session_key)), link).status_code == DENIED


@pytest.mark.threat("T-09")
def test_user_who_is_inactive_opens_nothing(file: PrivateFile, request_of):
    alice = User.objects.create_user("alice")
    link = make_link(file, user=alice)
    assert use(request_of(alice), link).status_code == 200
    alice.is_active = False
    assert use(request_of(alice), link).status_code == DENIED


@pytest.mark.threat("T-09")
@pytest.mark.parametrize(
    ("bound", "address", "status"),
    [
        ("192.0.2.0/24", "192.0.2.255", 200),
        ("192.0.2.7", "192.0.2.7", 200),
        ("192.0.2.7", "192.0.2.8", DENIED),
        ("192.0.2.9/24", "::ffff:192.0.2.7", 200),
        ("192.0.2.0/24", "::ffff:192.0.3.7", DENIED),
        ("2001:db8::/48", "2001:db8:0:1::5", 200),
        ("2001:db8::/48", "2001:db8:1::5", DENIED),
        ("2001:db8::/48", "192.0.2.7", DENIED),
        ("0.0.0.0/0", "2001:db8::1", DENIED),
        ("::/0", "fe80::1%eth0", 200),
        ("0.0.0.0/0", "", DENIED),
        ("0.0.0.0/0", "unix:", DENIED),
    ],
)
def test_link_for_a_network(file, request_of, bound, address, status):
    request = request_of()
    request.META["REMOTE_ADDR"] = address
    assert use(request, make_link(file, ip=bound)).status_code == status


@pytest.mark.threat("T-09")
def test_forwarded_address_is_not_believed(file: PrivateFile, request_of):
    request = request_of(
        headers={"X-Forwarded-For": "203.0.113.1", "X-Real-IP": "203.0.113.1", "Forwarded": "for=203.0.113.1"}
    )
    assert use(request, make_link(file, ip="203.0.113.1")).status_code == DENIED


def behind_a_proxy(request: Any) -> str:
    return request.headers["X-Real-IP"]


def test_project_says_which_address_it_believes(file: PrivateFile, request_of, settings):
    settings.PRIVATE_STORAGE_LINK_IP_FUNCTION = "tests.private.test_links.behind_a_proxy"
    link = make_link(file, ip="203.0.113.1")
    assert use(request_of(headers={"X-Real-IP": "203.0.113.1"}), link).status_code == 200
    assert use(request_of(headers={"X-Real-IP": INSIDE}), link).status_code == DENIED


def test_token_holds_no_secret(file: PrivateFile):
    session = file.request.session = saved_session()
    token = token_of(make_link(file, session=True, user=file.request.user, ip=INSIDE))
    said = str(signing.loads(token, salt=links.SALT))
    assert session.session_key not in said
    assert file.request.user.username not in said


# Forged

FORGED = {
    "empty": "",
    "colon": ":",
    "colons": "::",
    "letters": "abc:def:ghi",
    "not ASCII": "é:ü:ß",
    "NUL": "\x00:\x00",
    "surrogate": "\udc80",
    "percent": "%00%2e%2e",
    "dots": "../../etc/passwd",
    "full": "a" * 4096,
    "long": "a" * 4097,
    "signed by default": signing.dumps({"name": "a.txt"}, key="only-for-tests"),
    "signed for another purpose": signing.dumps({"name": "a.txt"}, key="only-for-tests", salt="storages.private"),
    "only signed": signing.Signer(key="only-for-tests", salt=links.SALT).sign("a.txt"),
    "only stamped": signing.TimestampSigner(key="only-for-tests").sign("a.txt"),
    "by another key": signing.dumps({"name": "a.txt"}, key="another", salt=links.SALT),
}


@pytest.mark.threat("T-09")
@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_forged_token_is_denied(request_of, token: str):
    assert PrivateLinkView.as_view()(request_of(), token=token).status_code == DENIED
    assert memory.calls == []


@pytest.mark.threat("T-09")
def test_token_that_resets_a_password_is_no_link(request_of, maker: User):
    token = default_token_generator.make_token(maker)
    assert PrivateLinkView.as_view()(request_of(), token=token).status_code == DENIED


def test_token_that_is_too_long_is_not_unsigned(request_of, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signing, "loads", lambda *args, **options: pytest.fail("unsigned"))
    with pytest.raises(links.BadLink, match="too long"):
        open_link(request_of(), "a" * 4097)


MUTATIONS = {
    "flipped": lambda token, at: token[:at] + chr(ord(token[at]) ^ 1) + token[at + 1 :],
    "other case": lambda token, at: token[:at] + token[at].swapcase() + token[at + 1 :],
    "left out": lambda token, at: token[:at] + token[at + 1 :],
    "doubled": lambda token, at: token[:at] + token[at] + token[at:],
    "cut": lambda token, at: token[:at],
    "begun late": lambda token, at: token[at + 1 :],
}


@pytest.mark.threat("T-10")
@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_every_byte_of_a_token_is_signed(file, request_of, mutation):
    token = token_of(make_link(file, disposition="attachment", filename="b.txt", ip="192.0.2.0/24"))
    mutants = {mutation(token, at) for at in range(len(token))} - {token}
    assert len(mutants) > 100
    answers = {PrivateLinkView.as_view()(request_of(), token=mutant).status_code for mutant in mutants}
    assert answers == {DENIED}
    assert memory.calls == []


@pytest.mark.threat("T-10")
@pytest.mark.parametrize(
    "query", ["disposition=inline", "filename=x.html", "name=drawer/b.txt", "storage=default", "expires=9"]
)
def test_query_changes_nothing(client: Client, file: PrivateFile, query: str):
    link = make_link(file, disposition="attachment", filename="b.txt")
    plain, asked = client.get(link), client.get(f"{link}?{query}&content_type=text/html")
    assert body_of(plain) == body_of(asked)
    for header in ("Content-Type", "Content-Disposition"):
        assert plain[header] == asked[header]


def test_disposition_and_file_name_are_the_link_s(client: Client, file: PrivateFile):
    response = client.get(make_link(file, disposition="attachment", filename="Über uns.txt"))
    assert response["Content-Disposition"].startswith("attachment;")
    assert "filename*=UTF-8''%C3%9Cber%20uns.txt" in response["Content-Disposition"]


def test_link_s_file_name_goes_before_the_view_s(client: Client, maker: User, file: PrivateFile):
    document = Document.objects.create(owner=maker, file="a.txt")
    options: dict[str, Any] = {"view": "document", "kwargs": {"pk": document.pk}}
    assert 'filename="document.txt"' in client.get(make_link(file, **options))["Content-Disposition"]
    assert 'filename="b.txt"' in client.get(make_link(file, filename="b.txt", **options))["Content-Disposition"]


# T-16: the permission of today

LOSSES = {
    "the right": lambda maker: User.objects.filter(pk=maker.pk).update(is_superuser=False),
    "the account": lambda maker: maker.delete(),
    "being active": lambda maker: User.objects.filter(pk=maker.pk).update(is_active=False),
}


@pytest.mark.threat("T-16")
@pytest.mark.parametrize("options", [{}, {"uses": 9}, {"revocable": True}], ids=str)
@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_link_ends_when_its_maker_loses(client, maker, file, lose, options):
    link = make_link(file, **options)
    assert client.get(link).status_code == 200
    lose(maker)
    memory.calls.clear()
    assert client.get(link).status_code == DENIED
    assert client.head(link).status_code == DENIED
    assert memory.calls == []


@pytest.mark.threat("T-16")
def test_client_s_own_right_does_not_save_a_link(client: Client, maker: User, file: PrivateFile):
    link = make_link(file)
    User.objects.filter(pk=maker.pk).update(is_superuser=False)
    client.force_login(User.objects.create_superuser("another"))
    assert client.get(link).status_code == DENIED


@pytest.mark.threat("T-16")
def test_maker_who_is_not_active_is_not_even_asked_for(client: Client, maker: User, file: PrivateFile, settings):
    settings.PRIVATE_STORAGE_AUTH_FUNCTION = "tests.private.test_links.note"
    link = make_link(file)
    User.objects.update(is_active=False)
    assert client.get(link).status_code == DENIED
    assert asked == []


async def is_maker(private_file: PrivateFile) -> bool:
    return (await private_file.request.auser()).username == "maker"


@pytest.mark.threat("T-16")
def test_asynchronous_policy_sees_the_maker_too(client: Client, file: PrivateFile, settings):
    settings.PRIVATE_STORAGE_AUTH_FUNCTION = "tests.private.test_links.is_maker"
    link = make_link(file)
    assert client.get(link).status_code == 200
    client.force_login(User.objects.create_superuser("another"))
    assert client.get(link).status_code == 200
    User.objects.filter(username="maker").update(username="renamed")
    assert client.get(link).status_code == DENIED


@pytest.mark.threat("T-16")
def test_bearer_link_asks_nobody(client: Client, maker: User, file: PrivateFile):
    link = make_link(file, bearer=True)
    maker.delete()
    assert client.get(link).status_code == 200


def down(view: Any, private_file: PrivateFile) -> Any:
    raise ConnectionError("the storage is down")


def fault(private_file: PrivateFile) -> bool:
    raise RuntimeError("a fault of the project")


asked: list[PrivateFile] = []


def note(private_file: PrivateFile) -> bool:
    asked.append(private_file)
    return True


def test_policy_sees_the_maker_and_the_client_s_request(request_of, file: PrivateFile, settings):
    settings.PRIVATE_STORAGE_AUTH_FUNCTION = "tests.private.test_links.note"
    request = request_of(headers={"Range": "bytes=1-"})
    user = request.user
    opened = open_link(request, token_of(make_link(file)))
    assert asked.pop().request.user == file.request.user == opened.request.user
    assert opened.request.headers["Range"] == "bytes=1-"
    assert request.user is user
    assert opened.link.request is request


def test_link_needs_somebody_whose_permission_is_asked(request_of):
    with pytest.raises(ValueError, match="bearer"):
        make_link(PrivateFile(request_of(), memory, "a.txt"))


# The view that guards the file


@pytest.fixture
def hidden_file(maker: User, request_of: Callable[..., Any]) -> Iterator[PrivateFile]:
    hidden.save("h.txt", ContentFile(b"hidden"))
    hidden.calls.clear()
    yield PrivateFile(request_of(maker), hidden, "h.txt")
    hidden.client.clear()


@pytest.mark.threat("T-16")
def test_view_that_is_named_is_asked_and_serves(client: Client, hidden_file: PrivateFile):
    link = make_link(hidden_file, view="hidden")
    assert body_of(client.get(link)) == b"hidden"
    User.objects.update(username="renamed")
    hidden.calls.clear()
    assert client.get(link).status_code == DENIED
    assert hidden.calls == []


@pytest.mark.threat("T-16")
@pytest.mark.parametrize("view", ["closed", "strict"])
def test_checks_of_a_view_outside_its_policy_are_asked_too(client, maker, file, view):
    link = make_link(file, view=view)
    assert client.get(link).status_code == 200
    User.objects.update(is_staff=False)
    assert client.get(link).status_code == DENIED


@pytest.mark.threat("T-16")
def test_detail_view_gives_the_policy_its_object(client: Client, maker: User, file: PrivateFile):
    document = Document.objects.create(owner=maker, file="a.txt")
    link = make_link(file, view="document", kwargs={"pk": document.pk})
    assert client.get(link).status_code == 200
    Document.objects.update(file="drawer/b.txt")
    assert client.get(link).status_code == DENIED
    Document.objects.update(file="a.txt", owner=None)
    assert client.get(link).status_code == DENIED
    Document.objects.all().delete()
    assert client.get(link).status_code == DENIED


def test_view_that_handles_the_request_guards_the_link(client: Client, maker: User, monkeypatch: pytest.MonkeyPatch):
    document = Document.objects.create(owner=maker, file="a.txt")
    made: list[str] = []

    def serve_file(self: Any, private_file: PrivateFile) -> Any:
        made.append(make_link(private_file))
        return PrivateStorageView.serve_file(self, private_file)

    monkeypatch.setattr(DocumentView, "serve_file", serve_file)
    client.force_login(maker)
    assert client.get(f"/document/{document.pk}/").status_code == 200
    claims = signing.loads(token_of(made[0]), salt=links.SALT)
    assert (claims["view"], claims["kwargs"]) == ("document", {"pk": str(document.pk)})
    assert client.get(made[0]).status_code == 200
    assert signing.loads(token_of(made[1]), salt=links.SALT)["view"] == "document"  # from within a link


def test_link_under_a_script_name(client: Client, hidden_file: PrivateFile):
    link = make_link(hidden_file, view="hidden")
    assert client.get(link, SCRIPT_NAME="/app").status_code == 200


@pytest.mark.parametrize("name", ["a b.txt", "100%.txt", "%41.txt", "ü/ß#1?.txt", "a+b&c.txt"])
def test_odd_names_reach_the_view_as_they_are(client: Client, hidden_file: PrivateFile, name: str):
    hidden.save(name, ContentFile(b"odd"))
    hidden_file.relative_name = name
    assert body_of(client.get(make_link(hidden_file, view="hidden"))) == b"odd"


def test_view_that_is_gone_opens_nothing(client: Client, hidden_file: PrivateFile, monkeypatch: pytest.MonkeyPatch):
    link = make_link(hidden_file, view="hidden")
    monkeypatch.setattr("storages.private.guards.reverse", lambda name, kwargs: "/gone/")
    assert client.get(link).status_code == DENIED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "decorated"}, "decorator"),
        ({"view": "nowhere"}, "no URL of a view 'nowhere'"),
        ({"view": "serve_private_link", "kwargs": {"token": "x"}}, "no PrivateStorageView"),
        ({"kwargs": {"pk": 1}}, "Name the view"),
        ({"bearer": True, "view": "hidden"}, "asks no view"),
        ({"disposition": "form-data"}, "inline or attachment"),
        ({"uses": 0}, "uses is a whole number"),
        ({"uses": True}, "uses is a whole number"),
        ({"uses": "1"}, "uses is a whole number"),
        ({"ip": "here"}, "'here' does not appear to be"),
        ({"ip": True}, "ip is an address or a network"),
        ({"ip": 7}, "ip is an address or a network"),
        ({"user": AnonymousUser()}, "logged in"),
        ({"user": User()}, "logged in"),
        ({"session": True}, "session that is saved"),
        ({"filename": "ü" * 2000}, "more than 4096"),
    ],
)
def test_link_that_could_not_be_kept_is_not_made(file: PrivateFile, options: dict[str, Any], message: str):
    if "filename" in options:  # that nothing compresses
        options = {"filename": "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(3000))}
    with pytest.raises(ValueError, match=message):
        make_link(file, **options)
    assert not Link.objects.exists()


@pytest.mark.parametrize("name", ["", "../a.txt", "/a.txt", "a//b", "drawer/", "a\x00"])
def test_no_link_is_made_for_a_name_that_is_not_canonical(file: PrivateFile, name: str):
    file.relative_name = name
    with pytest.raises(ValueError, match="not canonical"):
        make_link(file)


def test_detail_file_without_its_view_is_refused(file: PrivateFile):
    file.parent_object = Document()
    with pytest.raises(ValueError, match="Name the view"):
        make_link(file)


def test_links_without_a_url_say_what_to_add(file: PrivateFile, settings):
    settings.ROOT_URLCONF = "tests.private.urls"
    with pytest.raises(ImproperlyConfigured, match=r"storages\.private\.link_urls"):
        make_link(file)


# Storages


def test_storage_that_no_setting_names_is_refused(hidden_file: PrivateFile):
    with pytest.raises(ImproperlyConfigured, match="Put it into STORAGES"):
        make_link(hidden_file)


def test_storage_by_its_alias(client: Client, file: PrivateFile, settings):
    settings.STORAGES = {**settings.STORAGES, "memory 2": {"BACKEND": "storages.backends.memory.MemoryStorage"}}
    file.storage = storages["memory 2"]
    file.storage.save("a.txt", ContentFile(b"of the alias"))
    link = make_link(file)
    assert body_of(client.get(link)) == b"of the alias"
    settings.STORAGES = {name: value for name, value in settings.STORAGES.items() if name != "memory 2"}
    assert client.get(link).status_code == DENIED


def test_no_alias_hides_the_private_storage(file: PrivateFile, settings):
    settings.STORAGES = {**settings.STORAGES, "private_storage": {"BACKEND": "storages.backends.memory.MemoryStorage"}}
    file.storage = storages["private_storage"]
    with pytest.raises(ImproperlyConfigured, match="Put it into STORAGES"):
        make_link(file)


def test_faulty_storage_of_another_alias_is_no_hindrance(client: Client, file: PrivateFile, settings):
    settings.PRIVATE_STORAGE_LINK_STORAGES = {"faulty": "no.such", "memory": "tests.private.models.memory"}
    assert client.get(make_link(file)).status_code == 200


def test_private_storage_has_its_name(client: Client, file: PrivateFile, monkeypatch: pytest.MonkeyPatch):
    storage = MemoryStorage()
    storage.save("a.txt", ContentFile(b"private"))
    monkeypatch.setattr("storages.private.storage.private_storage", storage)
    file.storage = storage
    link = make_link(file)
    assert signing.loads(token_of(link), salt=links.SALT)["storage"] == "private_storage"
    assert body_of(client.get(link)) == b"private"


# Uses


def left() -> int | None:
    return Link.objects.get().uses_left


@pytest.mark.threat("T-09")
def test_link_is_good_for_so_many_uses(client: Client, file: PrivateFile):
    link = make_link(file, uses=2)
    assert [client.get(link).status_code for _time in range(4)] == [200, 200, DENIED, DENIED]


def test_link_without_uses_or_revocation_has_no_row(client: Client, file: PrivateFile):
    make_link(file)
    assert not Link.objects.exists()


def test_download_in_forty_ranges_is_one_use(client: Client, file: PrivateFile):
    memory.delete("a.txt")
    memory.save("a.txt", ContentFile(bytes(range(200))))
    link = make_link(file, uses=1)
    served: list[str] = []

    def count(private_file: PrivateFile, **options: Any) -> None:
        served.append(private_file.relative_name)

    signals.file_served.connect(count)
    parts = [client.get(link, headers={"Range": f"bytes={start}-{start + 4}"}) for start in range(0, 200, 5)]
    assert [part.status_code for part in parts] == [206] * 40
    assert b"".join(map(body_of, parts)) == bytes(range(200))
    assert served == ["a.txt"]
    assert left() == 0
    assert LinkUse.objects.count() == 1


@pytest.mark.parametrize(
    ("wanted", "uses"),
    [
        ("bytes=1-", 0),
        ("bytes=5-6, 2-3", 0),
        ("bytes=-3", 0),
        ("BYTES = 01-", 0),
        ("bytes=0-1", 0),
        ("bytes=0-", 1),
        ("bytes=00-", 1),
        ("bytes=0-0", 1),
        ("bytes=5-6,0-", 1),
        ("bytes=", 1),
        ("bytes=5-6,", 1),
        ("bytes=x-", 1),
        ("bytes=5", 1),
        ("lines=5-", 1),
        ("bytes=5-6;0-", 1),
        ("bytes=\u0665-", 1),
        ("", 1),
    ],
)
def test_what_a_client_who_has_begun_pays_for_a_range(file, request_of, wanted, uses):
    link = make_link(file, uses=3)
    open_link(request_of(), token_of(link))
    open_link(request_of(headers={"Range": wanted}), token_of(link))
    assert left() == 2 - uses


@pytest.mark.threat("T-09")
@pytest.mark.parametrize("headers", [{"Range": "bytes=1-"}, {"Range": "bytes=-3"}, {"Range": "bytes=0-1"}])
@pytest.mark.parametrize("who", ["network", "session", "browser"])
def test_later_ranges_of_a_used_up_link_are_for_the_client_who_took_it(file, request_of, headers, who):
    session = saved_session()
    link = make_link(file, uses=1)
    assert use(request_of(session=session), link).status_code == 200
    assert use(request_of(session=session, headers=headers), link).status_code < 300
    stranger = request_of(session=saved_session() if who == "session" else session, headers=headers)
    stranger.META["REMOTE_ADDR"] = OUTSIDE if who == "network" else INSIDE
    stranger.META["HTTP_USER_AGENT"] = "another" if who == "browser" else ""
    assert use(stranger, link).status_code == DENIED


def test_later_ranges_are_of_the_link_that_was_used(file: PrivateFile, request_of):
    link, another = make_link(file, uses=1), make_link(file, uses=1)
    assert use(request_of(), link).status_code == 200
    Link.objects.update(uses_left=0)
    assert use(request_of(headers={"Range": "bytes=1-"}), another).status_code == DENIED


def test_later_ranges_are_for_a_short_while(file: PrivateFile, request_of, settings):
    link = make_link(file, uses=1)
    assert use(request_of(), link).status_code == 200
    settings.PRIVATE_STORAGE_LINK_RESUME = 0
    assert use(request_of(headers={"Range": "bytes=1-"}), link).status_code == DENIED


def test_range_of_a_client_who_has_not_begun_is_a_use(file: PrivateFile, request_of):
    link = make_link(file, uses=1)
    assert use(request_of(headers={"Range": "bytes=1-"}), link).status_code < 300
    assert left() == 0


@pytest.mark.parametrize("request_options", [{"method": "HEAD"}, {"headers": {"Range": "bytes=0-1"}}], ids=str)
def test_asking_costs_no_use(file, request_of, request_options):
    link = make_link(file, uses=1)
    for _time in range(3):
        assert use(request_of(**request_options), link).status_code < 300
    assert left() == 1
    Link.objects.update(uses_left=0)
    assert use(request_of(**request_options), link).status_code == DENIED


@pytest.mark.parametrize("status", [304, 403, 404, 412, 416, 502])
def test_answer_without_the_file_costs_no_use(client, file, status, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PrivateStorageView, "serve_file", lambda self, private_file: HttpResponse(status=status))
    assert client.get(make_link(file, uses=1)).status_code == status
    assert left() == 1
    assert not LinkUse.objects.exists()


def test_fault_of_the_project_costs_no_use(client: Client, file: PrivateFile, monkeypatch: pytest.MonkeyPatch):
    def serve_file(self: Any, private_file: PrivateFile) -> Any:
        raise ImproperlyConfigured("no such server")

    monkeypatch.setattr(PrivateStorageView, "serve_file", serve_file)
    with pytest.raises(ImproperlyConfigured):
        client.get(make_link(file, uses=1))
    assert left() == 1


def test_delivery_that_denies_is_a_refusal(client: Client, file: PrivateFile, monkeypatch: pytest.MonkeyPatch):
    def serve_file(self: Any, private_file: PrivateFile) -> Any:
        raise PermissionDenied

    monkeypatch.setattr(PrivateStorageView, "serve_file", serve_file)
    response = client.get(make_link(file, uses=1))
    assert (response.status_code, response["Referrer-Policy"]) == (DENIED, "no-referrer")
    assert left() == 1


def test_missing_file_costs_no_use(client: Client, file: PrivateFile):
    link = make_link(file, uses=1)
    memory.delete("a.txt")
    assert client.get(link).status_code == NOT_FOUND
    assert left() == 1


@pytest.fixture
def file_database(tmp_path) -> Iterator[Callable[[], None]]:
    """The tables of links in a file, which any thread can connect to."""

    def connect() -> None:
        own = usual.copy()
        own.settings_dict["NAME"] = str(tmp_path / "links.sqlite3")
        own.settings_dict["OPTIONS"] = {"timeout": 30}
        connections["default"] = own

    usual = connections["default"]
    connect()
    try:
        with connections["default"].schema_editor() as editor:
            editor.create_model(User)
            editor.create_model(Link)
            editor.create_model(LinkUse)
        yield connect
    finally:
        connections["default"].close()
        connections["default"] = usual


@pytest.mark.threat("T-09")
@pytest.mark.django_db(transaction=True)
def test_two_requests_cannot_both_take_the_last_use(file_database, file, request_of):
    link = make_link(file, uses=3)
    together = threading.Barrier(8)
    opened: list[bool] = []

    def fetch() -> None:
        file_database()
        try:
            together.wait()
            open_link(request_of(), token_of(link))
            opened.append(True)
        except links.UsedUpLink:
            opened.append(False)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=fetch) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened) == [False] * 5 + [True] * 3
    assert left() == 0


class Replica:
    """A router of a project whose reads go elsewhere."""

    db_for_read = staticmethod(lambda model, **hints: "replica")
    db_for_write = staticmethod(lambda model, **hints: "default")


def test_use_is_taken_and_given_back_where_links_are_written(file, request_of, settings):
    row = Link.objects.get(pk=open_link(request_of(), token_of(make_link(file, uses=5))).link.use.link_id)
    row._state.db = "replica"
    settings.DATABASE_ROUTERS = [Replica()]
    use = row.take("client")
    assert row.is_known("client", 60)
    use._state.db = "replica"
    use.give_back()
    settings.DATABASE_ROUTERS = []
    assert (left(), LinkUse.objects.count()) == (4, 1)


@pytest.mark.parametrize("zones", [True, False])
def test_link_with_a_row_ends_when_it_says(client, file, settings, zones, monkeypatch):
    settings.USE_TZ = zones
    settings.TIME_ZONE = "Asia/Tokyo"
    link = make_link(file, uses=2, expire=HOUR)
    assert client.get(link).status_code == 200
    assert clear_links() == 0
    now = timezone.now() + datetime.timedelta(seconds=HOUR + 1)
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert clear_links() == 1


@pytest.mark.django_db(transaction=True)
def test_use_is_written_before_a_byte_is_sent(client: Client, file: PrivateFile, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    open_transactions: list[bool] = []

    def serve_file(self: Any, private_file: PrivateFile) -> HttpResponse:
        open_transactions.append(connections["default"].in_atomic_block)
        return HttpResponse()

    monkeypatch.setattr(PrivateStorageView, "serve_file", serve_file)
    assert client.get(make_link(file, uses=1)).status_code == 200
    assert open_transactions == [False]


def test_use_is_one_conditional_update(file: PrivateFile, request_of):
    """What the threads hit by chance: another request takes the last use after this one has looked."""
    make_link(file, uses=1)
    mine, theirs = Link.objects.get(), Link.objects.get()
    assert theirs.take("they") is not None
    assert mine.uses_left == 1
    assert mine.take("me") is None


# Revoked and cleared

REVOKED = {
    "link": lambda link, file: {"link": link},
    "URL": lambda link, file: {"link": f"https://example.com{link}"},
    "token": lambda link, file: {"link": token_of(link)},
    "row": lambda link, file: {"link": Link.objects.get()},
    "storage": lambda link, file: {"storage": memory},
    "alias": lambda link, file: {"storage": "memory", "name": "a.txt"},
    "name": lambda link, file: {"name": "a.txt"},
    "user": lambda link, file: {"user": file.request.user},
}


@pytest.mark.parametrize("zones", [True, False])
def test_row_lives_as_long_as_its_link_in_every_zone(settings, request_of, file, zones):
    settings.USE_TZ = zones
    settings.TIME_ZONE = "Asia/Tokyo"
    link = make_link(file, uses=1, expire=HOUR)
    left = Link.objects.get().expires - timezone.now()
    assert left.total_seconds() == pytest.approx(HOUR, abs=20)
    assert clear_links() == 0
    assert use(request_of(), link).status_code == 200


@pytest.mark.threat("T-09")
@pytest.mark.parametrize("options", [{"revocable": True}, {"uses": 5}], ids=str)
@pytest.mark.parametrize("what", REVOKED.values(), ids=REVOKED)
def test_revoked_link_opens_nothing(client, file, what, options):
    link = make_link(file, **options)
    assert client.get(link).status_code == 200
    assert revoke_links(**what(link, file)) == 1
    assert client.get(link).status_code == DENIED
    assert client.head(link).status_code == DENIED


def test_bearer_link_is_revoked_with_its_maker_s_others(client: Client, file: PrivateFile):
    link = make_link(file, bearer=True, revocable=True)
    assert revoke_links(user=file.request.user) == 1
    assert client.get(link).status_code == DENIED


def test_links_to_a_storage_without_a_name_are_revoked_by_their_view(client: Client, hidden_file: PrivateFile):
    link = make_link(hidden_file, view="hidden", revocable=True)
    assert client.get(link).status_code == 200
    assert revoke_links(storage="hidden", name="h.txt") == 1
    assert client.get(link).status_code == DENIED


def test_no_other_link_is_revoked(client: Client, file: PrivateFile, request_of):
    another = PrivateFile(request_of(User.objects.create_superuser("another")), memory, "drawer/b.txt")
    links_made = [make_link(one, revocable=True) for one in (file, another)]
    assert revoke_links(name="a.txt", user=another.request.user) == 0
    assert revoke_links(links_made[0]) == 1
    assert [client.get(link).status_code for link in links_made] == [DENIED, 200]


def test_revoking_nothing_in_particular_is_an_error(file: PrivateFile):
    make_link(file, revocable=True)
    with pytest.raises(TypeError, match="Say which"):
        revoke_links()
    with pytest.raises(ValueError, match="revocable=True"):
        revoke_links(make_link(file))
    with pytest.raises(ValueError, match="no link of ours"):
        revoke_links("/link/abc/")
    assert not Link.objects.filter(revoked=True).exists()


def test_expired_rows_are_cleared_and_no_others(file: PrivateFile, client: Client, capsys):
    old, young = make_link(file, uses=2), make_link(file, uses=2)
    client.get(old)
    client.get(young)
    Link.objects.filter(pk=links._row_number(old)).update(expires="2020-01-01T00:00Z")
    call_command("clear_private_links", "--dry-run")
    assert (clear_links(dry_run=True), Link.objects.count()) == (1, 2)
    call_command("clear_private_links")
    assert capsys.readouterr().out == "1 expired links\n1 expired links deleted\n"
    assert [str(row.pk) for row in Link.objects.all()] == [links._row_number(young)]
    assert LinkUse.objects.count() == 1
    assert clear_links() == 0


@pytest.mark.threat("T-09")
def test_row_that_is_gone_opens_nothing(client: Client, file: PrivateFile):
    link = make_link(file, uses=5)
    Link.objects.all().delete()
    assert client.get(link).status_code == DENIED


def test_admin_shows_links_and_revokes_them(client: Client, maker: User, file: PrivateFile):
    User.objects.update(is_staff=True)
    client.force_login(maker)
    link, another = make_link(file, revocable=True), make_link(file, uses=3)
    number = links._row_number(link)
    page = "/admin/storages_private/link/"
    assert client.get(page).content.count(b"a.txt") >= 2
    assert client.get(f"{page}{number}/change/").status_code == 200
    assert client.get(f"{page}add/").status_code == DENIED
    client.post(page, {"action": "revoke", "_selected_action": [number]})
    assert [client.get(one).status_code for one in (link, another)] == [DENIED, 200]


def test_migration_is_all_that_the_models_need():
    call_command("makemigrations", "storages_private", "--check", "--dry-run", verbosity=0)


# What is said of a link that opens nothing


def refused(file: PrivateFile, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make links that open nothing, one for each reason."""
    made = {
        "user": make_link(file, user=User.objects.create_user("alice")),
        "network": make_link(file, ip="203.0.113.0/24"),
        "revoked": make_link(file, revocable=True),
        "used up": make_link(file, uses=1),
    }
    Link.objects.update(revoked=True)
    Link.objects.filter(uses_left=1).update(revoked=False, uses_left=0)
    made["forged"] = make_link(file)[:-3] + "/"
    made["gone"] = make_link(PrivateFile(file.request, memory, "none.txt"), user=User.objects.get(username="alice"))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda now=time.time: now() - 2 * HOUR)
        made["expired"] = make_link(file)
    return made


@pytest.mark.threat("T-02")
@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("method", ["get", "head"])
def test_every_refusal_reads_alike(client, file, hide, method, settings, monkeypatch: pytest.MonkeyPatch):
    settings.PRIVATE_STORAGE_HIDE_DENIED = hide
    made = refused(file, monkeypatch)
    made["denied"] = make_link(PrivateFile(file.request, memory, "drawer/b.txt"))
    User.objects.filter(username="maker").update(is_superuser=False)
    memory.calls.clear()
    answers = [getattr(client, method)(link) for link in made.values()]
    assert len(answers) == 8
    assert len({(answer.status_code, answer.content, str(sorted(answer.items()))) for answer in answers}) == 1
    assert answers[0].status_code == (NOT_FOUND if hide else DENIED)
    assert b"a.txt" not in answers[0].content
    assert memory.calls == []


@pytest.mark.threat("T-02")
def test_hidden_refusal_reads_like_a_missing_file(client: Client, file: PrivateFile, settings):
    settings.PRIVATE_STORAGE_HIDE_DENIED = True
    missing = client.get(make_link(PrivateFile(file.request, memory, "none.txt")))
    forged = client.get("/link/abc/")
    assert (missing.status_code, missing.content) == (forged.status_code, forged.content) == (404, b"Not found")
    assert dict(missing.items()) == dict(forged.items())


@pytest.mark.threat("T-15")
def test_token_is_in_no_log(client, file, settings, monkeypatch, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("django"), "propagate", True)
    made = refused(file, monkeypatch)
    made["missing"] = make_link(PrivateFile(file.request, memory, "none.txt"))
    for link in made.values():
        client.get(link)
        assert client.post(link).status_code == 405
    monkeypatch.setattr(PrivateStorageView, "serve_file", down)
    made["down"] = make_link(file)
    assert client.get(made["down"]).status_code == 502
    made["fault"] = make_link(file)
    settings.PRIVATE_STORAGE_AUTH_FUNCTION = "tests.private.test_links.fault"
    client.raise_request_exception = False
    assert client.get(made["fault"]).status_code == 500
    records = [record for record in caplog.records if not record.name.startswith("django.db")]
    assert len(records) >= len(made)
    shown = "\n".join(f"{record.getMessage()} {vars(record)}" for record in records)
    assert [name for name, link in made.items() if token_of(link)[-20:] in shown] == []


@pytest.mark.threat("T-13")
@pytest.mark.parametrize("options", [{}, {"ip": "203.0.113.1"}, {"session": True}], ids=str)
def test_session_is_looked_at_and_not_written(client, maker, file, settings, options):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    client.force_login(maker)
    file.request.session = client.session
    before = Session.objects.get().expire_date
    response = client.get(make_link(file, **options))
    assert response.status_code == (DENIED if "ip" in options else 200)
    assert not response.cookies
    assert "Set-Cookie" not in response.headers
    assert Session.objects.get().expire_date == before


@pytest.mark.threat("T-15")
def test_project_s_own_page_is_the_answer(client: Client, settings, tmp_path):
    (tmp_path / "403.html").write_text("Our page: {{ exception }}")
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]}]
    assert client.get("/link/abc/").content == b"Our page: Private storage access denied"


def test_signals_tell_of_links(client: Client, file: PrivateFile, monkeypatch: pytest.MonkeyPatch):
    heard: list[tuple[str, str, type]] = []

    def listen(name: str) -> Any:
        def hear(sender: Any, private_file: PrivateFile, **options: Any) -> None:
            heard.append((name, private_file.relative_name, sender))

        return hear

    served, denied = listen("served"), listen("denied")
    signals.file_served.connect(served)
    signals.file_denied.connect(denied)
    try:
        client.get(make_link(file))
        client.get(make_link(file, ip="203.0.113.1"))
        client.get("/link/abc/")
        link = make_link(file)
        User.objects.update(is_superuser=False)
        client.get(link)
    finally:
        signals.file_served.disconnect(served)
        signals.file_denied.disconnect(denied)
    assert heard == [
        ("served", "a.txt", PrivateStorageView),
        ("denied", "a.txt", PrivateLinkView),
        ("denied", "a.txt", PrivateStorageView),
    ]


def test_hostile_paths_are_answered(client: Client):
    for token in ("%00", "%ff%fe", "a%2Fb", "%0d%0aSet-Cookie:x", quote("é:ü:ß"), "a" * 5000):
        assert client.get(f"/link/{token}/").status_code in (DENIED, NOT_FOUND)
