"""Drive the private pages: what their owner can do, and what nobody else can."""

from urllib.parse import urljoin

from django.core.files.storage import FileSystemStorage, storages

from example.browser import PHOTO_SIZE, holds, image_widths, new_page, picture, same, shoot, shoot_all, submit, text
from example.film import make_film
from example.private.deliveries import DELIVERIES
from example.private.users import PASSWORDS

# More than a player reads ahead, so that it has to ask for a range where it is moved to.
FILM_SECONDS = 20
FILM = {"seconds": FILM_SECONDS, "padding": 330_000}
NEAR_THE_END = 5_000_000  # bytes
SAFE = {
    "cache-control": "private, no-cache",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
RAN = "private-file-ran"
HTML = f"<!doctype html><title>{RAN}</title><script>console.log('{RAN}'); alert('{RAN}')</script>"
SVG = (
    f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload=\"alert('{RAN}')\">"
    f"<script>console.log('{RAN}'); alert('{RAN}')</script></svg>"
)
EMBED = """address => new Promise(resolve => {
    const places = [["img", "src"], ["iframe", "src"], ["object", "data"], ["embed", "src"]].map(([tag, name]) => {
        const element = document.createElement(tag);
        element[name] = address;
        return element;
    });
    document.querySelector("main").append(...places);
    setTimeout(() => resolve(places.filter(element => element.naturalWidth).length), 1500);
})"""


def private_page_asks_to_log_in(page, site, _expected):
    """the private page asks who is there, and refuses a wrong password"""
    page.goto(f"{site.url}private/")
    same(page.url, f"{site.url}private/login/?next=/private/", "address of the page")
    shoot_all(page, "private-login")
    same(_log_in(page, "ada", "wrong"), 200, "status of a wrong password")
    text(page, "#login-errors", "do not belong together")
    same(_log_in(page, "ada", PASSWORDS["ada"]), 302, "status of the right password")
    page.locator(".empty").wait_for()
    shoot(page, "private-empty")


def nothing_chosen_is_refused(page, _site, _expected):
    """an upload without a file is refused with a sentence"""
    same(submit(page, page.get_by_role("button", name="Upload")), 422, "status of the upload")
    text(page, "#file-errors", "Choose a file first")


def owner_sees_the_picture(page, site, _expected):
    """the owner of a private picture sees it, from a URL of this site, with headers that keep it private"""
    content = picture("PNG")
    same(_upload(page, "two_hills.png", "image/png", content), 302, "status of the upload")
    same(image_widths(page), [PHOTO_SIZE[0]], "width of the picture as loaded")
    url = _url(page)
    holds(url.startswith(f"{site.url}private/files/"), f"{url} is not that of the view")
    answer = page.request.get(url)
    same(answer.body() == content, True, "content of the file")
    same({name: answer.headers.get(name) for name in SAFE}, SAFE, "headers")
    policy = answer.headers.get("content-security-policy", "")
    holds(policy.startswith("sandbox; default-src 'none'"), f"the policy is {policy!r}")


def nobody_else_sees_it(page, site, _expected):
    """a guest and a stranger are both refused"""
    url = _url(page)
    other = new_page(page.context.browser)
    same(other.goto(url).status, 403, "status for a stranger")
    shoot(other, "private-stranger")
    other.goto(f"{site.url}private/")
    same(_log_in(other, "guest", PASSWORDS["guest"]), 302, "status of the password")
    other.locator(".empty").wait_for()
    same(other.goto(url).status, 403, "status for a guest")
    text(other, "main", "somebody else's")
    page.locator(".photo h3 a").first.click()
    page.locator("#id_minutes").wait_for()
    for address in (page.url, f"{page.url}deliveries/"):
        same(other.goto(address).status, 404, f"status for a guest of {address}")
    for delivery in ("django", "redirect", "nginx-proxy", "nginx"):
        address = url.replace("/private/files/", f"/private/by/{delivery}/")
        same(other.goto(address).status, 403, f"status for a guest of {address}")
    other.context.close()


def shared_link_opens_until_it_is_revoked(page, _site, _expected):
    """a link opens the picture for a stranger, until it is revoked"""
    page.locator("#id_minutes").fill("0")
    same(submit(page, page.get_by_role("button", name="Make a link")), 422, "status of no minutes")
    text(page, "#minutes-errors", "for a minute at least")
    page.locator("#id_minutes").fill("5")
    same(submit(page, page.get_by_role("button", name="Make a link")), 302, "status of the action")
    link = page.locator("#new-link").input_value()
    shoot_all(page, "private-shared")
    stranger = new_page(page.context.browser)
    same(stranger.goto(link).status, 200, "status of the link")
    same(stranger.evaluate("document.images[0].naturalWidth"), PHOTO_SIZE[0], "width of the picture")
    same(stranger.goto(f"{link[:-2]}x/").status, 403, "status of a link with another letter")
    page.reload()
    same(page.locator("#new-link").count(), 0, "times that the address is shown later")
    same(submit(page, page.get_by_role("button", name="Revoke")), 302, "status of the action")
    same(stranger.goto(link).status, 403, "status of the revoked link")
    stranger.context.close()


def video_plays_and_seeks(page, site, _expected):
    """a private video plays, and where it is moved to, the range there is asked for and answered 206"""
    page.goto(f"{site.url}private/")
    same(_upload(page, "ball.webm", "video/webm", make_film(**FILM)), 302, "status of the upload")
    page.route("**/*.webm", lambda route: route.continue_())  # and so past the cache, which has parts of it
    page.get_by_role("link", name="ball.webm", exact=True).click()
    video = page.locator("video")
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    same(video.evaluate("video => [video.duration, video.videoWidth]"), [FILM_SECONDS, 480], "length and width")
    # Before it plays, as then it reads ahead.
    with page.expect_response(lambda answer: answer.url.endswith(".webm") and _start(answer) > NEAR_THE_END) as answer:
        video.evaluate("video => { video.currentTime = 19; }")
    same(answer.value.status, 206, "status of the range near the end")
    page.wait_for_function("!document.querySelector('video').seeking")
    same(video.evaluate("video => [video.currentTime, video.error]"), [19, None], "where the film is after a seek")
    for second in (0, 12):
        video.evaluate(
            "(video, second) => { video.muted = true; video.currentTime = second; return video.play(); }", second
        )
        page.wait_for_function("second => document.querySelector('video').currentTime > second + 0.5", arg=second)
    video.evaluate("video => video.pause()")
    page.unroute("**/*.webm")
    shoot(page, "private-video")


def html_and_svg_run_nothing(page, site, _expected):
    """HTML and SVG with scripts run nothing, neither opened nor embedded"""
    marks = []
    page.on("dialog", lambda dialog: marks.append(dialog.message))
    page.on("console", lambda message: marks.append(message.text) if message.text == RAN else None)
    for name, kind, content in (("page.html", "text/html", HTML), ("picture.svg", "image/svg+xml", SVG)):
        page.goto(f"{site.url}private/")
        same(_upload(page, name, kind, content.encode()), 302, f"status of the upload of {name}")
        page.get_by_role("link", name=name, exact=True).click()
        page.locator(".facts a").first.wait_for()
        url = urljoin(page.url, page.locator(".facts a").first.get_attribute("href"))
        with page.expect_download() as download:
            page.locator(".facts a").first.click()
        same(download.value.suggested_filename, name, "name of the download")
        same(page.evaluate(EMBED, url), 0, f"pictures that were made of {name}")
        answer = page.request.get(url)
        same(answer.headers["content-type"], "application/octet-stream", f"type of {name}")
    same(marks, [], "what ran")
    page.goto(f"{site.url}private/")
    page.locator(".grid").wait_for()
    page.wait_for_function("[...document.querySelectorAll('video')].every(video => video.readyState >= 2)")
    shoot_all(page, "private-files")
    page.get_by_role("link", name="page.html", exact=True).click()
    page.locator(".preview").wait_for()
    shoot(page, "private-html")


def each_delivery_is_shown(page, site, expected):
    """the headers of each delivery are shown, and a browser gets the same type and name by all"""
    page.goto(f"{site.url}private/")
    page.get_by_role("link", name="two_hills.png", exact=True).click()
    page.get_by_role("link", name="headers of each delivery").click()
    page.locator(".delivery").first.wait_for()
    can = [section.get_attribute("id") for section in page.locator(".delivery").all()]
    same(can, list(expected.deliveries), "deliveries that the storage can do")
    cannot = page.locator(".impossible code").all_inner_texts()
    same(sorted([*can, *cannot]), sorted(DELIVERIES), "all deliveries")
    for name in can:
        first = page.locator(f"#{name} table").first.locator("caption b").inner_text()
        same(first, "302 Found" if name == "redirect" else "200 OK", f"status by {name}")
        if name == "redirect" and expected.unheeded:
            print(f"n/a     a redirect leads to the same type and name: {expected.unheeded}")
            continue
        told = _headers(page.locator(f"#{name} table").last)
        same(told.get("content-type"), "image/png", f"type by {name}")
        same(told.get("content-disposition"), 'inline; filename="two_hills.png"', f"disposition by {name}")
    shoot_all(page, "private-deliveries")


def deleted_file_is_gone(page, site, _expected):
    """a deleted file is gone from the page and from the storage, and the owner can log out"""
    page.goto(f"{site.url}private/")
    name = _url(page).partition("/private/files/")[2]
    holds(storages["private"].exists(name), f"there is no object {name}")
    before = page.locator(".photo").count()
    first = page.locator(".photo", has_text="two_hills.png")
    same(submit(page, first.get_by_role("button")), 302, "status of the action")
    same(page.locator(".photo").count(), before - 1, "files on the page")
    holds(not storages["private"].exists(name), f"the object {name} is still there")
    same(submit(page, page.get_by_role("button", name="Log out")), 302, "status of the action")
    page.locator("#id_username").wait_for()
    page.goto(site.url)


def stopped_server_is_not_told(page, site, _expected):
    """with the {kind} gone, a private file is an error that tells nobody where it would be"""
    if isinstance(storages["private"], FileSystemStorage):
        print("n/a     a private file needs the server: it is on this machine")
        return
    if hasattr(storages["private"], "close"):
        storages["private"].close()  # a session of SSH outlives the server that took it
    page.goto(f"{site.url}private/login/")
    same(_log_in(page, "ada", PASSWORDS["ada"]), 302, "status of the password")
    page.get_by_role("link", name="page.html", exact=True).click()
    page.locator(".facts a").first.wait_for()
    answer = page.request.get(urljoin(page.url, page.locator(".facts a").first.get_attribute("href")))
    same(answer.status, 502, "status of the file")
    told = f"{answer.headers}{answer.text()}"
    for secret in (site.prepared.endpoint, "documents/", "Error"):
        holds(secret not in told, f"{secret!r} is told: {told}")
    same({name: answer.headers.get(name) for name in SAFE}, SAFE, "headers")
    page.goto(f"{site.url}private/")
    same(_upload(page, "two_hills.png", "image/png", picture("PNG")), 503, "status of an upload")
    text(page, "#file-errors", "does not answer")


STEPS = (
    private_page_asks_to_log_in,
    nothing_chosen_is_refused,
    owner_sees_the_picture,
    nobody_else_sees_it,
    shared_link_opens_until_it_is_revoked,
    video_plays_and_seeks,
    html_and_svg_run_nothing,
    each_delivery_is_shown,
    deleted_file_is_gone,
)


def _log_in(page, name, password):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    return submit(page, page.get_by_role("button", name="Log in"))


def _upload(page, name, kind, content):
    page.locator("#id_file").set_input_files({"name": name, "mimeType": kind, "buffer": content})
    return submit(page, page.get_by_role("button", name="Upload"))


def _url(page):
    """Return the URL of the last picture on the page."""
    return urljoin(page.url, page.locator("img[src*='/private/files/']").last.get_attribute("src"))


def _start(answer):
    """Return which byte is the first of an answer."""
    return int(answer.headers.get("content-range", "bytes 0-").removeprefix("bytes ").partition("-")[0])


def _headers(table):
    """Return the headers in a table, by their names in small letters."""
    rows = (row.split("\t") for row in table.locator("tbody tr").all_inner_texts())
    return {name.lower(): value for name, value in rows}
