"""Uploads as people make them: Chromium with the project's own client, or with an ordinary form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.servers.chromium import Chromium

TIMEOUT = 600_000  # milliseconds; a form is answered when the storage has all of it


class Browser(Chromium):
    """The browser; each upload is made on a page of a session of its own. Raises ``failure``."""

    @property
    def failure(self) -> type[Exception]:
        """Return what Playwright raises."""
        from playwright.sync_api import Error

        return Error

    def form(self, site: str, path: Path) -> int:
        """Post the file in a form; return the size that the storage then has."""
        with self.browser.new_context() as context:
            page = _opened(context, site)
            page.locator("#posted").set_input_files(path)
            page.locator("button").click()
            page.wait_for_url("**/save/")
            return json.loads(page.locator("body").inner_text())["size"]

    def direct(self, site: str, path: Path, kinds: tuple[str, ...]) -> int:
        """Upload by the protocol and save the form; return the size that the storage then has."""
        with self.browser.new_context() as context:
            page = _opened(context, site)
            page.locator("#direct").set_input_files(path)
            return page.evaluate("(kinds) => window.direct(kinds)", list(kinds))["size"]


def _opened(context: Any, site: str) -> Any:
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(site)
    return page
