"""The widget against the protocol itself, with SeaweedFS as the bucket on another origin, under a strict policy."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storages.backends.s3 import S3Storage
from storages.uploads import kinds
from storages.uploads.models import State, Upload
from tests.uploads.form_models import Enclosure, Letter

from .conftest import MIB, admit, choose, digest_of, done, of_browser, opened, save, stored, until, written

pytestmark = [
    pytest.mark.usefixtures("chromium"),  # before the database is made
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.uploads.browser.site"),
]

HOSTILE = "<img src=x onerror=alert(1)>.txt"


@pytest.fixture
def growth() -> Callable[[], int]:
    """How many bytes more than at the start this process has had in memory at a time; 0 where no /proc tells."""
    if not Path("/proc/self/clear_refs").exists():
        return lambda: 0
    Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
    before = peak()
    return lambda: peak() - before


def peak() -> int:
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024


def written_by_the_mebibyte(path: Any, size: int) -> str:
    """Make a file of which no mebibyte is like another, in the memory of one, and return its checksum."""
    rest, digest = random.Random(size).randbytes(MIB - 8), hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // MIB):
            for piece in (number.to_bytes(8, "big"), rest):
                file.write(piece)
                digest.update(piece)
    return digest.hexdigest()


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
    requests = of_browser(wire.requests)
    assert [request.method for request in requests] == ["OPTIONS", method]
    for request in requests:
        assert not {"cookie", "x-csrftoken", "referer", "authorization"} & set(request.headers)


def test_two_hundred_mebibytes_survive_a_dead_network_a_reload_and_an_error_in_the_form(
    signed_in, bucket, wire, site, seaweedfs, tmp_path, growth
):
    size = 200 * MIB
    Letter.objects.create(title="taken", scan="")
    checksum = written_by_the_mebibyte(tmp_path / "film.bin", size)
    page = opened(signed_in)
    wire.die(up=size * 2 // 5)
    choose(page, tmp_path / "film.bin")
    until(lambda: wire.dead)
    page.locator(".storages-upload-file", has_text="The connection was lost").wait_for()
    page.reload()
    page.locator(".storages-upload-hint").wait_for()
    wire.heal()
    with wire.counting() as again:
        with page.expect_response("**/uploads/status/") as asked:
            choose(page, tmp_path / "film.bin")
        done(page).wait_for(timeout=60_000)
    arrived = sum(part["size"] for part in asked.value.json()["received"])
    assert size // 5 < arrived <= size * 2 // 5
    assert sum(request.request_body_bytes for request in of_browser(again, "PUT")) == size - arrived
    save(page, "taken")
    assert "already exists" in page.locator(".errorlist").inner_text()
    assert page.locator(".storages-upload-name").inner_text() == "film.bin"
    save(page, "new")
    letter = Letter.objects.get(title="new")
    stored = seaweedfs._client.get_object(Bucket=bucket, Key=letter.scan.name)
    assert (stored["ContentLength"], digest_of(stored["Body"].iter_chunks(MIB))) == (size, checksum)
    assert [upload.state for upload in Upload.objects.all()] == [State.CLAIMED]
    calls = [request.path.split("/")[2] for request in of_browser(site.requests, "POST") if "/uploads/" in request.path]
    assert {verb: calls.count(verb) for verb in calls if verb != "parts"} == {"begin": 1, "status": 1, "finish": 1}
    assert calls.count("parts") <= 12  # signatures come sixteen at a time; of a lost connection, those of its parts
    assert len(site.requests) < 40
    assert site.requests.uploaded < 10_000
    assert growth() < 64 * MIB


def test_cancelled_upload_leaves_no_parts(signed_in, bucket, wire, seaweedfs, tmp_path):
    written(tmp_path / "film.bin", 12 * MIB)
    page = opened(signed_in)
    wire.latency = 0.5
    choose(page, tmp_path / "film.bin")
    until(lambda: any(request.method == "PUT" for request in of_browser(wire.requests)))
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
    asked = [request for request in of_browser(wire.requests) if request.method == "PUT"]
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
    page.locator(".storages-upload-file", has_text="The connection was lost").wait_for()
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
    page.goto(f"{page.site}/admin/tests_uploads/letter/add/")
    page.locator("#id_title").fill("with enclosures")
    page.get_by_text("Add another Enclosure").click()
    for number in (0, 1):
        page.locator(f"#id_enclosure_set-{number}-file").set_input_files(tmp_path / "a.txt")
    done(page).nth(1).wait_for()
    page.locator("[name=_save]").click()
    page.locator(".success").wait_for()
    assert [enclosure.file.read() for enclosure in Enclosure.objects.all()] == [(tmp_path / "a.txt").read_bytes()] * 2


def test_without_javascript_the_file_is_posted_and_stored(new_page, client, site, scan, tmp_path):
    page = admit(client, site, new_page(java_script_enabled=False))
    checksum = written(tmp_path / "a.txt", 100)
    page.goto(f"{site.url}/letter/")
    choose(page, tmp_path / "a.txt")
    save(page, "plain")
    assert stored(Letter.objects.get()) == checksum
    assert not Upload.objects.exists()
