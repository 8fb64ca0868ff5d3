"""What each way of delivering a private file sends, fetched over HTTP as a browser would."""

from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from django.conf import settings
from django.urls import reverse

from example.album.cost import unmetered
from storages.private.servers import get_server_class, problem_of

TIMEOUT = 10  # seconds
DELIVERIES = {
    "django": "The view reads the file from the storage and streams it.",
    "redirect": "The view sends the browser to a signed URL of the storage; type and disposition are in the signature.",
    "nginx-proxy": "nginx fetches the file from the storage: the view tells it a location and a signed path.",
    "nginx": "nginx sends the file from the disk: the view tells it where.",
    "apache": "Apache with mod_xsendfile sends the file from the disk: the view tells it where.",
    "lighttpd": "lighttpd sends the file from the disk: the view tells it where.",
}
# Who takes the answer of the view, where that is not the browser.
IN_FRONT = {"nginx-proxy": "nginx", "nginx": "nginx", "apache": "Apache", "lighttpd": "lighttpd"}


class Answer(NamedTuple):
    """What one server said."""

    source: str
    target: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    location: str | None  # of a redirect


def deliver(document, request):
    """Yield each delivery: its name, what it does, why the storage cannot do it or None, and the answers."""
    for name, told in DELIVERIES.items():
        problem = problem_of(get_server_class(name), document.file.storage)
        answers = [] if problem else _answers(document, name, request)
        yield {"name": name, "told": told, "problem": problem, "answers": answers}


def _answers(document, name, request):
    path = reverse("private_by", kwargs={"server": name, "path": document.file.name})
    target = IN_FRONT.get(name, "browser")
    site = f"http://127.0.0.1:{request.META['SERVER_PORT']}"
    answers = [_fetch(f"{site}{path}", "This site", target, {"Cookie": request.headers.get("Cookie", "")})]
    if url := answers[0].location:
        answers.append(_fetch(url, f"The {settings.DEMO['kind']}", "browser"))
    return answers


def _fetch(url, source, target, headers=None):
    """Return the answer to a GET, of which the body is thrown away. Raises OSError."""
    # Both are on this machine.
    opener = build_opener(ProxyHandler({}), _NoRedirects)
    try:
        with unmetered():  # it is what a browser would do
            answer = opener.open(Request(url, headers=headers or {}), timeout=TIMEOUT)
    except HTTPError as error:
        answer = error
    with answer:
        answer.read()
        headers = answer.headers
        return Answer(source, target, answer.status, answer.reason, headers.items(), headers.get("Location"))


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None
