"""``manage.py private_storage_nginx``: what it prints is what nginx takes, and asks nobody else."""

from __future__ import annotations

import http.server
import io
import os
import re
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import CommandError, call_command
from django.db.models import FileField
from django.test import override_settings

from storages.backends.memory import MemoryStorage
from storages.private import locations, nginx, servers
from storages.private.fields import PrivateFileField
from storages.private.storage import PrivateFileSystemStorage, PrivateStorageMixin
from tests.conftest import in_ci, running
from tests.private.delivered import ask, below
from tests.private.test_servers import Signing
from tests.servers.application import Application
from tests.servers.certificates import write_certificate
from tests.servers.nginx import Nginx
from tests.servers.process import HOST
from tests.servers.thread import ThreadServer

DISK = "storages.private.storage.PrivateFileSystemStorage"
CLOUD = {
    "BACKEND": "tests.private.delivered.CloudStorage",
    "OPTIONS": {"bucket_name": "b", "endpoint_url": "https://127.0.0.1:9", "access_key": "a", "secret_key": "b"},
}


@pytest.fixture(autouse=True)
def models(monkeypatch):
    """The models of the project: none, whatever other tests have defined."""
    models: list[Any] = []
    monkeypatch.setattr(locations.apps, "get_models", lambda: models)
    return models


def printed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("private_storage_nginx", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def project(tmp_path, settings):
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "private": {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / 'a "b" \\ ü')}},
        "archive": {"BACKEND": DISK, "OPTIONS": {"location": str(tmp_path / "archive")}},
        "cloud": CLOUD,
        "public": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    }


@pytest.fixture
def checked(tmp_path):
    """Say what ``nginx -t`` has against a configuration."""
    if reason := Nginx.unavailable():
        assert not in_ci(), reason
        pytest.skip(reason)
    directory = tmp_path / "nginx"
    directory.mkdir()

    def check(locations: str = "", whole: str = "") -> str:
        return Nginx(9, locations, directory).check(whole and f"pid {directory}/nginx.pid;\n{whole}")

    return check


def test_printed_locations_are_taken_inside_of_server(project, checked):
    assert checked(printed()) == ""


@pytest.mark.parametrize("alias", ["private", "archive", "cloud"])
def test_printed_location_of_one_storage_is_taken(project, checked, alias):
    text = printed("--storage", alias)
    assert checked(text) == ""
    assert text.count("internal;") == (3 if alias == "cloud" else 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx -t opens the directories of the system's nginx")
def test_whole_configuration_is_taken(project, checked):
    assert checked(whole=printed("--full")) == ""


def test_check_notices_a_mistake(checked):
    assert "unknown directive" in checked("nonsense on;")


def test_every_location_is_internal_and_every_private_storage_has_one(project):
    text = printed()
    blocks = re.findall(r"^location .*?^}", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    assert all("\n    internal;\n" in block for block in blocks)
    starts = re.findall(r"^location (?:= )?(\S+)", text, re.MULTILINE)
    assert starts == [
        "/private-x-accel-redirect/",
        "/private-x-accel-redirect-archive/",
        "/private-x-accel-redirect-cloud/host",
        "/private-x-accel-redirect-cloud/",
        "@private-x-accel-redirect-cloud-failed",
    ]
    assert re.findall(r'alias "(.*)";', text)[1].endswith("/archive/")


@pytest.mark.threat("T-08")
def test_no_host_is_a_variable(project):
    passed = re.findall(r"proxy_pass (.*);", printed())
    assert passed == ["https://127.0.0.1:9", "https://127.0.0.1:9$storages_path"]
    text = printed()
    assert 'if ($storages_path !~ "^/' in text
    assert "resolver" not in text
    assert not re.search(r"proxy_set_header Host \S*\$", text)


def test_certificate_of_the_cloud_is_verified(project):
    text = printed("--authorities", "/etc/ssl/mine.pem")
    for line in ("verify on", "server_name on", "name 127.0.0.1", 'trusted_certificate "/etc/ssl/mine.pem"'):
        assert f"    proxy_ssl_{line};" in text


@pytest.mark.threat("T-06")
def test_each_location_hands_on_what_nginx_drops(project):
    for block in re.findall(r"^location /\S+ {.*?^}|^location = \S+/ {.*?^}", printed(), re.MULTILINE | re.DOTALL):
        assert re.findall(r"add_header (\S+) \S+ always;", block) == list(nginx.HANDED_ON)


def test_metadata_can_be_hidden(project, checked):
    text = printed("--hide", "x-amz-meta-author", "--hide", "X-Amz-Meta-Key")
    assert "    proxy_hide_header x-amz-meta-author;\n    proxy_hide_header X-Amz-Meta-Key;" in text
    assert checked(text) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--storage", "missing"], "STORAGES has no 'missing'"),
        (["--storage", "default"], "InMemoryStorage signs no URLs"),
        (["--hide", "a; return 200"], "not the name of a header"),
        (["--authorities", "/a$b"], "dollar sign"),
        (["--authorities", "/a\nb"], "control character"),
    ],
)
def test_mistake_is_told(project, arguments, message):
    with pytest.raises(CommandError, match=message):
        printed(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"location": "/srv/$host"}, "dollar sign"),
        ({"location": "/srv/a", "internal_url": "/a b/"}, "A location is written with"),
        ({"location": "/srv/a", "internal_url": "/a;/"}, "A location is written with"),
    ],
)
def test_what_nginx_cannot_be_told_is_said(settings, options, message):
    settings.STORAGES = {"default": {"BACKEND": DISK}, "private": {"BACKEND": DISK, "OPTIONS": options}}
    with pytest.raises(CommandError, match=message):
        printed("--storage", "private")


def test_two_storages_of_one_location_are_told(project, settings):
    for alias in ("private", "archive"):
        settings.STORAGES[alias]["OPTIONS"]["internal_url"] = "/same/"
    settings.STORAGES = {**settings.STORAGES}
    with pytest.raises(CommandError, match="Two storages have the location /same/"):
        printed()


@pytest.mark.parametrize(
    ("cls", "message"), [(DISK, "set PRIVATE_STORAGE_ROOT"), ("missing.Storage", "no private storage")]
)
def test_no_private_storage_is_told(settings, cls, message):
    settings.STORAGES = {"default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
    settings.PRIVATE_STORAGE_ROOT = None
    settings.PRIVATE_STORAGE_CLASS = cls
    with pytest.raises(CommandError, match=message):
        printed()


def test_storage_of_a_field_has_a_location_of_its_own(project, models, checked):
    fields = [PrivateFileField(storage=PrivateFileSystemStorage(location=f"/srv/{name}")) for name in ("a", "a", "b")]
    fields += [PrivateFileField(), FileField(), FileField(storage=storages["archive"])]
    models.append(SimpleNamespace(_meta=SimpleNamespace(get_fields=lambda: fields)))
    text = printed()
    urls = [locations.internal_url(fields[number].storage) for number in (0, 2)]
    assert re.findall(r"^location (\S+-[0-9a-f]{8}/) {", text, re.MULTILINE) == urls
    assert re.findall(r'alias "(/srv/.*)";', text) == ["/srv/a/", "/srv/b/"]
    assert checked(text) == ""


def test_storage_that_nginx_cannot_send_is_a_comment(project, settings, checked):
    settings.STORAGES = {**settings.STORAGES, "memory": {"BACKEND": f"{__name__}.PrivateMemory"}}
    text = printed()
    assert "# memory: PrivateMemory\n# PrivateMemory signs no URLs" in text
    assert checked(text) == ""
    with pytest.raises(CommandError, match="PrivateMemory signs no URLs"):
        printed("--storage", "memory")


class PrivateMemory(PrivateStorageMixin, MemoryStorage):
    """A storage whose files only Django can send."""


# A host by its name, over TLS


class Cloud(ThreadServer):
    """Something at https://localhost that sends the path it was asked for, and more headers than it should."""

    def __init__(self, certificate: Any, key: Any):
        self.asked: list[tuple[str, dict[str, str]]] = []
        cloud = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cloud.asked.append((self.path, dict(self.headers)))
                body = self.path.encode()
                self.send_response(200)
                for name, value in LEAKY.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        super().__init__(server)


LEAKY = {
    "Content-Type": "text/html",
    "Content-Disposition": "inline",
    "Cache-Control": "public",
    "Set-Cookie": "a=b",
    "Content-Security-Policy": "default-src *",
    "Access-Control-Allow-Origin": "*",
    "Location": "https://evil.example/",
    "Refresh": "0; url=https://evil.example/",
    "Vary": "Origin",
    "X-Accel-Redirect": "/private-x-accel-redirect-archive/",
    "X-Accel-Limit-Rate": "1",
    "x-amz-request-id": "1",
    "x-ms-version": "1",
    "x-goog-hash": "1",
    "ETag": '"1"',
}
PATH = "/bucket/a%20b+c%252F%23%3F%C3%BC.txt?sig=a%2Bb%3D&x=%2e%2e/../y"


class Elsewhere(Signing):
    """A cloud at localhost, which is a name."""

    internal_url = "/elsewhere/"

    def __init__(self, port: int):
        super().__init__()
        self.host = f"localhost:{port}"

    def download_url(self, name: str, **answer: Any) -> str:
        return f"https://{self.host}{PATH}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    for host in ("localhost", "other.example"):
        write_certificate(directory / f"{host}.pem", directory / f"{host}.key", host)
    return directory


def fetched(certificates: Any, presented: str, trusted: str, config: pytest.Config, method: str = "GET", **given: str):
    """Ask for a file of a cloud by way of nginx; return the answer and what the cloud was asked."""
    from contextlib import ExitStack, contextmanager

    with ExitStack() as stack:
        cloud = stack.enter_context(Cloud(certificates / f"{presented}.pem", certificates / f"{presented}.key"))
        storage = Elsewhere(cloud.port)
        storage.save("a.txt", ContentFile(b"a"))
        stack.enter_context(
            override_settings(ROOT_URLCONF="tests.private.delivered", ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
        )
        storages.backends["elsewhere"] = {}
        storages._storages["elsewhere"] = storage
        app = stack.enter_context(Application(WSGIHandler()))
        text = nginx.location_of(storage, authorities=str(certificates / f"{trusted}.pem"))
        front = stack.enter_context(contextmanager(running)(Nginx(app.port, text), config))
        return ask(below(front.url, "nginx-proxy", "elsewhere", "a.txt"), method, **given), cloud.asked


@pytest.fixture(autouse=True)
def handler(monkeypatch) -> None:
    monkeypatch.setattr(storages, "_storages", {})
    monkeypatch.setitem(storages.__dict__, "backends", {**storages.backends})


def test_path_and_signature_reach_the_cloud_to_the_letter(certificates, pytestconfig):
    answer, cloud_asked = fetched(
        certificates, "localhost", "localhost", pytestconfig,
        Cookie="session=secret", Authorization="Bearer secret", Range="bytes=0-1", X_Own="1",
    )  # fmt: skip
    assert (answer.status, answer.body) == (200, PATH.encode())
    ((path, headers),) = cloud_asked
    assert path == PATH
    assert headers == {"Host": headers["Host"], "Connection": "close", "Range": "bytes=0-1"}
    assert re.fullmatch(r"localhost:\d+", headers["Host"])


def test_headers_of_the_cloud_stay_there(certificates, pytestconfig):
    answer, _ = fetched(certificates, "localhost", "localhost", pytestconfig)
    assert answer.status == 200
    left = {name for name, value in LEAKY.items() if value in answer.headers.get_all(name, [])}
    assert left == {"ETag"}
    assert answer.headers.get_all("Vary") == ["Cookie, Authorization"]
    assert answer.headers.get_all("Content-Security-Policy") == ["sandbox; default-src 'none'"]


def test_head_is_signed_as_get(certificates, pytestconfig):
    answer, cloud_asked = fetched(certificates, "localhost", "localhost", pytestconfig, "HEAD")
    assert (answer.status, answer.body, len(cloud_asked)) == (200, b"", 1)
    assert answer.headers["Content-Length"] == str(len(PATH))


@pytest.mark.parametrize(("presented", "trusted"), [("localhost", "other.example"), ("other.example", "other.example")])
def test_cloud_that_does_not_prove_who_it_is_gets_no_signature(certificates, pytestconfig, presented, trusted):
    answer, cloud_asked = fetched(certificates, presented, trusted, pytestconfig)
    assert (answer.status, answer.body, cloud_asked) == (502, b"", [])
    assert servers.PATH_HEADER not in answer.headers
