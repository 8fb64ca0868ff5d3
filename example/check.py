"""Drive the album with a headless Chromium, the way a person would, and look into the bucket after each step."""

import io
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

from django.core.files.storage import default_storage
from PIL import Image, ImageDraw

from example.album.forms import MAX_SIZE
from example.album.landscapes import SCENES
from example.backends import BACKENDS

SCREENSHOTS = Path(".demo")
TIMEOUT = 20_000  # milliseconds for one thing to appear
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Its calls home would be refused one by one where there is no network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHOTO_SIZE = (640, 480)  # pixels
NO_CHROMIUM = "The check needs Chromium. Debian: apt-get install chromium; elsewhere: playwright install chromium."


class Expected(NamedTuple):
    """What is so on one backend: what the cost lines hold, and the status of a photo without its signature."""

    upload: tuple[str, ...] = ("not counted",)
    taken: tuple[str, ...] = ("not counted",)
    page: tuple[str, ...] = ("not counted",)
    samples: tuple[str, ...] = ("not counted",)
    listing: tuple[str, ...] = ("not counted",)
    delete: tuple[str, ...] = ("not counted",)
    delete_all: tuple[str, ...] = ("not counted",)
    unsigned: int | str = "a view of the site shows it, to all who see the site"  # or why there is no signature


COUNT = len(SCENES)
EXPECTED = {
    "s3": Expected(
        upload=("1 PUT", "PutObject 200"),
        taken=("2 PUT", "PutObject 412", "PutObject 200"),
        page=("0 requests",),
        samples=(f"{COUNT} PUT",),
        listing=("2 GET",),
        delete=("1 DELETE",),
        delete_all=("1 POST", "DeleteObjects 200"),
        unsigned=403,
    ),
    "azure": Expected(
        upload=("1 PUT",),
        taken=("2 PUT",),
        page=("0 requests",),
        samples=(f"{COUNT} PUT",),
        listing=("2 GET",),
        delete=("1 DELETE",),
        delete_all=("1 POST",),
        unsigned=403,
    ),
    "gcs": Expected(
        upload=("1 POST",),
        taken=("2 POST",),
        page=("0 requests",),
        samples=(f"{COUNT} POST",),
        listing=("2 GET",),
        delete=("1 DELETE",),
        delete_all=("1 POST",),
        unsigned="fake-gcs-server checks no signature",
    ),
    "sftp": Expected(),
    "ftp": Expected(
        upload=("2 STOR", "1 RNTO"),
        taken=("2 STOR", "1 RNTO"),
        page=("0 requests",),
        samples=(f"{COUNT} RNTO",),
        listing=("MLSD",),
        delete=("1 DELE",),
        delete_all=(f"{COUNT + 1} DELE",),
    ),
    "b2": Expected(  # nothing there has a condition, so the storage looks whether a name is taken
        upload=("6 POST",),  # the first one signs in and looks the bucket up
        taken=("4 POST",),
        page=("2 POST",),  # a token for each URL
        samples=(f"{3 * COUNT} POST",),
        listing=("1 POST",),
        delete=("2 POST",),
        delete_all=(f"{2 * (COUNT + 1)} POST",),
        unsigned=401,
    ),
    "ipfs": Expected(
        upload=("1 POST",),
        taken=("1 POST",),
        page=("0 requests",),
        samples=(f"{COUNT} POST",),
        listing=("1 POST",),
        delete=("1 POST",),
        delete_all=(f"{COUNT + 1} POST",),
        unsigned="a gateway shows it to whoever knows the CID",
    ),
}


class CheckError(Exception):
    """A step did not see what it should; the text says what it saw."""


def check(site):
    """Run every step on a running demo; return the exit status, or the message to exit with."""
    try:
        from playwright.sync_api import Error as BrowserError
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "The check needs Playwright: pip install playwright (`make demo-check` does it)."
    try:
        SCREENSHOTS.mkdir(exist_ok=True)
        (SCREENSHOTS / "failed.png").unlink(missing_ok=True)
    except OSError as error:
        return f"The check cannot write its screenshots: {error}\nRun it from a directory that you may write to."
    with sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        except BrowserError as error:
            return f"{NO_CHROMIUM}\n{error}"
        page = _new_page(browser)
        expected, words = EXPECTED[site.backend], _words(site.backend)
        for step in STEPS:
            told = step.__doc__.format(**words)
            try:
                step(page, site, expected)
            except (CheckError, BrowserError, OSError) as error:
                _shoot(page, "failed")
                return f"FAILED  {told}\n{type(error).__name__}: {error}\nScreenshot: {SCREENSHOTS / 'failed.png'}"
            print(f"ok      {told}", flush=True)
        browser.close()
    print(f"\nAll {len(STEPS)} steps passed; the screenshots are in {SCREENSHOTS}/")
    return 0


def style_comes_from_the_bucket(page, site, _expected):
    """the page is styled, by a style sheet and a script from where the static files are"""
    loaded = {}
    page.on("response", lambda response: loaded.update({response.url: response.status}))
    _same(page.goto(site.url).status, 200, "status of the page")
    for selector, attribute in (('link[rel="stylesheet"]', "href"), ("script[src]", "src")):
        url = page.locator(selector).get_attribute(attribute)
        url = urljoin(site.url, url)
        home = site.prepared.endpoint if BACKENDS[site.backend].static_place else site.url
        _holds(url.startswith(home), f"{url} is not below {home}")
        _holds("?" not in url, f"{url} is signed, so no cache would keep it")
        _same(loaded.get(url), 200, f"status of {url}")
    _same(_style(page, "body", "backgroundColor"), "rgb(246, 245, 241)", "background of the page")
    _holds(not page.locator(".unstyled").is_visible(), "the page says that its style sheet is missing")


def empty_album_invites(page, _site, _expected):
    """an empty album says what to do"""
    page.locator(".empty button").wait_for()
    _shoot(page, "empty")


def upload_costs_one_put(page, _site, expected):
    """an upload costs {upload}, and the photo arrives from its URL"""
    content = _jpeg()
    _same(_upload(page, "two_hills.jpg", content), 302, "status of the upload")
    _same(_image_widths(page), [PHOTO_SIZE[0]], "width of the photo as loaded")
    _same(page.locator(".caption p").inner_text(), "640 \N{MULTIPLICATION SIGN} 480", "dimensions below the photo")
    _cost(page, "upload", *expected.upload)
    _same([default_storage.size(name) for name in _names_in_bucket()], [len(content)], "sizes of the objects")


def taken_name_is_not_overwritten(page, _site, expected):
    """the same file name again costs {taken} and overwrites nothing"""
    _upload(page, "two_hills.jpg", _jpeg("#2f5d6d"))  # on IPFS equal files would be one
    _same(len(_image_widths(page)), 2, "photos in the gallery")
    _cost(page, "upload", *expected.taken)
    _same(len(_names_in_bucket()), 2, "objects in the bucket")


def page_view_costs_nothing(page, site, expected):
    """the gallery itself costs {page}"""
    page.goto(site.url)
    _cost(page, "page", *expected.page)


def photos_are_private(page, site, expected):
    """a photo is reached at its URL, and as it should be without its signature"""
    url = page.locator(".photo img").first.get_attribute("src")
    _same(_status(urljoin(site.url, url)), 200, "status of the URL")
    if isinstance(expected.unsigned, str):
        print(f"n/a     a photo without its signature is refused: {expected.unsigned}")
    else:
        _same(_status(url.partition("?")[0]), expected.unsigned, "status of the URL without its signature")


def text_is_refused(page, _site, _expected):
    """a file that is not an image is refused with a sentence, and not stored"""
    _same(_upload(page, "notes.jpg", b"not an image"), 422, "status of the upload")
    _text(page, "#image-errors", "is not an image")
    _shoot(page, "refused")
    _same(len(_names_in_bucket()), 2, "objects in the bucket")


def too_large_is_refused(page, site, _expected):
    """a photo above the limit is refused, by the script and by the site"""
    content = _jpeg().ljust(MAX_SIZE + 1, b"\0")
    page.locator("#id_image").set_input_files(_payload("large.jpg", content))
    _text(page, "#image-errors", "larger than the album takes")
    plain = _new_page(page.context.browser, java_script_enabled=False)
    plain.goto(site.url)
    _same(_upload(plain, "large.jpg", content), 422, "status of the upload")
    _text(plain, "#image-errors", "takes up to")
    plain.context.close()
    _same(len(_names_in_bucket()), 2, "objects in the bucket")


def samples_are_drawn(page, site, expected):
    """the sample photos cost {samples}"""
    page.goto(site.url)
    _same(_submit(page, page.get_by_role("button", name="Add sample photos")), 302, "status of the action")
    _same(_image_widths(page), [scene.size[0] for scene in reversed(SCENES)] + [640, 640], "widths of the photos")
    _cost(page, "upload", *expected.samples)
    _shoot_all(page, "gallery")


def listing_shows_size_and_time(page, site, expected):
    """the listing shows name, size and time of each object"""
    page.get_by_role("link", name=BACKENDS[site.backend].place.capitalize(), exact=True).click()
    page.locator("table").first.wait_for()
    rows = page.locator("section", has=page.locator("#media-title")).locator("tbody tr")
    _same(sorted(rows.locator(".name").all_inner_texts()), sorted(_names_in_bucket()), "names in the listing")
    for row in rows.all_inner_texts():
        _name, size, modified = row.split("\t")
        if BACKENDS[site.backend].lists_names_only:
            continue
        _holds(size.endswith("KB"), f"no size in {row!r}")
        _holds(modified.count(":") == 2, f"no time in {row!r}")
    _cost(page, "page", *expected.listing)
    _shoot_all(page, "bucket")


def delete_costs_one_request(page, site, expected):
    """deleting a photo costs {delete} and removes the object"""
    before = _names_in_bucket()
    page.goto(site.url)
    photo = page.locator(".photo", has_text="Morning fog")
    _same(_submit(page, photo.get_by_role("button")), 302, "status of the action")
    _same(photo.count(), 0, "photos of that title")
    _cost(page, "delete", *expected.delete)
    _shoot(page, "deleted")
    _same(len(_names_in_bucket()), len(before) - 1, "objects in the bucket")


def delete_all_costs_one_request(page, _site, expected):
    """deleting all photos costs {delete_all} and empties the album and the bucket"""
    _same(_submit(page, page.get_by_role("button", name="Delete all")), 302, "status of the action")
    page.locator(".empty").wait_for()
    _cost(page, "delete", *expected.delete_all)
    _same(_names_in_bucket(), [], "objects in the bucket")


def stopped_server_is_explained(page, site, _expected):
    """with the {kind} gone, every page and action says so"""
    site.server.stop()
    if hasattr(default_storage, "close"):
        default_storage.close()  # a session of SSH outlives the server that took it
    page = _new_page(page.context.browser)  # has nothing in its cache
    _same(page.goto(site.url).status, 200, "status of the page")
    if BACKENDS[site.backend].static_place:
        _holds(page.locator(".unstyled").is_visible(), "the page does not say that its style sheet is missing")
    _same(_upload(page, "hills.jpg", _jpeg()), 503, "status of the upload")
    _text(page, "#image-errors", "does not answer")
    _shoot(page, "gone")
    _same(_submit(page, page.get_by_role("button", name="Add sample photos")), 302, "status of the action")
    _text(page, ".notice", "does not answer")
    _same(page.goto(f"{site.url}bucket/").status, 503, "status of the listing")
    _text(page, ".notice", "does not answer")


STEPS = (
    style_comes_from_the_bucket,
    empty_album_invites,
    upload_costs_one_put,
    taken_name_is_not_overwritten,
    page_view_costs_nothing,
    photos_are_private,
    text_is_refused,
    too_large_is_refused,
    samples_are_drawn,
    listing_shows_size_and_time,
    delete_costs_one_request,
    delete_all_costs_one_request,
    stopped_server_is_explained,
)


def _words(backend):
    """Return what the sentences of the steps leave open."""
    costs = {name: value[0] for name, value in EXPECTED[backend]._asdict().items() if isinstance(value, tuple)}
    if BACKENDS[backend].meter is None:
        costs = dict.fromkeys(costs, "what nobody counts")
    return {**costs, "kind": BACKENDS[backend].kind}


def _holds(condition, otherwise):
    if not condition:
        raise CheckError(otherwise)


def _same(seen, expected, what):
    _holds(seen == expected, f"{what}: {seen!r} instead of {expected!r}")


def _text(page, selector, expected):
    """Wait for an element and check that its text holds ``expected``."""
    element = page.locator(selector).first
    element.wait_for()
    text = element.inner_text()
    _holds(expected in text, f"{selector} says {text!r}, not {expected!r}")


def _cost(page, action, *expected):
    """Check that the cost line of an action holds each of ``expected``."""
    line = " ".join(page.locator(f'[data-cost="{action}"]').inner_text().split())
    for part in expected:
        _holds(part in line, f"the cost of {action} is {line!r}, without {part!r}")


def _new_page(browser, **options):
    page = browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce", **options).new_page()
    page.set_default_timeout(TIMEOUT)
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def _upload(page, name, content):
    """Choose a file and send the form; return the status of the answer."""
    page.locator("#id_image").set_input_files(_payload(name, content))
    return _submit(page, page.get_by_role("button", name="Upload"))


def _submit(page, button):
    """Press a button of a form and wait for the page that follows; return the status of the first answer."""
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        button.click()
    page.wait_for_load_state("load")
    return answer.value.status


def _payload(name, content):
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def _jpeg(color="#2f5d45"):
    picture = Image.new("RGB", PHOTO_SIZE, "#9ccbe8")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((-120, 260, 420, 800), fill="#5d8f6a")
    pen.ellipse((260, 300, 860, 900), fill=color)
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()


def _image_widths(page):
    """Wait until every photo is loaded or broken; return the widths in pixels, 0 for a broken one."""
    page.wait_for_function("[...document.querySelectorAll('.photo img')].every(image => image.complete)")
    return page.evaluate("[...document.querySelectorAll('.photo img')].map(image => image.naturalWidth)")


def _style(page, selector, property_name):
    return page.locator(selector).evaluate(f"element => getComputedStyle(element).{property_name}")


def _names_in_bucket():
    return [entry.name for entry in default_storage.walk()]


def _status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _shoot_all(page, name):
    """Take a picture in light and dark, wide and as on a phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, viewport in (("wide", WIDE), ("phone", PHONE)):
            page.set_viewport_size(viewport)
            _shoot(page, f"{name}-{scheme}-{width}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)


def _shoot(page, name):
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
