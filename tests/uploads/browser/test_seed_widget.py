"""The module of S3FileUploadWidget in a browser, with the bucket on another origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from storages.uploads.legacy_widgets import S3FileUploadWidget

from .conftest import POLICY
from .scripted import PIECES, STATIC, Answer, Request, Scripted

TEXT = {"name": "a b.txt", "mimeType": "text/plain", "buffer": b"some text"}
PICTURE = {"name": "a.png", "mimeType": "image/png", "buffer": b"x"}
UNKNOWN = {"name": "track.gpx", "mimeType": "", "buffer": b"x"}

TOO_LARGE = b"<Error><Code>EntityTooLarge</Code><MaxSizeAllowed>5</MaxSizeAllowed></Error>"


class Seed:
    """A site with one form, and a bucket; a test changes the attributes."""

    def __init__(self, bucket_path: str = "/bucket"):
        self.bucket_path = bucket_path
        self.refusal: tuple[int, bytes] | None = None
        self.denied = 0
        self.site = Scripted(self._site)
        self.bucket = Scripted(self._bucket)

    def _site(self, request: Request) -> Answer:
        if request.path.startswith("/static/"):
            file = STATIC / request.path.removeprefix("/static/")
            return Answer(200, file.read_bytes(), {"Content-Type": PIECES[file.suffix]})
        if request.path == "/s3/signed-url/" and self.denied:
            return Answer(self.denied, b'{"error": "no"}', {"Content-Type": "application/json"})
        if request.path == "/s3/signed-url/":
            fields = {"key": "reports/k y.txt", "policy": "p", "x-amz-signature": "s"}
            form = {"url": f"{self.bucket.url}{self.bucket_path}", "fields": fields}
            return Answer(200, json.dumps(form).encode(), {"Content-Type": "application/json"})
        policy = {
            "Content-Security-Policy": POLICY.replace("{cloud}", self.bucket.url),
            "Set-Cookie": "csrftoken=secret",
        }
        return Answer(200, self.page().encode(), {"Content-Type": "text/html; charset=utf-8", **policy})

    def _bucket(self, request: Request) -> Answer:
        allowed = {"Access-Control-Allow-Origin": self.site.url}
        if self.refusal:
            return Answer(*self.refusal, allowed)
        return Answer(204, b"", allowed)

    def page(self) -> str:
        widget = S3FileUploadWidget("reports", ["text/plain", "application/gpx+xml"], field="app.Report.file")
        token = '<input type="hidden" name="csrfmiddlewaretoken" value="secret">'
        head = f'<!doctype html><html lang="en"><title>Seed</title>{widget.media}'
        button = '<button>Save</button><button type="button" id="other">Other</button>'
        return f'{head}<form method="post">{token}{widget.render("file", "", {"id": "id_file"})}{button}</form>'

    def sent(self) -> list[Request]:
        return self.bucket.made("POST")


@pytest.fixture
def seed(settings: Any) -> Iterator[Seed]:
    settings.MIME_LOOKUPS = {"gpx": "application/gpx+xml"}
    settings.ROOT_URLCONF = "tests.uploads.seed_site.urls"
    seed = Seed()
    with seed.site, seed.bucket:
        yield seed


@pytest.fixture
def opened(page: Any, seed: Seed) -> Any:
    page.goto(seed.site.url)
    page.evaluate(
        """document.addEventListener("link:update", (event) => (window.links ??= []).push(event.detail.url))"""
    )
    return page


def choose(page: Any, file: Any) -> None:
    page.locator(".file-input").set_input_files(file)


def value(page: Any) -> str:
    return page.locator(".file-url").input_value()


def test_file_goes_to_the_bucket_and_its_url_into_the_form(opened, seed):
    choose(opened, TEXT)
    opened.locator(".s3-buckets.uploaded").wait_for()
    url = f"{seed.bucket.url}/bucket/reports/k%20y.txt"
    assert value(opened) == opened.locator(".file-link").get_attribute("href") == url
    assert opened.evaluate("window.links") == [url]
    (asked,) = seed.site.made("POST", "/s3/signed-url/")
    assert (asked.values("key"), asked.values("field")) == (["reports/a b.txt"], ["app.Report.file"])
    assert asked.headers["x-csrftoken"] == "secret"
    (sent,) = seed.sent()
    names = [part.get_param("name", header="content-disposition") for part in sent.fields()]
    assert names == ["key", "policy", "x-amz-signature", "file"]


@pytest.mark.seed("S8")
@pytest.mark.threat("T-32")
def test_bucket_is_told_nothing_of_who_asks(opened, seed):
    choose(opened, TEXT)
    opened.locator(".s3-buckets.uploaded").wait_for()
    (sent,) = seed.sent()
    assert not {"cookie", "referer", "x-csrftoken", "authorization"} & sent.headers.keys()
    assert b"secret" not in sent.body
    assert seed.bucket.made("OPTIONS") == []  # so that no header has to be allowed


@pytest.mark.parametrize("path", ["/bucket", "/", "/bucket/"])
def test_key_is_joined_with_either_form_of_the_url(page, seed, path):
    seed.bucket_path = path
    page.goto(seed.site.url)
    choose(page, TEXT)
    page.locator(".s3-buckets.uploaded").wait_for()
    assert value(page) == f"{seed.bucket.url}{path.rstrip('/')}/reports/k%20y.txt"


def test_type_is_looked_at_before_anything_is_sent(opened, seed):
    choose(opened, PICTURE)
    assert opened.locator(".file-message").inner_text() == "File type not allowed."
    assert seed.site.made("POST") == []


def test_type_that_the_browser_does_not_know_is_looked_up(opened, seed):
    choose(opened, UNKNOWN)
    opened.locator(".s3-buckets.uploaded").wait_for()


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((400, TOO_LARGE), "The file is too large; it may have at most 5 byte."),
        ((403, b"<Error><Code>AccessDenied</Code></Error>"), "The file could not be uploaded."),
        ((500, b"not <xml"), "The file could not be uploaded."),
    ],
)
def test_refusal_is_told_and_the_form_can_be_sent(opened, seed, refusal, message):
    seed.refusal = refusal
    choose(opened, TEXT)
    opened.locator(".file-message", has_text=message).wait_for()
    assert (value(opened), opened.locator("button", has_text="Save").is_enabled()) == ("", True)
    seed.refusal = None
    choose(opened, TEXT)
    opened.locator(".s3-buckets.uploaded").wait_for()
    assert opened.locator(".file-message").inner_text() == ""


def test_who_may_not_is_told(opened, seed):
    seed.denied = 403
    choose(opened, TEXT)
    opened.locator(".file-message", has_text="You may not upload this file.").wait_for()


def test_removed_file_is_no_more_in_the_form(opened, seed):
    choose(opened, TEXT)
    opened.locator(".s3-buckets.uploaded").wait_for()
    opened.get_by_text("(Remove)").click()
    assert value(opened) == ""
    assert opened.evaluate("window.links").pop() == ""
    assert opened.locator(".file-input").is_visible()


def test_row_that_is_added_later_works_too(opened, seed):
    opened.evaluate(
        """() => {
            const widget = document.querySelector(".s3-buckets");
            const row = widget.cloneNode(true);
            row.querySelector(".file-input").id = "second";
            widget.after(row);
        }"""
    )
    opened.locator("#second").set_input_files(TEXT)
    opened.locator(".s3-buckets.uploaded").wait_for()
    assert [box.input_value() for box in opened.locator(".file-url").all()] == [
        "",
        f"{seed.bucket.url}/bucket/reports/k%20y.txt",
    ]


@pytest.mark.seed("S8")
def test_name_of_a_file_is_no_html(opened, seed):
    choose(opened, {**TEXT, "name": "<img src=x onerror=alert(1)>.txt"})
    opened.locator(".s3-buckets.uploaded").wait_for()
    assert opened.locator("img").count() == 0
    assert "<img" in opened.locator(".file-link").inner_text()
