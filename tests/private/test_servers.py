"""Deliveries, before any web server: what they say to it, and what they refuse."""

from __future__ import annotations

import datetime
import os
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.test import RequestFactory, override_settings

from storages.backends.azure_storage import AzureStorage
from storages.backends.b2 import B2Storage
from storages.backends.gcloud import GoogleCloudStorage
from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.contract import Stat
from storages.private import headers, locations, servers
from storages.private.models import PrivateFile
from storages.private.storage import PrivateFileSystemStorage, private_storage

DISK = "storages.private.storage.PrivateFileSystemStorage"
ON_DISK = [servers.NginxXAccelRedirectServer, servers.ApacheXSendfileServer, servers.LighttpdServer]
IN_A_CLOUD = [servers.NginxProxyServer, servers.RedirectServer]


class Signing(InMemoryStorage):
    """A cloud without a network."""

    response_parameters = {"content_type": "type", "content_disposition": "disposition"}
    internal_url = "/cloud/"
    host = "bucket.example.com"
    longest_expire: int | None = None

    def stat(self, name: str) -> Stat:
        return Stat(self.size(name), datetime.datetime.now(datetime.timezone.utc), etag="abc")

    def download_url(self, name: str, *, content_type: str, content_disposition: str, expire: int) -> str:
        return f"https://{self.host}/bucket/{name}?type={content_type}&expire={expire}"


@pytest.fixture
def root(tmp_path, settings):
    """The directory of the storage 'private'; beside it are 'archive' and one that is in no settings."""
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "private": {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "private")}},
        "archive": {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "archive")}},
    }
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


@pytest.fixture
def signing():
    storage = Signing()
    storage.save("a.txt", ContentFile(b"content"))
    return storage


def asked(storage: Any, name: str, method: str = "GET", **given: str) -> PrivateFile:
    return PrivateFile(RequestFactory().generic(method, "/", headers=given), storage, name)


def put(root: Any, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"content")


# By name


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("django", servers.DjangoServer),
        ("streaming", servers.DjangoStreamingServer),
        ("nginx", servers.NginxXAccelRedirectServer),
        ("nginx-proxy", servers.NginxProxyServer),
        ("apache", servers.ApacheXSendfileServer),
        ("lighttpd", servers.LighttpdServer),
        ("redirect", servers.RedirectServer),
        ("storages.private.servers.RedirectServer", servers.RedirectServer),
        ("private_storage.servers.NginxXAccelRedirectServer", servers.NginxXAccelRedirectServer),
        ("private_storage.servers.DjangoStreamingServer", servers.DjangoStreamingServer),
        (servers.RedirectServer, servers.RedirectServer),
    ],
)
def test_setting_names_a_class(name, cls):
    assert servers.get_server_class(name) is cls


@pytest.mark.parametrize("name", ["ngnix", "", "missing.module.Server", "storages.private.servers.Missing"])
def test_unknown_name_tells_the_setting(name):
    with pytest.raises(ImproperlyConfigured, match="PRIVATE_STORAGE_SERVER"):
        servers.get_server_class(name)


class Own:
    """A delivery of the project's own."""

    @staticmethod
    def serve(private_file):
        return private_file.relative_name


def test_own_class_is_a_dotted_path():
    found = servers.get_server_class(f"{__name__}.Own")
    assert found.serve(asked(Signing(), "a.txt")) == "a.txt"
    assert servers.problem_of(found, Signing()) is None


# To disk

NAMES = ["a.txt", "dir/a b.txt", "ü/文.txt", "a%2Fb.txt", "q?x=1#f.txt", "https/evil/x", "$uri", "a;b\"c'.txt"]


@pytest.mark.contract("S-07")
@pytest.mark.parametrize("name", NAMES)
def test_path_for_nginx_is_quoted_below_the_prefix(root, name):
    put(root, name)
    response = servers.NginxXAccelRedirectServer.serve(asked(private_storage, name))
    assert response["X-Accel-Redirect"] == f"/private-x-accel-redirect/{quote(name)}"
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("version", "path"),
    [
        (None, "/private-x-accel-redirect/%C3%BC%20a.txt"),
        ("1.5.9", "/private-x-accel-redirect/%C3%BC%20a.txt"),
        ("1.22.1", "/private-x-accel-redirect/%C3%BC%20a.txt"),
        ("1.5.8", "/private-x-accel-redirect/ü a.txt"),
        ("1.4", "/private-x-accel-redirect/ü a.txt"),
        ((1, 5, 8), "/private-x-accel-redirect/ü a.txt"),
    ],
)
def test_old_nginx_takes_the_path_as_it_is(root, settings, version, path):
    settings.PRIVATE_STORAGE_NGINX_VERSION = version
    put(root, "ü a.txt")
    response = servers.NginxXAccelRedirectServer.serve(asked(private_storage, "ü a.txt"))
    assert response["X-Accel-Redirect"].encode("latin-1").decode() == path


def test_question_mark_cannot_be_told_to_an_old_nginx(root, settings):
    settings.PRIVATE_STORAGE_NGINX_VERSION = "1.5.8"
    put(root, "secret.txt?x")
    with pytest.raises(FileNotFoundError):  # it would send secret.txt
        servers.NginxXAccelRedirectServer.serve(asked(private_storage, "secret.txt?x"))


@pytest.mark.parametrize("name", NAMES)
def test_path_for_apache_is_in_bytes(root, name):
    put(root, name)
    response = servers.ApacheXSendfileServer.serve(asked(private_storage, name))
    assert response["X-Sendfile"].encode("latin-1") == os.fsencode(root / name)


@pytest.mark.parametrize("name", NAMES)
def test_path_for_lighttpd_is_quoted(root, name):
    put(root, name)
    response = servers.LighttpdServer.serve(asked(private_storage, name))
    assert response["X-Sendfile"] == quote(str(root / name))


HOSTILE = [
    *("../secret.txt", "dir/../../secret.txt", "a\\..\\..\\secret.txt", "dir//a.txt", "./a.txt", "dir/", "", "."),
    *("a.txt\r\nX-Sendfile: /etc/passwd", "a\0.txt", "\udcff.txt", "/etc/passwd", "//a.txt", "a.txt/", "dir"),
    *("missing.txt", "a.txt/below", "x" * 300),
]


@pytest.mark.contract("S-07")
@pytest.mark.parametrize("cls", ON_DISK)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_is_a_missing_file(root, cls, name):
    put(root, "a.txt")
    put(root, "dir/a.txt")
    put(root.parent, "secret.txt")
    with pytest.raises(FileNotFoundError):
        cls.serve(asked(private_storage, name))


@pytest.mark.seed("S9")
@pytest.mark.parametrize("cls", ON_DISK)
def test_absolute_name_inside_the_root_does_not_replace_the_prefix(root, cls):
    put(root, "a.txt")
    with pytest.raises(FileNotFoundError):
        cls.serve(asked(private_storage, str(root / "a.txt")))


@pytest.mark.threat("T-04")
@pytest.mark.seed("S6")
@pytest.mark.parametrize("cls", ON_DISK)
@pytest.mark.parametrize("storage", [PrivateFileSystemStorage, FileSystemStorage])
def test_link_out_of_the_root_is_a_missing_file(root, cls, storage):
    put(root.parent, "secret.txt")
    (root / "link").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to(root.parent)
    for name in ("link", "up/secret.txt"):
        with pytest.raises(FileNotFoundError):
            cls.serve(asked(storage(location=str(root)), name))


@pytest.mark.parametrize("cls", ON_DISK)
def test_link_within_the_root_leads_to_what_is_sent(root, cls):
    put(root, "a.txt")
    (root / "link.txt").symlink_to("a.txt")
    response = cls.serve(asked(private_storage, "link.txt"))
    assert (response.get("X-Sendfile") or response.get("X-Accel-Redirect")).endswith("/a.txt")


@pytest.mark.parametrize("cls", ON_DISK)
def test_root_that_is_a_link_is_spelt_as_in_the_settings(root, cls, tmp_path):
    put(root, "a.txt")
    (tmp_path / "linked").symlink_to(root)
    response = cls.serve(asked(PrivateFileSystemStorage(location=str(tmp_path / "linked")), "a.txt"))
    assert response.get("X-Sendfile", f"{tmp_path}/linked/a.txt") == f"{tmp_path}/linked/a.txt"


@pytest.mark.parametrize("cls", ON_DISK)
def test_file_has_an_etag_of_its_own(root, cls):
    """Or ConditionalGetMiddleware would give all files that of the empty answer."""
    tags = set()
    for name in ("a.txt", "b.txt"):
        put(root, name)
        response = cls.serve(asked(private_storage, name))
        tags.add(response["ETag"])
        assert response["Last-Modified"]
    assert len(tags) == 2


# Locations


def test_each_storage_has_a_location_beside_the_others(root, tmp_path):
    own = PrivateFileSystemStorage(location=str(tmp_path / "own"), internal_url="own/place")
    unnamed = PrivateFileSystemStorage(location=str(tmp_path / "unnamed"))
    same = PrivateFileSystemStorage(location=str(tmp_path / "unnamed"))
    assert locations.internal_url(private_storage) == "/private-x-accel-redirect/"
    assert locations.internal_url(storages["private"]) == "/private-x-accel-redirect/"
    assert locations.internal_url(storages["archive"]) == "/private-x-accel-redirect-archive/"
    assert locations.internal_url(own) == "/own/place/"
    assert locations.internal_url(unnamed) == locations.internal_url(same)
    urls = [locations.internal_url(one) for one in (private_storage, storages["archive"], own, unnamed)]
    assert [one for one in urls for other in urls if one != other and one.startswith(other)] == []


@pytest.mark.parametrize("setting", ["/files/", "files", "/files", "//files//"])
def test_prefix_is_that_of_the_setting(root, settings, setting):
    settings.PRIVATE_STORAGE_INTERNAL_URL = setting
    put(root, "a.txt")
    response = servers.NginxXAccelRedirectServer.serve(asked(private_storage, "a.txt"))
    assert response["X-Accel-Redirect"] == "/files/a.txt"


def test_broken_storage_of_the_settings_breaks_no_other(root, settings):
    settings.STORAGES = {**settings.STORAGES, "broken": {"BACKEND": "missing.Storage"}}
    assert locations.internal_url(storages["archive"]) == "/private-x-accel-redirect-archive/"


# What cannot be

GOOGLE = GoogleCloudStorage(bucket_name="b")
S3 = S3Storage(bucket_name="b", region_name="eu-west-1", access_key="a", secret_key="b")
AZURE = AzureStorage(account_name="a", account_key="YQ==", azure_container="c")
B2 = B2Storage(application_key_id="a", application_key="b", bucket="c")


@pytest.mark.parametrize(
    ("cls", "storage", "problem"),
    [
        *[
            (cls, S3, "S3Storage keeps no files on this disk; use 'nginx-proxy', 'redirect' or 'django'")
            for cls in ON_DISK
        ],
        *[(cls, MemoryStorage(), "MemoryStorage keeps no files on this disk") for cls in ON_DISK],
        *[(cls, MemoryStorage(), "MemoryStorage signs no URLs that say as what") for cls in IN_A_CLOUD],
        *[(cls, InMemoryStorage(), "InMemoryStorage signs no URLs that say as what") for cls in IN_A_CLOUD],
        *[(servers.RedirectServer, storage, None) for storage in (S3, AZURE, GOOGLE)],
        (servers.RedirectServer, B2, "may read every file whose name begins with the same; use 'nginx-proxy' or"),
        (servers.NginxProxyServer, S3, "has neither 'internal_url' nor a name in STORAGES"),
        (servers.NginxProxyServer, Signing(), None),
        (servers.DjangoServer, MemoryStorage(), None),
        (Own, MemoryStorage(), None),
    ],
)
def test_problem_of_a_delivery_says_what_to_use(cls, storage, problem):
    said = servers.problem_of(cls, storage)
    assert (said is None) == (problem is None)
    assert problem is None or problem in said
    if problem:
        with pytest.raises(ImproperlyConfigured, match="PRIVATE_STORAGE_SERVER can't be") as refused:
            cls.serve(asked(storage, "a.txt"))
        assert problem in str(refused.value)


def test_delivery_from_disk_has_no_problem_with_a_disk(root):
    assert {servers.problem_of(cls, private_storage) for cls in [*ON_DISK, servers.DjangoServer]} == {None}


# To a cloud


def test_only_the_path_and_the_signature_travel_to_nginx(signing):
    response = servers.NginxProxyServer.serve(asked(signing, "a.txt"))
    assert response["X-Accel-Redirect"] == "/cloud/"
    assert response["X-Storages-Path"] == "/bucket/a.txt?type=text/plain&expire=60"
    assert "example.com" not in str(response.headers)


@pytest.mark.threat("T-08")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/bucket/a.txt?x",
        "http://bucket.example.com/bucket/a.txt?x",
        "https://bucket.example.com:8443/bucket/a.txt?x",
        "https://bucket.example.com@evil.example/a.txt",
        "https://bucket.example.com",
        "https://bucket.example.com?x=/",
        "https://bucket.example.com/a b",
        "https://bucket.example.com/a\r\nHost: evil",
        "ftp://bucket.example.com/a.txt",
        "/a.txt",
    ],
)
def test_url_of_another_host_is_not_fetched(signing, monkeypatch, url):
    servers.origin_of(signing)
    monkeypatch.setattr(signing, "download_url", lambda name, **options: url)
    with pytest.raises((ImproperlyConfigured, ValueError), match=r"host|has signed for"):
        servers.NginxProxyServer.serve(asked(signing, "a.txt"))


RANGES = [
    ({"Range": "bytes=0-1"}, "bytes=0-1"),
    ({"Range": "bytes=0-1, -5"}, "bytes=0-1, -5"),
    ({"Range": "bytes=0-1", "If-Range": '"abc"'}, "bytes=0-1"),
    ({"Range": "bytes=0-1", "If-Range": '"other"'}, ""),
    ({"Range": "bytes=0-1", "If-Range": 'W/"abc"'}, ""),
    ({"Range": "bytes=0-1", "If-Range": "Sat, 01 Jan 2000 00:00:00 GMT"}, ""),
    ({"Range": "lines=0-1"}, ""),
    ({"Range": "bytes=0-1\x01"}, ""),
    ({}, ""),
]


@pytest.mark.threat("T-14")
@pytest.mark.parametrize(("given", "wanted"), RANGES)
def test_range_is_asked_of_the_same_version_only(signing, given, wanted):
    response = servers.NginxProxyServer.serve(asked(signing, "a.txt", **given))
    assert response["X-Storages-Range"] == wanted


@pytest.mark.threat("T-15")
def test_redirect_is_for_one_client_and_a_minute(signing):
    file = asked(signing, "a.txt")
    response = servers.RedirectServer.serve(file)
    headers.protect(response, file)
    assert response.status_code == 302
    assert response["Location"] == "https://bucket.example.com/bucket/a.txt?type=text/plain&expire=60"
    assert {"no-store", "private"} <= set(response["Cache-Control"].split(", "))
    assert response["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(("setting", "longest", "expire"), [(300, None, 300), (300, 100, 100), (10, 100, 10)])
def test_life_of_a_redirect_is_that_of_the_setting_at_most_that_of_the_storage(
    signing, settings, setting, longest, expire
):
    settings.PRIVATE_STORAGE_REDIRECT_EXPIRE = setting
    signing.longest_expire = longest
    location = servers.RedirectServer.serve(asked(signing, "a.txt"))["Location"]
    assert location.endswith(f"expire={expire}")


@pytest.mark.parametrize(("left", "expires"), [(5, {4, 5}), (0, {1}), (3600, {60})])
@pytest.mark.threat("T-09")
def test_redirect_lives_no_longer_than_the_link_that_led_to_it(signing, left, expires):
    private_file = asked(signing, "a.txt")
    private_file.link = SimpleNamespace(claims=SimpleNamespace(expires=int(time.time()) + left))
    location = servers.RedirectServer.serve(private_file)["Location"]
    assert int(location.rpartition("expire=")[2]) in expires


def test_long_signature_is_no_obstacle(signing, monkeypatch):
    """Django's own redirects end at 2048 characters, which a session token may exceed."""
    url = f"https://bucket.example.com/a.txt?token={'x' * 3000}"
    monkeypatch.setattr(signing, "download_url", lambda name, **options: url)
    assert servers.RedirectServer.serve(asked(signing, "a.txt"))["Location"] == url


def test_redirect_of_head_is_the_answer_itself(signing):
    response = servers.RedirectServer.serve(asked(signing, "a.txt", "HEAD"))
    assert (response.status_code, response["Content-Length"]) == (200, "7")
    assert "Location" not in response


@pytest.mark.parametrize("cls", IN_A_CLOUD)
@pytest.mark.parametrize("name", ["missing.txt", "../a.txt", "/a.txt", "", "dir//a.txt", "a\r\nb"])
def test_missing_object_is_a_missing_file(signing, cls, name):
    with pytest.raises(FileNotFoundError):
        cls.serve(asked(signing, name))


STEERING = {"X-Accel-Mapping": "/=/", "X-Sendfile-Type": "X-Sendfile", "X-Accel-Redirect": "/x", "X-Sendfile": "/x"}


@pytest.mark.threat("T-07")
@pytest.mark.parametrize("cls", [*ON_DISK, *IN_A_CLOUD])
def test_headers_of_the_request_change_nothing(root, signing, cls):
    put(root, "a.txt")
    storage = private_storage if cls in ON_DISK else signing
    plain, steered = cls.serve(asked(storage, "a.txt")), cls.serve(asked(storage, "a.txt", **STEERING))
    assert dict(steered.items()) == dict(plain.items())


def test_nothing_is_asked_of_the_storage_but_one_stat(signing, monkeypatch):
    calls = []
    monkeypatch.setattr(signing, "stat", lambda name: calls.append(name) or Stat(7))
    for forbidden in ("open", "exists", "size", "get_modified_time"):
        monkeypatch.setattr(signing, forbidden, SimpleNamespace())
    for cls in IN_A_CLOUD:
        cls.serve(asked(signing, "a.txt"))
    assert calls == ["a.txt", "a.txt"]


def test_settings_are_read_when_they_are_needed(root):
    put(root, "a.txt")
    for prefix in ("/one/", "/two/"):
        with override_settings(PRIVATE_STORAGE_INTERNAL_URL=prefix):
            response = servers.NginxXAccelRedirectServer.serve(asked(private_storage, "a.txt"))
            assert response["X-Accel-Redirect"] == f"{prefix}a.txt"
