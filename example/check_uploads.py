"""Drive the page with direct uploads: files that the browser sends itself, with errors, a cut and a reload between."""

import random
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from example.browser import CheckError, holds, new_page, picture, same, shoot, shoot_all, submit, text
from example.private.users import PASSWORDS
from example.uploads.models import uploads_storage

MIB = 1024**2
# In parts of 5 MiB: when the first of them has arrived and the network is cut, four are under way, which a cut does not
# stop, and still there are some left.
BIG = 48 * MIB
SLOW = 5_000_000  # bytes a second: what a good line at home has
IN_PARTS = ("multipart", "blocks", "tus")
OURS = ("begin", "parts", "status", "finish", "abort", "slot")


def page_says_what_is_enforced(page, site, expected):
    """the page with direct uploads asks who is there, and says what each kind enforces"""
    page.goto(f"{site.url}uploads/")
    same(urlsplit(page.url).path, "/private/login/", "address of the page")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORDS["ada"])
    same(submit(page, page.get_by_role("button", name="Log in")), 302, "status of the password")
    page.locator(".empty").wait_for()
    same(page.locator(".ways dt").all_inner_texts(), list(expected.kinds), "kinds of upload")
    text(page, ".ways dd", "refuses any other name")
    page.locator("storages-upload .storages-upload-hint").wait_for()
    shoot_all(page, "uploads-empty")


def file_goes_straight_to_the_server(page, site, expected):
    """a file goes to where the page says, not through a form, and what is enforced is told as it begins"""
    with _sent(page) as sent:
        _choose(page, {"name": "two_hills.png", "mimeType": "image/png", "buffer": picture("PNG")})
        _await_done(page, "two_hills.png")
    text(page, "#begun", f"goes by {expected.kinds[0]}")
    text(page, "#begun", "refuses any other name")
    home = site.url if expected.kinds == ("tus",) else site.prepared.endpoint
    same({urlsplit(url).netloc for url in sent}, {urlsplit(home).netloc}, "who got it")
    same(_objects(), 1, "objects")


def error_first_keeps_the_file(page, _site, expected):
    """a form that comes back with an error still has the file, and saving it then sends no byte again"""
    same(submit(page, page.get_by_role("button", name="Save")), 422, "status of the form without a note")
    text(page, "#note-errors", "Say what it is")
    _await_done(page, "two_hills.png")
    shoot_all(page, "uploads-error")
    page.locator("#id_note").fill("Two hills")
    with _sent(page) as sent:
        same(submit(page, page.get_by_role("button", name="Save")), 302, "status of the form")
    same(sent, [], "bytes sent again")
    text(page, ".parcels h3", "two_hills.png")
    text(page, ".parcels .how", expected.kinds[0])
    same(_content(page, "two_hills.png"), picture("PNG"), "content of the object")


def progress_is_seen_and_cancelled(page, _site, _expected):
    """the progress of a large file is seen, and a cancelled upload leaves nothing"""
    before = _objects()
    with _line(page) as line, _big_file() as path:
        line(SLOW)
        _choose(page, path)
        _await_progress(page, 20)
        shoot_all(page, "uploads-progress")
        with page.expect_response(lambda answer: answer.url.endswith("/uploads/abort/")) as answer:
            page.get_by_role("button", name=f"Cancel upload of {path.name}").click()
        same(answer.value.status, 204, "status of the abort")
    page.locator(".storages-upload-file").wait_for(state="detached")
    same(_objects(), before, "objects after a cancelled upload")


def upload_goes_on_after_a_reload(page, site, expected):
    """an upload that the network broke goes on where it was, after a reload of the page"""
    kind = expected.kinds[-1] if expected.large is None else expected.large
    with _line(page) as line, _big_file() as path:
        line(SLOW)
        with _arriving(page, kind):
            _choose(page, path)
        line(None)
        page.locator(".storages-upload-file[data-retrying]").wait_for()
        shoot(page, "uploads-cut")
        line(0)
        page.goto(f"{site.url}uploads/")
        with _sent(page) as sent, _asked(page) as asked:
            _choose(page, path)
            _await_done(page, path.name, seconds=60)
        same((asked.count("begin"), asked.count("status") > 0), (0, True), "uploads that were begun anew")
        if kind in IN_PARTS:
            holds(0 < len(sent) < -(-BIG // (5 * MIB)), f"{len(sent)} parts were sent after the reload")
        page.locator("#id_note").fill("Ten parts")
        same(submit(page, page.get_by_role("button", name="Save")), 302, "status of the form")
        same(_content(page, path.name) == path.read_bytes(), True, "content of the object")
    text(page, ".parcels h3", path.name)
    text(page, ".parcels .how", kind)


def form_works_without_a_script(page, site, _expected):
    """without JavaScript the same form posts the file the ordinary way"""
    plain = new_page(page.context.browser, java_script_enabled=False, storage_state=page.context.storage_state())
    plain.goto(f"{site.url}uploads/")
    _choose(plain, {"name": "plain.txt", "mimeType": "text/plain", "buffer": b"no script"})
    plain.locator("#id_note").fill("Posted")
    same(submit(plain, plain.get_by_role("button", name="Save")), 302, "status of the form")
    text(plain, ".parcels h3", "plain.txt")
    text(plain, ".parcels .how", "An ordinary form")
    same(_content(plain, "plain.txt"), b"no script", "content of the object")
    plain.context.close()


def deleted_upload_is_gone(page, site, _expected):
    """a deleted upload is gone from the page and from the storage"""
    page.goto(f"{site.url}uploads/")
    same(page.locator(".parcels li").count(), 3, "files on the page")
    shoot_all(page, "uploads")
    name = _name(page, "plain.txt")
    same(submit(page, page.get_by_role("button", name="Delete plain.txt")), 302, "status of the action")
    same(page.locator(".parcels li").count(), 2, "files on the page")
    holds(not uploads_storage().exists(name), f"the object {name} is still there")
    same(submit(page, page.get_by_role("button", name="Log out")), 302, "status of the action")
    page.goto(site.url)


STEPS = (
    page_says_what_is_enforced,
    file_goes_straight_to_the_server,
    error_first_keeps_the_file,
    progress_is_seen_and_cancelled,
    upload_goes_on_after_a_reload,
    form_works_without_a_script,
    deleted_upload_is_gone,
)


def _choose(page, file):
    page.locator("#id_file").set_input_files(file)


def _row(page, name):
    return page.locator(".storages-upload-file", has_text=name)


def _await_done(page, name, seconds=20):
    """Wait until a file is uploaded; say what the page says if it failed."""
    row = _row(page, name)
    page.locator(".storages-upload-file:is([data-state=done], [data-state=failed])", has_text=name).wait_for(
        timeout=seconds * 1000
    )
    if row.get_attribute("data-state") != "done":
        raise CheckError(f"{name} was not uploaded: {row.inner_text()}")


def _await_progress(page, percent):
    bar = "document.querySelector('.storages-upload-progress')"
    page.wait_for_function(f"least => {bar}.value >= least && {bar}.value < 100", arg=percent)


@contextmanager
def _big_file():
    """Yield the path of a file, as one that is chosen again has to be the same."""
    with tempfile.TemporaryDirectory(prefix="album-") as directory:
        path = Path(directory, "ten_parts.bin")
        path.write_bytes(random.Random(5).randbytes(BIG))
        yield path


@contextmanager
def _line(page):
    """Yield what sets the bytes a second that the page can send; 0: all it can, None: no network."""
    devtools = page.context.new_cdp_session(page)

    def be(speed):
        conditions = {"offline": speed is None, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed or -1}
        devtools.send("Network.emulateNetworkConditions", conditions)

    devtools.send("Network.enable")
    try:
        yield be
    finally:
        be(0)
        devtools.detach()


@contextmanager
def _arriving(page, kind):
    """Wait until some of what is chosen in the block has arrived, and not all."""
    if kind not in IN_PARTS:
        yield
        _await_progress(page, 40)
        return
    with page.expect_response(lambda answer: _is_part(answer.request) and answer.ok):
        yield


@contextmanager
def _sent(page):
    """Yield a list that gets the URL of each request with bytes of a file."""
    urls = []
    with _listening(page, lambda request: urls.append(request.url) if _is_part(request) else None):
        yield urls


@contextmanager
def _asked(page):
    """Yield a list that gets the verb of each request of the protocol."""
    verbs = []
    with _listening(page, lambda request: verbs.append(urlsplit(request.url).path.split("/")[-2])):
        yield verbs


@contextmanager
def _listening(page, note):
    page.on("request", note)
    try:
        yield
    finally:
        page.remove_listener("request", note)


def _is_part(request):
    if request.method in ("PUT", "PATCH"):
        return True
    path = urlsplit(request.url).path
    return request.method == "POST" and not path.startswith(("/uploads/", "/private/"))


def _objects():
    """Return how many objects there are, those of other pages included where a storage holds them all."""
    return sum(1 for _ in uploads_storage().walk())


def _name(page, filename):
    """Return the name of the object of a file in the list."""
    return page.locator(".parcels li", has_text=filename).locator(".object").inner_text()


def _content(page, filename):
    with uploads_storage().open(_name(page, filename)) as file:
        return file.read()
