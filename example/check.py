"""Drive the album with a headless Chromium, the way a person would, and look into the bucket after each step."""

from typing import NamedTuple
from urllib.parse import urljoin

from django.core.files.storage import default_storage

from example import check_private, check_uploads
from example.album.forms import MAX_SIZE
from example.album.landscapes import SCENES
from example.backends import BACKENDS
from example.browser import (
    PHOTO_SIZE,
    SCREENSHOTS,
    CheckError,
    cost,
    holds,
    image_widths,
    new_page,
    picture,
    same,
    shoot,
    shoot_all,
    status,
    style,
    submit,
    text,
)
from tests.servers.chromium import launched
from tests.servers.process import ServerError


class Expected(NamedTuple):
    """What is so on one backend: what the cost lines hold, and the status of a photo without its signature."""

    upload: tuple[str, ...] = ("not counted",)
    taken: tuple[str, ...] = ("not counted",)
    page: tuple[str, ...] = ("not counted",)
    samples: tuple[str, ...] = ("not counted",)
    listing: tuple[str, ...] = ("not counted",)
    delete: tuple[str, ...] = ("not counted",)
    delete_all: tuple[str, ...] = ("not counted",)
    deliveries: tuple[str, ...] = ("django",)  # of private files
    kinds: tuple[str, ...] = ("tus",)  # of uploads, the best for a small file first
    large: str | None = None  # kind of a large one, where that is not the last
    unheeded: str = ""  # why an answer to a signed URL is not as the signature says
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
        deliveries=("django", "redirect", "nginx-proxy"),
        kinds=("put", "post", "multipart"),
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
        deliveries=("django", "redirect", "nginx-proxy"),
        kinds=("put", "blocks"),
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
        deliveries=("django", "redirect", "nginx-proxy"),
        kinds=("put", "resumable"),
        unsigned="fake-gcs-server checks no signature",
        unheeded="fake-gcs-server does not heed what a URL says of its answer",
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
        deliveries=("django", "nginx-proxy"),
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
        deliveries=("django", "nginx", "apache", "lighttpd"),
        unsigned="a gateway shows it to whoever knows the CID",
    ),
}


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
        try:
            browser = launched(playwright)
        except ServerError as error:
            return f"The check needs a browser: {error}"
        page = new_page(browser)
        expected, words = EXPECTED[site.backend], _words(site.backend)
        for step in STEPS:
            told = step.__doc__.format(**words)
            try:
                step(page, site, expected)
            except (CheckError, BrowserError, OSError) as error:
                shoot(page, "failed")
                return f"FAILED  {told}\n{type(error).__name__}: {error}\nScreenshot: {SCREENSHOTS / 'failed.png'}"
            print(f"ok      {told}", flush=True)
        browser.close()
    print(f"\nAll {len(STEPS)} steps passed; the screenshots are in {SCREENSHOTS}/")
    return 0


def style_comes_from_the_bucket(page, site, _expected):
    """the page is styled, by a style sheet and a script from where the static files are"""
    loaded = {}
    page.on("response", lambda response: loaded.update({response.url: response.status}))
    same(page.goto(site.url).status, 200, "status of the page")
    for selector, attribute in (('link[rel="stylesheet"]', "href"), ("script[src]", "src")):
        url = page.locator(selector).get_attribute(attribute)
        url = urljoin(site.url, url)
        home = site.prepared.endpoint if BACKENDS[site.backend].static_place else site.url
        holds(url.startswith(home), f"{url} is not below {home}")
        holds("?" not in url, f"{url} is signed, so no cache would keep it")
        same(loaded.get(url), 200, f"status of {url}")
    same(style(page, "body", "backgroundColor"), "rgb(246, 245, 241)", "background of the page")
    holds(not page.locator(".unstyled").is_visible(), "the page says that its style sheet is missing")


def empty_album_invites(page, _site, _expected):
    """an empty album says what to do"""
    page.locator(".empty button").wait_for()
    shoot(page, "empty")


def upload_costs_one_put(page, _site, expected):
    """an upload costs {upload}, and the photo arrives from its URL"""
    content = picture()
    same(_upload(page, "two_hills.jpg", content), 302, "status of the upload")
    same(image_widths(page), [PHOTO_SIZE[0]], "width of the photo as loaded")
    same(page.locator(".caption p").inner_text(), "640 \N{MULTIPLICATION SIGN} 480", "dimensions below the photo")
    cost(page, "upload", *expected.upload)
    same([default_storage.size(name) for name in _names_in_bucket()], [len(content)], "sizes of the objects")


def taken_name_is_not_overwritten(page, _site, expected):
    """the same file name again costs {taken} and overwrites nothing"""
    _upload(page, "two_hills.jpg", picture(color="#2f5d6d"))  # on IPFS equal files would be one
    same(len(image_widths(page)), 2, "photos in the gallery")
    cost(page, "upload", *expected.taken)
    same(len(_names_in_bucket()), 2, "objects in the bucket")


def page_view_costs_nothing(page, site, expected):
    """the gallery itself costs {page}"""
    page.goto(site.url)
    cost(page, "page", *expected.page)


def photos_are_private(page, site, expected):
    """a photo is reached at its URL, and as it should be without its signature"""
    url = page.locator(".photo img").first.get_attribute("src")
    same(status(urljoin(site.url, url)), 200, "status of the URL")
    if isinstance(expected.unsigned, str):
        print(f"n/a     a photo without its signature is refused: {expected.unsigned}")
    else:
        same(status(url.partition("?")[0]), expected.unsigned, "status of the URL without its signature")


def text_is_refused(page, _site, _expected):
    """a file that is not an image is refused with a sentence, and not stored"""
    same(_upload(page, "notes.jpg", b"not an image"), 422, "status of the upload")
    text(page, "#image-errors", "is not an image")
    shoot(page, "refused")
    same(len(_names_in_bucket()), 2, "objects in the bucket")


def too_large_is_refused(page, site, _expected):
    """a photo above the limit is refused, by the script and by the site"""
    content = picture().ljust(MAX_SIZE + 1, b"\0")
    page.locator("#id_image").set_input_files(_payload("large.jpg", content))
    text(page, "#image-errors", "larger than the album takes")
    plain = new_page(page.context.browser, java_script_enabled=False)
    plain.goto(site.url)
    same(_upload(plain, "large.jpg", content), 422, "status of the upload")
    text(plain, "#image-errors", "takes up to")
    plain.context.close()
    same(len(_names_in_bucket()), 2, "objects in the bucket")


def samples_are_drawn(page, site, expected):
    """the sample photos cost {samples}"""
    page.goto(site.url)
    same(submit(page, page.get_by_role("button", name="Add sample photos")), 302, "status of the action")
    same(image_widths(page), [scene.size[0] for scene in reversed(SCENES)] + [640, 640], "widths of the photos")
    cost(page, "upload", *expected.samples)
    shoot_all(page, "gallery")


def listing_shows_size_and_time(page, site, expected):
    """the listing shows name, size and time of each object"""
    page.get_by_role("link", name=BACKENDS[site.backend].place.capitalize(), exact=True).click()
    page.locator("table").first.wait_for()
    rows = page.locator("section", has=page.locator("#media-title")).locator("tbody tr")
    same(sorted(rows.locator(".name").all_inner_texts()), sorted(_names_in_bucket()), "names in the listing")
    for row in rows.all_inner_texts():
        _name, size, modified = row.split("\t")
        if BACKENDS[site.backend].lists_names_only:
            continue
        holds(size.endswith("KB"), f"no size in {row!r}")
        holds(modified.count(":") == 2, f"no time in {row!r}")
    cost(page, "page", *expected.listing)
    shoot_all(page, "bucket")


def delete_costs_one_request(page, site, expected):
    """deleting a photo costs {delete} and removes the object"""
    before = _names_in_bucket()
    page.goto(site.url)
    photo = page.locator(".photo", has_text="Morning fog")
    same(submit(page, photo.get_by_role("button")), 302, "status of the action")
    same(photo.count(), 0, "photos of that title")
    cost(page, "delete", *expected.delete)
    shoot(page, "deleted")
    same(len(_names_in_bucket()), len(before) - 1, "objects in the bucket")


def delete_all_costs_one_request(page, _site, expected):
    """deleting all photos costs {delete_all} and empties the album and the bucket"""
    same(submit(page, page.get_by_role("button", name="Delete all")), 302, "status of the action")
    page.locator(".empty").wait_for()
    cost(page, "delete", *expected.delete_all)
    same(_names_in_bucket(), [], "objects in the bucket")


def stopped_server_is_explained(page, site, _expected):
    """with the {kind} gone, every page and action says so"""
    site.server.stop()
    if hasattr(default_storage, "close"):
        default_storage.close()  # a session of SSH outlives the server that took it
    page = new_page(page.context.browser)  # has nothing in its cache
    same(page.goto(site.url).status, 200, "status of the page")
    if BACKENDS[site.backend].static_place:
        holds(page.locator(".unstyled").is_visible(), "the page does not say that its style sheet is missing")
    same(_upload(page, "hills.jpg", picture()), 503, "status of the upload")
    text(page, "#image-errors", "does not answer")
    shoot(page, "gone")
    same(submit(page, page.get_by_role("button", name="Add sample photos")), 302, "status of the action")
    text(page, ".notice", "does not answer")
    same(page.goto(f"{site.url}bucket/").status, 503, "status of the listing")
    text(page, ".notice", "does not answer")


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
    *check_private.STEPS,
    *check_uploads.STEPS,
    stopped_server_is_explained,
    check_private.stopped_server_is_not_told,
)


def _words(backend):
    """Return what the sentences of the steps leave open."""
    costs = {name: value[0] for name, value in EXPECTED[backend]._asdict().items() if isinstance(value, tuple)}
    if BACKENDS[backend].meter is None:
        costs = dict.fromkeys(costs, "what nobody counts")
    return {**costs, "kind": BACKENDS[backend].kind}


def _upload(page, name, content):
    """Choose a file and send the form; return the status of the answer."""
    page.locator("#id_image").set_input_files(_payload(name, content))
    return submit(page, page.get_by_role("button", name="Upload"))


def _payload(name, content):
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def _names_in_bucket():
    return [entry.name for entry in default_storage.walk()]
