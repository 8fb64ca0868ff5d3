"""A browser, and pages for it."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from storages.backends.memory import MemoryStorage
from storages.uploads import targets
from tests.buckets import WiredBucket
from tests.conftest import running
from tests.servers.chromium import Chromium
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.uploads.form_models import Letter

from .scripted import Script

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {cloud}; form-action 'self'; "
    "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
LISTEN = """
addEventListener("securitypolicyviolation", (event) => tellViolation(`${event.violatedDirective} ${event.blockedURI}`));
"""
# S3 that makes an object once, and lets nobody add to a signed PUT.
ONCE = {"file_overwrite": False, "create_only": True, "unsigned_headers": "refused"}
WIDE = {"width": 1000, "height": 700}
MIB = 1024**2


# No longer than a module: while Playwright's loop is in this thread, Django takes every test for a coroutine.
@pytest.fixture(scope="module")
def chromium(pytestconfig: pytest.Config) -> Iterator[Chromium]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield from running(Chromium(), pytestconfig)  # type: ignore[type-var]


@pytest.fixture
def new_page(chromium: Chromium) -> Iterator[Any]:
    """A function that opens a page in a context of its own."""
    contexts = []

    def opened(**options: Any) -> Any:
        context = chromium.browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        violations: list[str] = []  # of all documents that the page has, one after the other
        context.expose_binding("tellViolation", lambda source, text: violations.append(text))
        context.add_init_script(LISTEN)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.errors, page.violations = [], violations
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: print("console:", message.text))
        page.on("requestfailed", lambda request: print("failed:", request.method, request.url[:200], request.failure))
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Any) -> Any:
    """A page that has violated no policy and raised no error in the end."""
    page = new_page()
    yield page
    print(page.inner_text("body"))
    assert page.errors == []
    assert page.violations == []


@pytest.fixture
def script_class() -> type[Script]:
    return Script


@pytest.fixture
def script(script_class: type[Script]) -> Iterator[Script]:
    """A scripted site with a form, and its cloud on another origin."""
    script = script_class()
    script.policy = POLICY
    with script.site, script.cloud:
        yield script
        script.gate.set()


@pytest.fixture
def site(live_server: Any, settings: Any) -> Iterator[Proxy]:
    """The project of ``browser.site``, and all that goes to it on the wire."""
    settings.ALLOWED_HOSTS = [HOST]
    with Proxy(HOST, urlsplit(live_server.url).port or 80) as site:
        yield site


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """The field of the form, with no limits; its files come through the server until a test says otherwise."""
    field = Letter._meta.get_field("scan")
    for name, value in {"storage": MemoryStorage(), "max_size": None, "content_types": None}.items():
        monkeypatch.setattr(field, name, value)
    monkeypatch.setattr(targets, "all_storages", lambda: {"scan": field.storage})  # which uploads_cors is for
    settings.TESTED_POLICY = POLICY.format(cloud="")
    return field


@pytest.fixture
def bucket(scan: Any, seaweedfs: Any, wire: Proxy, site: Proxy, settings: Any) -> Iterator[str]:
    """A bucket whose rules, those of uploads_cors, let the site's pages in; all that goes there passes ``wire``."""
    with WiredBucket(seaweedfs, wire) as bucket:
        scan.storage = bucket.storage(**ONCE)
        call_command("uploads_cors", origin=[site.url], apply=True)
        settings.TESTED_POLICY = POLICY.format(cloud=wire.url)
        settings.UPLOADS_PART_SIZE, settings.UPLOADS_PARTS_ABOVE = 5 * MIB, 8 * MIB
        yield bucket.name


@pytest.fixture
def signed_in(client: Any, site: Proxy, page: Any) -> Any:
    """A page of somebody who may upload."""
    return admit(client, site, page)


def admit(client: Any, site: Proxy, page: Any) -> Any:
    client.force_login(User.objects.create_superuser("anna"))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site.url}
    page.context.add_cookies([cookie])
    page.site = site.url
    return page


def opened(page: Any) -> Any:
    """Open the form."""
    page.goto(f"{page.site}/letter/")
    page.locator(".storages-upload-hint").wait_for()
    return page


def of_browser(exchanges: Any, *methods: str) -> list[Any]:
    """Return the requests that the browser made, those with ``methods`` if any are given."""
    asked = [exchange for exchange in exchanges if "Mozilla" in exchange.headers.get("user-agent", "")]
    return [exchange for exchange in asked if not methods or exchange.method in methods]


def until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def choose(page: Any, path: Any) -> None:
    page.locator("#id_scan").set_input_files(path)


def done(page: Any) -> Any:
    return page.locator(".storages-upload-file[data-state=done]")


def save(page: Any, title: str) -> None:
    page.locator("#id_title").fill(title)
    page.locator("#save").click()
    page.wait_for_url("**/letter/")


def written(path: Any, size: int) -> str:
    """Make a file and return its checksum."""
    content = random.Random(size).randbytes(size // 2).hex().encode()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def stored(letter: Letter) -> str:
    with letter.scan.open() as file:
        return digest_of(file.chunks())


def digest_of(chunks: Any) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
