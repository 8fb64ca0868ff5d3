"""Real web servers send private files: what the client gets is the same from all of them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.test import override_settings

from storages.contract import Stat
from storages.private import servers
from tests.buckets import WiredBucket
from tests.conftest import running
from tests.private.delivered import Answer, ask, below
from tests.servers.apache import Apache
from tests.servers.application import Application
from tests.servers.lighttpd import Lighttpd
from tests.servers.nginx import Nginx

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
MODULE = "tests.private.delivered"

# Delivery: which front, server and storage.
WAYS = {
    "django": ("app", "django", "private"),
    "django from a cloud": ("app", "streaming", "cloud"),
    "nginx": ("nginx", "nginx", "private"),
    "nginx, another directory": ("nginx", "nginx", "archive"),
    "nginx from a cloud": ("nginx", "nginx-proxy", "cloud"),
    "apache": ("apache", "apache", "private"),
    "lighttpd": ("lighttpd", "lighttpd", "private"),
}
BY_A_FRONT = [way for way, (front, *_) in WAYS.items() if front != "app"]

TEXT = b"0123456789" * 10

NAMES = [
    "plain.txt",
    "dir/a b.txt",
    "a b+c%2F#?ü.txt",
    "文件/é.txt",
    "a%20b.txt",
    "a;b=c&d.txt",
    "quo\"te's.txt",
    "https/evil.example/x",
    "https:/evil.example",
    "a?b.txt",
    "$uri.txt",
    "%0d%0aX-Accel-Redirect: evil.txt",
    "...txt",
    "~.txt",
    "private-x-accel-redirect-archive/a.txt",
]

# T-06: what a browser would run, or guess to be something to run.
ACTIVE = {
    "a.html": b"<script>alert(1)</script>",
    "a.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a.xhtml": b'<html xmlns="http://www.w3.org/1999/xhtml"/>',
    "a.mml": b'<math xmlns="http://www.w3.org/1998/Math/MathML"/>',
    "a.xml": b'<?xml version="1.0"?><a/>',
    "a.js": b"alert(1)",
    "a.pdf": b"%PDF-1.7",
    "a.unknown": b"<script>alert(1)</script>",
    "without": b"<script>alert(1)</script>",
    "a.tar.gz": b"\x1f\x8b",
}
HARMLESS = {"a.txt": b"<script>alert(1)</script>", "a.png": b"\x89PNG", "a.mp4": b"\x00"}

ALIKE = [
    *("Content-Type", "Content-Disposition", "Content-Encoding", "X-Content-Type-Options", "Content-Security-Policy"),
    *("Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy", "Cache-Control", "Expires", "Vary"),
    *("Referrer-Policy", "X-Frame-Options", "Set-Cookie", "Content-Length"),
]
PRIVATE_TO_THE_SERVERS = ["X-Accel-Redirect", "X-Sendfile", "X-Storages-Path"]


@pytest.fixture(scope="module")
def roots() -> Iterator[SimpleNamespace]:
    # Not below tmp_path, which is for its owner only: a front that was started by root serves as nobody.
    with tempfile.TemporaryDirectory(prefix="delivered-") as directory:
        base = Path(directory)
        base.chmod(0o755)
        found = SimpleNamespace(private=base / "with space ü", archive=base / "archive", outside=base / "outside")
        for path in vars(found).values():
            path.mkdir()
        yield found


@pytest.fixture(scope="module")
def bucket(seaweedfs: Any) -> Iterator[WiredBucket]:
    with WiredBucket(seaweedfs) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def project(roots: SimpleNamespace, bucket: WiredBucket) -> Iterator[Any]:
    disk = f"{MODULE}.DiskStorage"
    aliases = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "private": {"BACKEND": disk, "OPTIONS": {"location": str(roots.private)}},
        "archive": {"BACKEND": disk, "OPTIONS": {"location": str(roots.archive)}},
        "cloud": {"BACKEND": f"{MODULE}.CloudStorage", "OPTIONS": bucket.options(file_overwrite=True)},
    }
    with override_settings(STORAGES=aliases, MIDDLEWARE=MIDDLEWARE, ROOT_URLCONF=MODULE, ALLOWED_HOSTS=["*"]):
        for alias in ("private", "archive", "cloud"):
            for name in [*NAMES, "denied/a.txt"]:
                assert storages[alias].save(name, ContentFile(TEXT)) == name
            for name, content in {**ACTIVE, **HARMLESS}.items():
                storages[alias].save(f"types/{name}", ContentFile(content))
        storages["archive"].save("only.txt", ContentFile(b"archive"))
        for root in (roots.private, roots.archive):
            os.utime(root / "plain.txt", (10**9, 10**9))  # a file of this second has but a weak etag
        yield aliases


@pytest.fixture(scope="module")
def app(project: Any) -> Iterator[Application]:
    with Application(WSGIHandler()) as server:
        yield server


def printed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("private_storage_nginx", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture(scope="module")
def nginx(app: Application, pytestconfig: pytest.Config) -> Iterator[Nginx]:
    yield from running(
        Nginx(app.port, "\n".join(printed("--storage", alias) for alias in ("private", "archive", "cloud"))),
        pytestconfig,
    )


@pytest.fixture(scope="module")
def apache(app: Application, roots: SimpleNamespace, pytestconfig: pytest.Config) -> Iterator[Apache]:
    yield from running(Apache(app.port, f'XSendFile on\nXSendFilePath "{roots.private}"'), pytestconfig)


@pytest.fixture(scope="module")
def lighttpd(app: Application, roots: SimpleNamespace, pytestconfig: pytest.Config) -> Iterator[Lighttpd]:
    yield from running(Lighttpd(app.port, f'"{roots.private}"'), pytestconfig)


class Way:
    def __init__(self, name: str, start: str, server: str, alias: str):
        self.name, self.start, self.server, self.alias = name, start, server, alias

    def ask(self, name: str, method: str = "GET", **headers: str) -> Answer:
        return ask(below(self.start, self.server, self.alias, name), method, **headers)


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Way:
    front, server, alias = WAYS[request.param]
    return Way(request.param, request.getfixturevalue(front).url, server, alias)


in_all_ways = pytest.mark.parametrize("way", WAYS, indirect=True)
by_all_fronts = pytest.mark.parametrize("way", BY_A_FRONT, indirect=True)


def alike(answer: Answer) -> dict[str, list[str]]:
    """Return what clients are to be told alike, and how often."""
    told = {name: answer.headers.get_all(name, []) for name in ALIKE}
    return {**told, "Vary": [value.replace(", ", ",") for value in told["Vary"]]}


@pytest.mark.contract("S-07")
@in_all_ways
@pytest.mark.parametrize("name", NAMES)
def test_file_of_any_name_arrives_whole(way, name):
    answer = way.ask(name)
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.headers["Content-Length"] == str(len(TEXT))


@in_all_ways
def test_head_has_the_headers_of_get_and_no_body(way):
    get, head = way.ask("plain.txt"), way.ask("plain.txt", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert alike(head) == alike(get)
    assert [head.headers[name] for name in ("ETag", "Last-Modified")] == [
        get.headers[name] for name in ("ETag", "Last-Modified")
    ]


@in_all_ways
def test_range_is_a_part(way):
    answer = way.ask("a b+c%2F#?ü.txt", Range="bytes=2-5")
    assert (answer.status, answer.body) == (206, b"2345")
    assert answer.headers["Content-Range"] == f"bytes 2-5/{len(TEXT)}"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


@in_all_ways
def test_range_beyond_the_end_is_told_so(way):
    answer = way.ask("plain.txt", Range="bytes=1000-")
    assert answer.status == 416
    if way.name not in ("apache", "lighttpd"):  # which say nothing of the size
        assert answer.headers["Content-Range"] == f"bytes */{len(TEXT)}"
    assert b"Bucket" not in answer.body


@in_all_ways
def test_range_of_another_version_is_the_whole_file(way):
    assert way.ask("plain.txt", Range="bytes=2-5", If_Range='"another"').status == 200
    etag = way.ask("plain.txt").headers["ETag"]
    assert way.ask("plain.txt", Range="bytes=2-5", If_Range=etag).status == 206


@in_all_ways
def test_client_that_has_the_file_is_told_so(way):
    headers = way.ask("plain.txt").headers
    assert way.ask("plain.txt", If_None_Match=headers["ETag"]).status == 304
    assert way.ask("plain.txt", If_Modified_Since=headers["Last-Modified"]).status == 304
    assert way.ask("plain.txt", If_None_Match='"another"').status == 200


@in_all_ways
@pytest.mark.parametrize("name", ["missing.txt", "plain.txt/below", "dir", "x" * 300 + ".txt"])
def test_missing_file_is_not_found(way, name):
    assert [way.ask(name, method).status for method in ("GET", "HEAD")] == [404, 404]


@in_all_ways
def test_denied_file_is_denied(way):
    answers = [way.ask("denied/a.txt"), way.ask("denied/a.txt", "HEAD"), way.ask("denied/a.txt", Range="bytes=0-1")]
    assert [answer.status for answer in answers] == [403, 403, 403]
    assert TEXT not in answers[0].body


HOSTILE = [
    *(
        "../outside/secret.txt",
        "../../outside/secret.txt",
        "dir/../denied/a.txt",
        "/etc/passwd",
        "./plain.txt",
        "dir//a b.txt",
        "a\\..\\b",
    ),
    *("plain.txt\0", "plain.txt\r\nX-Accel-Redirect: /x", "", "dir/", "..", "https://evil.example/x"),
]

TIDIED = ["./plain.txt", "dir//a b.txt"]


@pytest.mark.threat("T-03")
@in_all_ways
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_opens_nothing(way, roots, name):
    (roots.outside / "secret.txt").write_bytes(b"secret")
    answer = way.ask(name)
    assert b"secret" not in answer.body
    if way.name == "lighttpd" and name in TIDIED:  # before the application is asked
        assert answer.body == TEXT
    else:
        assert answer.status in (400, 403, 404)
        assert TEXT not in answer.body


@pytest.mark.threat("T-04")
@pytest.mark.seed("S6")
@pytest.mark.parametrize("way", ["django", "nginx", "apache", "lighttpd"], indirect=True)
def test_link_out_of_the_directory_is_not_found(way, roots):
    (roots.outside / "secret.txt").write_bytes(TEXT)
    link = roots.private / "link.txt"
    directory = roots.private / "linked"
    link.symlink_to(roots.outside / "secret.txt")
    directory.symlink_to(roots.outside)
    try:
        assert [way.ask(name).status for name in ("link.txt", "linked/secret.txt")] == [404, 404]
    finally:
        link.unlink()
        directory.unlink()


@pytest.mark.threat("T-06")
@by_all_fronts
@pytest.mark.parametrize("name", [*ACTIVE, *HARMLESS])
def test_client_gets_the_headers_that_the_application_gave(way, app, name):
    """nginx by itself hands on six of them."""
    received = alike(way.ask(f"types/{name}"))
    assert received == alike(Way("", app.url, "django", "private").ask(f"types/{name}"))
    assert received["X-Content-Type-Options"] == ["nosniff"]
    assert received["Content-Security-Policy"][0].startswith("sandbox")
    assert received["Cross-Origin-Resource-Policy"] == ["same-origin"]
    assert received["Cache-Control"] == ["private, no-cache"]
    assert received["Vary"] == ["Cookie,Authorization"]
    assert received["X-Frame-Options"] == ["DENY"]
    assert received["Referrer-Policy"] == ["no-referrer"]


@pytest.mark.threat("T-06")
@in_all_ways
@pytest.mark.parametrize("name", ACTIVE)
def test_active_content_is_an_attachment_of_no_type(way, name):
    headers = way.ask(f"types/{name}").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["Content-Disposition"].startswith("attachment;")


@in_all_ways
def test_client_sees_nothing_of_the_servers_and_of_the_cloud(way):
    for method in ("GET", "HEAD"):
        names = {name.lower() for name in way.ask("plain.txt", method).headers}
        assert not names & {name.lower() for name in PRIVATE_TO_THE_SERVERS}
        assert not [name for name in names if name.startswith(("x-amz", "x-seaweed"))]


STEERING = {
    "X_Accel_Mapping": "/=/etc/",
    "X_Sendfile_Type": "X-Accel-Redirect",
    "X_Accel_Redirect": "/private-x-accel-redirect-archive/only.txt",
    "X_Sendfile": "/etc/passwd",
    "X_Storages_Path": "/another/object",
    "X_LIGHTTPD_send_file": "/etc/passwd",
    "X_Accel_Limit_Rate": "1",
}


@pytest.mark.threat("T-07")
@in_all_ways
def test_headers_of_the_request_do_not_steer_the_delivery(way):
    steered, plain = way.ask("plain.txt", **STEERING), way.ask("plain.txt")
    assert (steered.status, steered.body) == (200, TEXT)
    assert alike(steered) == alike(plain)


@pytest.mark.threat("T-07")
@pytest.mark.parametrize("way", ["nginx from a cloud", "django from a cloud"], indirect=True)
def test_what_is_stored_with_the_object_does_not_steer_the_delivery(way, bucket):
    bucket.client.put_object(
        Bucket=bucket.name,
        Key="steering.html",
        Body=TEXT,
        ContentType="text/html",
        ContentDisposition="inline",
        CacheControl="public, max-age=31536000",
        Metadata={"x-accel-redirect": "/private-x-accel-redirect/plain.txt", "set-cookie": "a=b"},
    )
    answer = way.ask("steering.html")
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Set-Cookie"] is None


@pytest.mark.threat("T-08")
@pytest.mark.parametrize(
    "path",
    [
        *("private-x-accel-redirect/plain.txt", "private-x-accel-redirect-archive/only.txt"),
        *("private-x-accel-redirect-cloud/", "private-x-accel-redirect-cloud/host"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_internal_location_is_not_found_from_outside(nginx, path, method):
    assert ask(f"{nginx.url}/{path}", method, X_Storages_Path="/x").status == 404


@pytest.mark.seed("S9")
def test_name_does_not_lead_to_the_location_of_another_storage(nginx):
    way = Way("", nginx.url, "nginx", "private")
    assert way.ask("private-x-accel-redirect-archive/only.txt").status == 404
    assert Way("", nginx.url, "nginx", "archive").ask("only.txt").body == b"archive"


def test_failure_of_the_cloud_is_a_bad_gateway_that_names_nothing(nginx, bucket, monkeypatch):
    monkeypatch.setattr(servers, "signed_url", _with_a_wrong_signature(servers.signed_url))
    answer = Way("", nginx.url, "nginx-proxy", "cloud").ask("plain.txt")
    assert answer.status == 502
    assert bucket.name not in answer.body.decode()
    assert "Amz" not in str(answer.headers)
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def _with_a_wrong_signature(signed: Any) -> Any:
    return lambda private_file: signed(private_file)[:-4] + "0000"


def test_object_that_goes_between_signing_and_fetching_is_not_found(nginx, bucket, monkeypatch):
    monkeypatch.setattr(servers, "_find", lambda private_file: Stat(0))
    answer = Way("", nginx.url, "nginx-proxy", "cloud").ask("never.txt")
    assert (answer.status, answer.body) == (404, b"")


# Redirect


def test_redirect_leads_to_the_file_with_its_type_and_disposition(app):
    for name in ("types/a.html", "types/a.txt", "a b+c%2F#?ü.txt"):
        way = Way("", app.url, "redirect", "cloud")
        redirect = way.ask(name)
        answer = ask(redirect.headers["Location"])
        streamed = Way("", app.url, "django", "private").ask(name)
        assert (redirect.status, answer.status, answer.body) == (302, 200, streamed.body)
        for header in ("Content-Type", "Content-Disposition"):
            assert answer.headers.get_all(header) == streamed.headers.get_all(header)


@pytest.mark.threat("T-15")
def test_redirect_is_kept_by_nobody_and_lives_shortly(app, caplog, nginx):
    caplog.set_level(0)
    answer = ask(below(nginx.url, "redirect", "cloud", "plain.txt"))
    location = answer.headers["Location"]
    assert "X-Amz-Expires=60&" in location
    assert "no-store" in answer.headers["Cache-Control"]
    assert "private" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.body == b""
    signature = location.partition("X-Amz-Signature=")[2]
    assert len(signature) == 64
    assert signature not in caplog.text + nginx.log


@pytest.mark.threat("T-15")
def test_signature_for_nginx_is_in_no_log(nginx, caplog):
    caplog.set_level(0)
    Way("", nginx.url, "nginx-proxy", "cloud").ask("plain.txt")
    Way("", nginx.url, "nginx-proxy", "cloud").ask("missing.txt")
    assert "X-Amz-Signature" not in caplog.text + nginx.log


def test_head_is_answered_without_a_redirect(app):
    redirected, streamed = (
        Way("", app.url, server, "cloud").ask("types/a.html", "HEAD") for server in ("redirect", "django")
    )
    assert redirected.status == 200
    assert alike(redirected) == alike(streamed)


def test_redirect_to_what_is_missing_or_denied_is_none(app):
    way = Way("", app.url, "redirect", "cloud")
    assert [way.ask(name).status for name in ("missing.txt", "denied/a.txt")] == [404, 403]


@pytest.mark.threat("T-08")
def test_host_in_a_name_stays_a_path(app, bucket, seaweedfs):
    location = Way("", app.url, "redirect", "cloud").ask("https/evil.example/x").headers["Location"]
    assert location.startswith(f"{seaweedfs.endpoint_url}/{bucket.name}/https/evil.example/x?")
