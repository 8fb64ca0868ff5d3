"""The headers of an answer with a private file: type, disposition, and what caches, frames and scripts may do."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from django.http import FileResponse, HttpResponse
from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st

from storages.private import headers
from storages.private.headers import content_disposition
from storages.private.models import PrivateFile
from tests.private.models import memory


def file(name, request=None):
    return PrivateFile(request, memory, name)


def protected(name, response=None):
    response = response or HttpResponse(b"x")
    headers.protect(response, file(name))
    return response


# RFC 6266, read strictly: one type, each parameter once, nothing after it.

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
PARAMETER = re.compile(rf'; ({TOKEN})=(?:"((?:[^"\\\x00-\x1f\x7f]|\\.)*)"|({TOKEN}))')
EXTENDED = re.compile(r"UTF-8''((?:[!#$&+.^_`|~0-9A-Za-z-]|%[0-9A-F]{2})*)")


def parse(header):
    """Return type and parameters of a Content-Disposition; fail where the grammar is left."""
    kind = re.match(TOKEN, header)
    position, found = kind.end(), {}
    while position < len(header):
        match = PARAMETER.match(header, position)
        assert match, f"not a parameter: {header[position:]!r}"
        name, quoted, token = match.groups()
        assert name not in found
        found[name] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        position = match.end()
    return kind[0], found


def file_name_of(header):
    _, parameters = parse(header)
    if "filename*" not in parameters:
        return parameters["filename"]
    return unquote_to_bytes(EXTENDED.fullmatch(parameters["filename*"])[1]).decode()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("a b.pdf", 'attachment; filename="a b.pdf"'),
        ("müß.txt", "attachment; filename=\"mu_.txt\"; filename*=UTF-8''m%C3%BC%C3%9F.txt"),
        ('a";x=1.txt', "attachment; filename=\"a_;x=1.txt\"; filename*=UTF-8''a%22%3Bx%3D1.txt"),
        ("50%20.txt", "attachment; filename=\"50_20.txt\"; filename*=UTF-8''50%2520.txt"),
        ("它.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%E5%AE%83.txt"),
    ],
)
@pytest.mark.seed("S10")
def test_disposition_is_in_ascii_and_beside_it_in_utf8(name, header):
    assert content_disposition("attachment", name) == header


@pytest.mark.parametrize(
    ("name", "saved_as"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\a.txt", "a.txt"),
        ("a.txt\r\nSet-Cookie: x=1", "a.txtSet-Cookie: x=1"),
        ("a\x00b\x7f\x85.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\u2066b\u2069\u200e\u061c.txt", "ab.txt"),
        ("a\u2028b\u2029.txt", "ab.txt"),
        ("a\ud800.txt", "a.txt"),
        ("\ufeffa.txt", "a.txt"),
        ("👩\u200d🚀.png", "👩\u200d🚀.png"),
        ("  a.txt ", "a.txt"),
        ("", "download"),
        ("..", "download"),
        ("a/", "download"),
        ("\r\n", "download"),
        (".bashrc", ".bashrc"),
        ('x"; filename="y.exe', 'x"; filename="y.exe'),
        ("x; filename*=UTF-8''y.exe", "x; filename*=UTF-8''y.exe"),
        ("ü" * 300 + ".txt", "ü" * 125 + ".txt"),
        ("a." + "x" * 400, ("a." + "x" * 400)[:255]),
    ],
)
@pytest.mark.threat("T-05")
def test_file_name_is_one_harmless_part(name, saved_as):
    assert file_name_of(content_disposition("attachment", name)) == saved_as


@given(st.text(st.characters(), max_size=400) | st.text("\"\\;=*'%\r\n/\u202e\ud800é. a", max_size=40))
@example('a"; filename="b')
@example("\\")
@example("a%0d%0ab")
@pytest.mark.threat("T-05")
def test_any_name_makes_one_type_and_at_most_two_names(name):
    header = content_disposition("inline", name)
    kind, parameters = parse(header)
    assert kind == "inline"
    assert {"filename"} <= parameters.keys() <= {"filename", "filename*"}
    header.encode("ascii")
    assert len(header) < 1200
    saved_as = file_name_of(header)
    assert saved_as
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069/\\\\]", saved_as)
    HttpResponse(headers={"Content-Disposition": header})  # Django refuses what splits a header


@given(st.from_regex(r"[A-Za-z0-9 ü它(),'_-]{1,40}\.[a-z]{3}", fullmatch=True))
def test_ordinary_name_arrives_as_it_is(name):
    assert file_name_of(content_disposition("attachment", name)) == name.strip()


# Types

SHOWN = {
    "a.png": "image/png",
    "a.JPG": "image/jpeg",
    "a.gif": "image/gif",
    "a.webp": "image/webp",
    "a.avif": "image/avif",
    "a.mp4": "video/mp4",
    "a.webm": "video/webm",
    "a.mov": "video/quicktime",
    "a.mp3": "audio/mpeg",
    "a.txt": "text/plain",
}
DOWNLOADED = [
    *("a.html", "a.htm", "a.xhtml", "a.svg", "a.svgz", "a.xml", "a.xsl", "a.js", "a.mjs", "a.css", "a.pdf", "a.mml"),
    *("a.swf", "a.zip", "a.tar.gz", "a.exe", "a.json", "a.csv", "a.md", "a.ics", "a.eml", "a.mht", "a.unknown", "a"),
    *("a.html.gz", "a.txt.gz", "a.rss", "a.wasm", "a.jar", "data:text/plain,a.html", "a.png.html", "a.html;.svg"),
]


@pytest.mark.parametrize(("name", "content_type"), SHOWN.items())
def test_inert_type_is_shown_as_what_it_is(name, content_type):
    response = protected(name)
    assert response["Content-Type"] == content_type
    assert response["Content-Disposition"].startswith("inline; ")


@pytest.mark.threat("T-06")
@pytest.mark.seed("S6")
@pytest.mark.parametrize("name", DOWNLOADED)
def test_anything_else_is_a_download_of_no_type(name):
    response = protected(name, HttpResponse(b"<script>", content_type="text/html"))
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment; ")


@pytest.mark.threat("T-06")
@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.pdf"])
def test_view_that_wants_inline_gets_it_only_for_inert_types(name):
    private_file = file(name)
    private_file.disposition = "inline"
    assert private_file.content_disposition.startswith("attachment; ")


def test_setting_adds_types_that_are_shown():
    with override_settings(PRIVATE_STORAGE_INLINE_TYPES=["application/PDF"]):
        assert protected("a.pdf")["Content-Type"] == "application/pdf"
        assert protected("a.pdf")["Content-Disposition"].startswith("inline; ")
        assert protected("a.html")["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("disposition", ["attachment", "ATTACHMENT", "whatever"])
def test_view_may_have_a_picture_downloaded(disposition):
    private_file = file("a.png")
    private_file.disposition = disposition
    assert private_file.content_disposition == 'attachment; filename="a.png"'


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("x.tar.gz", "application/gzip"),
        ("x.txt.bz2", "application/x-bzip2"),
        ("x.html", "text/html"),
        ("x", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("http://x/a.png", "image/png"),
        ("data:text/html,a.txt", "text/plain"),
    ],
)
def test_type_of_a_file_is_told_by_its_name(name, content_type):
    assert file(name).content_type == content_type


# Every answer


@pytest.mark.parametrize("name", ["a.png", "a.html"])
@pytest.mark.parametrize("status", [200, 206, 302, 304, 412, 416])
def test_every_answer_is_hardened(name, status):
    response = protected(name, HttpResponse(status=status))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"].startswith("sandbox")
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "allow-scripts" not in response["Content-Security-Policy"]
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Cache-Control"] == "private, no-cache"
    assert response["Vary"] == "Cookie, Authorization"


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ("public, max-age=3600, s-maxage=3600, immutable", "private, no-cache"),
        ("max-age=60, private", "private, no-cache"),
        ("no-store", "private, no-cache, no-store"),
        ("max-age=0, No-Store", "private, no-cache, no-store"),
    ],
)
def test_cache_control_of_a_delivery_may_only_be_stricter(given_, sent):
    assert protected("a.png", HttpResponse(headers={"Cache-Control": given_}))["Cache-Control"] == sent


def test_vary_of_a_delivery_stays():
    assert protected("a", HttpResponse(headers={"Vary": "Accept-Encoding"}))["Vary"] == (
        "Accept-Encoding, Cookie, Authorization"
    )


def test_several_ranges_keep_their_type():
    response = HttpResponse(status=206, content_type="multipart/byteranges; boundary=x")
    assert protected("a.html", response)["Content-Type"] == "multipart/byteranges; boundary=x"
    assert response["Content-Disposition"].startswith("attachment; ")


def test_what_a_delivery_says_of_type_and_name_is_replaced(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<script>")
    with (tmp_path / "a.html").open("rb") as page:
        response = protected("b.html", FileResponse(page))
        assert response["Content-Type"] == "application/octet-stream"
        assert response["Content-Disposition"] == 'attachment; filename="b.html"'
        response.close()


def test_project_may_allow_frames():
    with override_settings(X_FRAME_OPTIONS="SAMEORIGIN"):
        assert protected("a.png")["X-Frame-Options"] == "SAMEORIGIN"
    exempt = HttpResponse()
    exempt.xframe_options_exempt = True
    assert "X-Frame-Options" not in protected("a.png", exempt)


@pytest.mark.threat("T-06")
@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("a.html", "sandbox; default-src 'none'"),
        ("a.svg", "sandbox; default-src 'none'"),
        ("a.txt", "sandbox; default-src 'none'"),
        ("a.png", "sandbox; default-src 'none'; style-src 'unsafe-inline'"),
        ("a.mp4", "sandbox allow-same-origin; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"),
        ("a.mp3", "sandbox allow-same-origin; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"),
    ],
)
def test_policy_lets_a_browser_show_no_more_than_the_file(name, policy):
    assert protected(name)["Content-Security-Policy"] == policy
