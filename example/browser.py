"""What the steps of the check do with a browser, and how they say what they did not see."""

import io
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image, ImageDraw

SCREENSHOTS = Path(".demo")
TIMEOUT = 20_000  # milliseconds for one thing to appear
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
PHOTO_SIZE = (640, 480)  # pixels


class CheckError(Exception):
    """A step did not see what it should; the text says what it saw."""


def holds(condition, otherwise):
    if not condition:
        raise CheckError(otherwise)


def same(seen, expected, what):
    holds(seen == expected, f"{what}: {seen!r} instead of {expected!r}")


def text(page, selector, expected):
    """Wait for an element and check that its text holds ``expected``."""
    element = page.locator(selector).first
    element.wait_for()
    said = element.inner_text()
    holds(expected in said, f"{selector} says {said!r}, not {expected!r}")


def cost(page, action, *expected):
    """Check that the cost line of an action holds each of ``expected``."""
    line = " ".join(page.locator(f'[data-cost="{action}"]').inner_text().split())
    for part in expected:
        holds(part in line, f"the cost of {action} is {line!r}, without {part!r}")


def new_page(browser, **options):
    page = browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce", **options).new_page()
    page.set_default_timeout(TIMEOUT)
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def submit(page, button):
    """Press a button of a form and wait for the page that follows; return the status of the first answer."""
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        button.click()
    page.wait_for_load_state("load")
    return answer.value.status


def style(page, selector, property_name):
    return page.locator(selector).evaluate(f"element => getComputedStyle(element).{property_name}")


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def shoot_all(page, name):
    """Take a picture in light and dark, wide and as on a phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, viewport in (("wide", WIDE), ("phone", PHONE)):
            page.set_viewport_size(viewport)
            shoot(page, f"{name}-{scheme}-{width}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)


def shoot(page, name):
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def picture(kind="JPEG", color="#2f5d45"):
    """Return two hills as a JPEG or PNG."""
    image = Image.new("RGB", PHOTO_SIZE, "#9ccbe8")
    pen = ImageDraw.Draw(image)
    pen.ellipse((-120, 260, 420, 800), fill="#5d8f6a")
    pen.ellipse((260, 300, 860, 900), fill=color)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def image_widths(page):
    """Wait until every photo is loaded or broken; return the widths in pixels, 0 for a broken one."""
    page.wait_for_function("[...document.querySelectorAll('.photo img')].every(image => image.complete)")
    return page.evaluate("[...document.querySelectorAll('.photo img')].map(image => image.naturalWidth)")
