"""The widget against the protocol itself, with SeaweedFS as the bucket on another origin, under a strict policy."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

import pytest
from django.contrib.auth.models import User

from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.uploads import kinds
from storages.uploads.models import State, Upload
from tests.uploads.form_models import Enclosure, Letter

from .conftest import POLICY

pytestmark = [
    pytest.mark.usefixtures("chromium"),  # before the database is made
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.uploads.browser.site"),
]

MIB = 1024**2
HOSTILE = "<img src=x onerror=alert(1)>.txt"


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """The field of the form, with no limits; its files come through the server until a test says otherwise."""
    field = Letter._meta.get_field("scan")
    for name, value in {"storage": MemoryStorage(), "max_size": None, "content_types": None}.items():
        monkeypatch.setattr(field, name, value)
    settings.TESTED_POLICY = POLICY.format(cloud="")
    return field


@pytest.fixture
def bucket(scan, seaweedfs, wire, live_server, settings) -> str:
    """A bucket whose rules let the site's pages in; all that goes there passes ``wire``."""
    bucket = seaweedfs.make_bucket()
    scan.storage = S3Storage(
        bucket_name=bucket,
        endpoint_url=wire.url,
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
        region_name=seaweedfs.region,
        addressing_style="path",
        file_overwrite=False,
        create_only=True,
        unsigned_headers="refused",
    )
    rule = {"AllowedOrigins": [live_server.url], "AllowedMethods": ["PUT", "POST"], "AllowedHeaders": ["*"]}
    seaweedfs._client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    settings.TESTED_POLICY = POLICY.format(cloud=wire.url)
    settings.UPLOADS_PART_SIZE, settings.UPLOADS_PARTS_ABOVE = 5 * MIB, 8 * MIB
    return bucket


@pytest.fixture
def signed_in(client, live_server, page) -> Any:
    """A page of somebody who may upload, at the form."""
    client.force_login(User.objects.create_superuser("anna"))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    page.context.add_cookies([cookie])
    page.live = live_server.url
    return page


def opened(page: Any) -> Any:
    page.goto(f"{page.live}/letter/")
    page.locator(".storages-upload-hint").wait_for()
    return page


def choose(page: Any, path: Any) -> None:
    page.locator("#id_scan").set_input_files(path)


def done(page: Any) -> Any:
    return page.locator(".storages-upload-file[data-state=done]")


def save(page: Any, title: str) -> None:
    page.locator("#id_title").fill(title)
    page.locator("#save").click()
    page.wait_for_url("**/letter/")


def written(path: Any, size: int) -> str:
    """Make a file and return its checksum."""
    content = random.Random(size).randbytes(size // 2).hex().encode()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def stored(letter: Letter) -> str:
    digest = hashlib.sha256()
    with letter.scan.open() as file:
        for chunk in file.chunks():
            digest.update(chunk)
    return digest.hexdigest()


def from_browser(wire: Any) -> list[Any]:
    return [request for request in wire.requests if "Mozilla" in request.headers.get("user-agent", "")]


def until(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


@pytest.mark.threat("T-32")
@pytest.mark.threat("T-36")
@pytest.mark.parametrize(("kind", "method"), [("put", "PUT"), ("post", "POST")])
def test_small_file_goes_to_the_bucket_and_the_form_takes_it(
    signed_in, scan, bucket, wire, tmp_path, monkeypatch, kind, method
):
    enforced = scan.storage.upload_kinds[kind]
    monkeypatch.setattr(S3Storage, "_upload_kinds", lambda storage: {kind: enforced})
    checksum = written(tmp_path / HOSTILE, 1000)
    page = opened(signed_in)
    choose(page, tmp_path / HOSTILE)
    done(page).wait_for()
    assert page.locator(".storages-upload-name").inner_text() == HOSTILE
    save(page, "first")
    assert stored(Letter.objects.get()) == checksum
    assert Upload.objects.get().state == State.CLAIMED
    requests = from_browser(wire)
    assert [request.method for request in requests] == ["OPTIONS", method]
    for request in requests:
        assert not {"cookie", "x-csrftoken", "referer", "authorization"} & set(request.headers)


@pytest.mark.timeout(180)
def test_forty_mebibytes_survive_a_dead_network_a_reload_and_an_error_in_the_form(
    signed_in, bucket, wire, tmp_path, monkeypatch
):
    monkeypatch.setattr(kinds, "CONCURRENCY", 2)
    Letter.objects.create(title="taken", scan="")
    checksum = written(tmp_path / "film.bin", 40 * MIB)
    page = opened(signed_in)
    wire.latency = 0.2
    choose(page, tmp_path / "film.bin")
    until(lambda: sum(request.status == 200 for request in from_browser(wire) if request.method == "PUT") >= 3)
    wire.refuse()
    page.locator("text=The connection was lost").wait_for()
    page.reload()
    wire.heal()
    before = len(from_browser(wire))
    opened(page)
    choose(page, tmp_path / "film.bin")
    done(page).wait_for()
    assert sum(request.method == "PUT" for request in from_browser(wire)[before:]) <= 5  # of eight parts
    save(page, "taken")
    assert "already exists" in page.locator(".errorlist").inner_text()
    assert page.locator(".storages-upload-name").inner_text() == "film.bin"
    save(page, "new")
    assert stored(Letter.objects.get(title="new")) == checksum
    assert [upload.state for upload in Upload.objects.all()] == [State.CLAIMED]


def test_cancelled_upload_leaves_no_parts(signed_in, bucket, wire, seaweedfs, tmp_path):
    written(tmp_path / "film.bin", 12 * MIB)
    page = opened(signed_in)
    wire.latency = 0.5
    choose(page, tmp_path / "film.bin")
    until(lambda: any(request.method == "PUT" for request in from_browser(wire)))
    page.get_by_role("button", name="Cancel upload of film.bin").click()
    until(lambda: Upload.objects.get().state == State.ABORTED)
    until(lambda: "Uploads" not in seaweedfs._client.list_multipart_uploads(Bucket=bucket))
    assert "Contents" not in seaweedfs._client.list_objects_v2(Bucket=bucket)


@pytest.mark.threat("T-40")
def test_links_of_two_seconds_are_enough_for_a_longer_upload(signed_in, bucket, wire, tmp_path, settings, monkeypatch):
    settings.UPLOADS_LINK_EXPIRE = 2
    monkeypatch.setattr(kinds, "CONCURRENCY", 1)
    checksum = written(tmp_path / "film.bin", 20 * MIB)
    page = opened(signed_in)
    wire.latency = 0.4
    choose(page, tmp_path / "film.bin")
    done(page).wait_for(timeout=30_000)
    wire.heal()
    asked = [request for request in from_browser(wire) if request.method == "PUT"]
    assert all(request.status in (200, 403) for request in asked)
    save(page, "long")
    assert stored(Letter.objects.get()) == checksum


def test_file_through_the_server_goes_on_after_a_reload(signed_in, scan, tmp_path, settings):
    settings.UPLOADS_PART_SIZE = MIB
    settings.UPLOADS_SPOOL = str(tmp_path)
    checksum = written(tmp_path / "film.bin", 5 * MIB)
    page = opened(signed_in)
    count = []
    page.route("**/tus/*", lambda route: route.abort() if len(count) >= 2 else (count.append(1), route.continue_()))
    choose(page, tmp_path / "film.bin")
    page.locator("text=The connection was lost").wait_for()
    page.unroute("**/tus/*")
    opened(page)
    choose(page, tmp_path / "film.bin")
    done(page).wait_for()
    save(page, "slow")
    assert stored(Letter.objects.get()) == checksum
    assert Upload.objects.count() == 1


def test_row_that_the_admin_adds_uploads_too(signed_in, scan, tmp_path, settings):
    settings.UPLOADS_SPOOL = str(tmp_path)
    written(tmp_path / "a.txt", 100)
    page = signed_in
    page.goto(f"{page.live}/admin/tests_uploads/letter/add/")
    page.locator("#id_title").fill("with enclosures")
    page.get_by_text("Add another Enclosure").click()
    for number in (0, 1):
        page.locator(f"#id_enclosure_set-{number}-file").set_input_files(tmp_path / "a.txt")
    done(page).nth(1).wait_for()
    page.locator("[name=_save]").click()
    page.locator(".success").wait_for()
    assert [enclosure.file.read() for enclosure in Enclosure.objects.all()] == [(tmp_path / "a.txt").read_bytes()] * 2


def test_without_javascript_the_file_is_posted_and_stored(new_page, client, live_server, scan, tmp_path):
    client.force_login(User.objects.create_superuser("anna"))
    page = new_page(java_script_enabled=False)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    page.context.add_cookies([cookie])
    checksum = written(tmp_path / "a.txt", 100)
    page.goto(f"{live_server.url}/letter/")
    choose(page, tmp_path / "a.txt")
    save(page, "plain")
    assert stored(Letter.objects.get()) == checksum
    assert not Upload.objects.exists()
