"""Chromium, driven by Playwright: Debian's, or the one that Playwright installs."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from .process import ServerError, npm_install

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Its calls home would be refused one by one where there is no network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).resolve().parents[2] / ".servers" / "axe"
AXE_SCRIPT = AXE / "node_modules" / "axe-core" / "axe.min.js"


class Chromium:
    """The browser, with the life of a server: ``start()``, ``stop()``, and ``browser`` in between."""

    name = "Chromium"
    browser: Any = None
    _playwright: Any = None

    def start(self) -> None:
        """Start the browser; raises ServerError."""
        if importlib.util.find_spec("playwright") is None:
            raise ServerError("no package 'playwright'; pip install playwright")
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        try:
            self.browser = launched(self._playwright)
        except ServerError:
            self.stop()
            raise

    def version(self) -> str:
        return self.browser.version

    def stop(self) -> None:
        if self.browser is not None:
            self.browser.close()
        if self._playwright is not None:
            self._playwright.stop()
        self.browser = self._playwright = None


def launched(playwright: Any) -> Any:
    """Return a browser, started by ``playwright``; raises ServerError."""
    from playwright.sync_api import Error

    executable = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        return playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
    except Error as error:
        advice = "Debian: apt-get install chromium; elsewhere: playwright install chromium"
        raise ServerError(f"no program 'chromium'; {advice}\n{error}") from error


def axe() -> str:
    """Return the script of axe-core, which looks for faults of accessibility; raises ServerError."""
    if not AXE_SCRIPT.exists() and not shutil.which("npm"):
        raise ServerError("no program 'npm'; apt-get install npm")
    npm_install(AXE, AXE_SCRIPT, "axe-core", timeout=300)
    return AXE_SCRIPT.read_text("utf-8")
