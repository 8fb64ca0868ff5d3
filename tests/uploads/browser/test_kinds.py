"""One scripted client, for every kind: the network dies at 40 %, an hour goes by, a new page goes on and finishes.

The client is client.js in Chromium, on a page with a strict policy; the rules of the buckets are those of uploads_cors.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.db import OperationalError
from django.db.models import F

from storages.backends.azure_storage import AzureStorage
from storages.backends.dropbox import DropboxStorage
from storages.backends.gcloud import GoogleCloudStorage
from storages.backends.memory import MemoryStorage
from storages.uploads import kinds
from storages.uploads.models import State, Upload
from tests.buckets import WiredBucket
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.dropbox import TOKEN, FakeDropbox
from tests.servers.google import Google, Scripted
from tests.servers.google_uploads import Bucket
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

from .conftest import MIB, ONCE, POLICY, admit, of_browser, opened, until

pytestmark = [
    pytest.mark.usefixtures("chromium"),  # before the database is made
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.uploads.browser.site"),
    # The SDK calls it for each request that a refresh token may be needed for.
    pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning"),
]

PART = 5 * MIB  # S3's least
CONTENT = random.Random(8).randbytes(16 * MIB)
RESUMABLE = {"multipart", "blocks", "resumable", "tus"}  # another one is one request: it begins again
OF_A_FORM = 4096  # bytes that the fields of a signed form have at most

# The whole client. What it is told of the page is what any front end has: a slot, the CSRF token, a file.
CLIENT = """
async (kind) => {
    const { upload } = await import("/static/storages_uploads/client.js");
    const element = document.querySelector("storages-upload");
    window.states = [];
    window.outcome = upload(document.querySelector("#own").files[0], {
        endpoint: element.getAttribute("endpoint"),
        slot: element.getAttribute("slot-token"),
        field: element.getAttribute("field"),
        csrf: document.querySelector("[name=csrfmiddlewaretoken]").value,
        accepts: [kind],
        backoff: 50,
        onBegin: (begun) => (window.kind = begun.kind),
        onState: (state) => states.push(state),
    });
    outcome.catch(() => {});
}
"""
# What a clock shows that is put forward while the browser is closed.
AN_HOUR_LATER = """
globalThis.Date = class extends Date {
    constructor(...given) { given.length ? super(...given) : super(Date.now()); }
    static now() { return super.now() + 3600e3; }
};
"""


class Place(NamedTuple):
    """A storage, and the wire between it and the browser."""

    storage: Any
    wire: Proxy
    origin: str  # as connect-src names it
    sent: Callable[[], int]  # bytes that the browser has sent in bodies


def counted(wire: Proxy) -> Callable[[], int]:
    return lambda: sum(one.request_body_bytes for one in of_browser(wire.requests, "PUT", "POST", "PATCH"))


@pytest.fixture
def seaweed(seaweedfs: Any, wire: Proxy) -> Iterator[Place]:
    with WiredBucket(seaweedfs, wire) as bucket:
        yield Place(bucket.storage(**ONCE), wire, wire.url, counted(wire))


@pytest.fixture(scope="module")
def azurite(request: Any) -> Iterator[Azurite]:
    yield from running(Azurite(), request.config)


@pytest.fixture
def azure(azurite: Azurite) -> Iterator[Place]:
    with Proxy(HOST, azurite.port) as wire:
        account = f"{wire.url}/{azurite.account}"
        storage = AzureStorage(
            connection_string=azurite.connection_string(account), azure_container=azurite.make_bucket()
        )
        yield Place(storage, wire, wire.url, counted(wire))


@pytest.fixture
def google() -> Iterator[Place]:
    with Google() as google, Scripted(Bucket()) as server, Proxy(HOST, server.port) as wire:
        options = {"bucket_name": "bkt", "credentials": google.key(), "client_options": {"api_endpoint": wire.url}}
        yield Place(GoogleCloudStorage(**options), wire, wire.url, counted(wire))


@pytest.fixture
def dropbox() -> Iterator[Place]:
    with FakeDropbox() as fake, Proxy(HOST, fake.port, http=False) as wire, fake.reached(wire.port):

        def sent() -> int:  # behind TLS the wire sees none of it
            asked = zip(list(fake.requests), list(fake.headers), strict=False)
            return sum(int(headers["content-length"]) for route, headers in asked if route.startswith("apitul/"))

        storage = DropboxStorage(oauth2_access_token=TOKEN, ca_certs=str(fake.certificate))
        yield Place(storage, wire, wire.url.replace("http:", "https:"), sent)


@pytest.fixture
def memory(site: Proxy) -> Place:
    return Place(MemoryStorage(), site, "", patched(site))


@pytest.fixture
def disk(site: Proxy, tmp_path: Any) -> Place:
    return Place(FileSystemStorage(tmp_path / "files"), site, "", patched(site))


def patched(site: Proxy) -> Callable[[], int]:
    return lambda: sum(one.request_body_bytes for one in of_browser(site.requests, "PATCH"))


@pytest.fixture
def place(request: Any, scan: Any, site: Proxy, settings: Any, tmp_path: Any, monkeypatch: Any) -> Place:
    """The service that a test names, in the place of the field's own storage; its rules let the site's pages in."""
    place: Place = request.getfixturevalue(request.param)
    scan.storage = place.storage
    call_command("uploads_cors", origin=[site.url], apply=True)  # Dropbox, and what is ours, have no rules
    settings.TESTED_POLICY = POLICY.format(cloud=place.origin)
    settings.UPLOADS_PART_SIZE, settings.UPLOADS_SPOOL = PART, str(tmp_path / "spool")
    monkeypatch.setattr(kinds, "CONCURRENCY", 1)
    return place


@pytest.fixture
def person(client: Any, site: Proxy, new_page: Any) -> Iterator[Any]:
    """A page of somebody who may upload, and who trusts the certificate of the fake Dropbox."""
    page = admit(client, site, new_page(ignore_https_errors=True))
    yield page
    assert page.errors == []
    assert page.violations == []


def begins(page: Any, path: Any, kind: str) -> None:
    """Open the form, choose the file, and let the client begin."""
    opened(page)
    page.evaluate(
        """() => document.body.append(Object.assign(document.createElement("input"), {type: "file", id: "own"}))"""
    )
    page.locator("#own").set_input_files(path)
    page.evaluate(CLIENT, kind)


def patiently(asks: Callable[[], Any]) -> Any:
    """Return what the database answers, which in memory waits for none of the server's threads that still write."""
    for _ in range(1000):
        with contextlib.suppress(OperationalError):
            return asks()
        time.sleep(0.02)
    return asks()


@pytest.mark.threat("T-40")
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        *(("seaweed", kind) for kind in ("post", "put", "multipart")),
        *(("azure", kind) for kind in ("put", "blocks")),
        *(("google", kind) for kind in ("put", "resumable")),
        ("dropbox", "link"),
        *((place, "tus") for place in ("memory", "disk")),
    ],
    indirect=["place"],
)
def test_client_goes_on_where_the_network_died_an_hour_ago(place, kind, person, site, tmp_path):
    path = tmp_path / "film.bin"
    path.write_bytes(CONTENT)
    os.utime(path, (1, 1))
    place.wire.die(up=len(CONTENT) * 2 // 5)
    begins(person, path, kind)
    until(lambda: "waiting" in person.evaluate("states"))  # wait_for_function() needs eval
    assert person.evaluate("kind") == kind
    assert place.wire.dead
    site.refuse()
    person.goto("about:blank")
    for wire in (site, place.wire):
        wire.heal()
    patiently(lambda: Upload.objects.update(expires=F("expires") - datetime.timedelta(hours=1)))
    person.add_init_script(AN_HOUR_LATER)
    before, arrived = place.sent(), 0
    if kind in RESUMABLE:
        with person.expect_response("**/uploads/status/") as asked:
            begins(person, path, kind)
        arrived = asked.value.json()["offset"]
        assert 0 < arrived <= len(CONTENT) * 2 // 5
    else:
        begins(person, path, kind)
    finished = person.evaluate("outcome")
    assert 0 <= place.sent() - before - (len(CONTENT) - arrived) <= (OF_A_FORM if kind == "post" else 0)
    assert finished["size"] == len(CONTENT)
    uploads = patiently(lambda: list(Upload.objects.all()))
    (upload,) = [upload for upload in uploads if upload.state == State.FINISHED]
    assert (len(uploads) == 1) is (kind in RESUMABLE)
    with place.storage.open(upload.name) as file:
        assert hashlib.sha256(file.read()).digest() == hashlib.sha256(CONTENT).digest()


@pytest.mark.parametrize("place", ["seaweed"], indirect=True)
def test_rules_expose_no_header_of_s3(place, seaweedfs):
    """So that all of the above holds without an ETag that a page can read."""
    rules = seaweedfs._client.get_bucket_cors(Bucket=place.storage.bucket_name)["CORSRules"]
    assert [rule for rule in rules if rule.get("ExposeHeaders")] == []
    assert [sorted(rule["AllowedMethods"]) for rule in rules] == [["POST", "PUT"]]
