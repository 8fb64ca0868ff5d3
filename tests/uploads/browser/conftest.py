"""A browser, and pages for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import running
from tests.servers.chromium import Chromium

from .scripted import Script

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {cloud}; form-action 'self'; "
    "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
LISTEN = """
addEventListener("securitypolicyviolation", (event) => {
    (window.violations ??= []).push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
WIDE = {"width": 1000, "height": 700}


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
        context.add_init_script(LISTEN)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.errors = []
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
    assert page.evaluate("window.violations ?? []") == []


@pytest.fixture
def script() -> Iterator[Script]:
    """A scripted site with a form, and its cloud on another origin."""
    script = Script()
    script.policy = POLICY
    with script.site, script.cloud:
        yield script
        script.gate.set()
