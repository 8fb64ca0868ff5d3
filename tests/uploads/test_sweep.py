"""The sweep: nothing is left of what no form has taken, and everything of what one has."""

from __future__ import annotations

import datetime
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.contract import DeleteError, UploadTerms
from storages.uploads import claims, kinds, protocol, spool
from storages.uploads.models import State, Upload
from storages.uploads.sweep import sweep
from tests.buckets import WiredBucket
from tests.uploads.conftest import Browser, row_of
from tests.uploads.kinds import KINDS
from tests.uploads.models import Clip, Note, proxied

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.uploads.urls")]

DAY = 24 * 3600
HOUR = datetime.timedelta(hours=1)
CLIP, NOTE = "tests_uploads.Clip.file", "tests_uploads.Note.file"
EACH = 100  # uploads in each state
EVERY = [(state, number) for state in State for number in range(EACH)]


@pytest.fixture(autouse=True)
def many(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    settings.UPLOADS_MAX_OPEN = 10**6
    settings.UPLOADS_PART_SIZE = 8
    proxied.client.clear()
    yield
    proxied.client.clear()


def upload_of(field: str = CLIP, *, name: str = "clips/a", **fields: Any) -> Upload:
    """Return the row of an upload whose time is over."""
    fields = {"kind": "put", "size": 8, "expires": timezone.now() - HOUR, **fields}
    return Upload.objects.create(field=field, name=name, filename="a", content_type="text/plain", **fields)


def abandon(browser: Browser, state: State, kind: str) -> Upload:
    """Bring an upload to ``state`` as browsers and requests do, and leave it there."""
    body = b"8 bytes " * 2
    field = NOTE if kind == "tus" else CLIP
    begun = browser.begun(body, field, accepts=[kind])
    upload = row_of(begun)
    sent = body[:8] if state == State.BEGUN and kind == "tus" else body
    if kind == "tus":
        spool.receive(row_of(begun), io.BytesIO(sent), 0, len(sent))
    else:
        browser.send(begun, sent)
    if state in (State.FINISHED, State.CLAIMED):
        browser.ok("finish", {"upload": begun["upload"]})
        upload.refresh_from_db()
    if state == State.CLAIMED:
        claims.take(upload)
    elif state == State.ABORTED:
        browser.ok("abort", {"upload": begun["upload"]})
        if kind not in ("tus", "multipart", "resumable", "blocks"):
            browser.send(begun, body)  # a link is good for some minutes more
    elif state not in (State.BEGUN, State.FINISHED):  # a process that died in the middle
        Upload.objects.filter(pk=upload.pk).update(state=state)
    upload.refresh_from_db()
    return upload


@pytest.mark.threat("T-30")
def test_nothing_is_left_of_uploads_abandoned_by_requests(browser, cloud, clock):
    uploads = [abandon(browser, state, kind) for state in State for kind in [*KINDS, "tus"]]
    claimed = [upload for upload in uploads if upload.state == State.CLAIMED]
    assert len(cloud.client) + len(proxied.client) > len(uploads) / 2
    clock.forward(2 * DAY)
    report = sweep()
    assert not report.problems
    assert {*cloud.client, *proxied.client} == {upload.name for upload in claimed}
    assert (cloud.opened, list(spool.files())) == ({}, [])
    assert {*Upload.objects.values_list("pk", flat=True)} == {upload.pk for upload in claimed}
    assert (report.rows, len(claimed)) == (7 * 7, 7)


def leave(storage: Any, put: Callable[[str], None], state: State, number: int) -> Upload:
    """Leave an upload in a bucket: in parts, under its final name, or under both names of a promoted one.

    Of one that a form has taken only the object is there, as its finish leaves it.
    """
    kind = ("multipart", "put", "post")[number % 3]
    name, staging, secret = f"clips/{state}-{number}", "", ""
    if kind == "multipart" and state != State.CLAIMED:
        size = 5 * 1024**2
        terms = UploadTerms(size=2 * size, content_type="text/plain", seconds=60, part_size=size)
        secret = storage.open_upload(name, kind, terms)
    if kind != "multipart" or state in (State.UPLOADED, State.FINISHED, State.CLAIMED):
        put(name)
    if kind == "post":
        staging = f"uploads-staging/{state}-{number}"
        if state != State.CLAIMED:
            put(staging)
    return upload_of(name=name, staging=staging, kind=kind, secret=secret, state=state)


@pytest.mark.threat("T-30")
def test_nothing_is_left_of_a_hundred_in_each_state(cloud):
    uploads = [leave(cloud, lambda name: cloud.put(name, b"", None), *one) for one in EVERY]
    assert len(cloud.opened) == len([one for one in uploads if one.secret]) > 2 * EACH
    report = sweep()
    assert (report.problems, report.rows, cloud.opened) == ([], 7 * EACH, {})
    assert {*cloud.client} == {upload.name for upload in uploads if upload.state == State.CLAIMED}
    assert Upload.objects.count() == EACH


@pytest.fixture
def bucket(seaweedfs: Any) -> Iterator[WiredBucket]:
    with WiredBucket(seaweedfs) as bucket:
        yield bucket
        bucket.empty()


@pytest.fixture
def s3(bucket: WiredBucket, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    storage = bucket.storage(location="site", unsigned_headers="refused")
    monkeypatch.setattr(Clip._meta.get_field("file"), "storage", storage)
    monkeypatch.setattr(Clip._meta.get_field("cover"), "storage", storage)
    return storage


@pytest.mark.threat("T-30")
@pytest.mark.timeout(300)
def test_nothing_is_left_in_a_real_bucket(bucket, s3, cloud):
    uploads = [leave(s3, lambda name: bucket.put(f"site/{name}", b""), *one) for one in EVERY]
    others = {"site/clips/of another program", "elsewhere/uploads-staging/of another site"}
    for key in others:
        bucket.put(key, b"")
    assert len(bucket.uploads()) == len([one for one in uploads if one.secret]) > 2 * EACH
    assert not sweep().problems
    kept = {f"site/{upload.name}" for upload in uploads if upload.state == State.CLAIMED}
    assert len(kept) == EACH
    assert {*bucket.objects()} == kept | others
    assert bucket.uploads() == []
    assert Upload.objects.count() == EACH


class Killed(BaseException):
    """What no code of ours catches, as that of a process that is killed."""


def begin_in_parts(browser: Browser, monkeypatch: pytest.MonkeyPatch, settings: Any, error: BaseException) -> None:
    """Begin an upload of which the service knows, and have ``error`` come before the row does."""

    def fail(*_: Any) -> None:
        raise error

    settings.UPLOADS_PART_SIZE = 5 * 1024**2
    with monkeypatch.context() as patches, pytest.raises(type(error)):
        patches.setattr(Clip._meta.get_field("file"), "max_size", 10**8)
        patches.setattr(kinds.sealing, "seal", fail)
        if isinstance(error, Killed):
            patches.setattr(protocol, "_take_back", lambda *_: None)
        browser.begin(b"", accepts=["multipart"], size=10**7)


@pytest.mark.threat("T-30")
def test_parts_of_a_process_that_was_killed_before_it_noted_them_go(
    bucket, s3, browser, cloud, monkeypatch, settings, clock
):
    begin_in_parts(browser, monkeypatch, settings, Killed())
    (upload,) = Upload.objects.all()
    others = [f"site/{upload.target}{ending}" for ending in (".txt", "/part")] + [f"else/{upload.target}"]
    for key in others:
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    assert sorted(bucket.uploads()) == sorted([f"site/{upload.target}", *others])
    clock.forward(2 * DAY)
    report = sweep()
    assert (report.problems, report.rows, report.parts) == ([], 1, 1)
    assert sorted(bucket.uploads()) == sorted(others)


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("error", [RuntimeError("no room"), SystemExit()], ids=repr)
def test_begin_that_fails_after_the_service_has_begun_leaves_nothing(
    bucket, s3, browser, cloud, monkeypatch, settings, error
):
    begin_in_parts(browser, monkeypatch, settings, error)
    assert (bucket.uploads(), Upload.objects.count()) == ([], 0)


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("kind", ["multipart", "blocks"])
def test_upload_that_the_service_opened_and_did_not_answer_is_swept(browser, cloud, clock, monkeypatch, kind):
    opened = cloud._open_upload

    def silent(*terms: Any) -> None:
        opened(*terms)
        raise TimeoutError("no answer")

    monkeypatch.setattr(cloud, "_open_upload", silent)
    assert browser.begin(b"8 bytes ", accepts=[kind]).status_code == 503
    assert len(cloud.opened) == 1
    clock.forward(DAY)
    report = sweep()
    assert (report.problems, cloud.opened, Upload.objects.count()) == ([], {}, 0)


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("zones", [True, False])
def test_orphans_under_the_staging_prefix_go_when_they_are_old(bucket, s3, cloud, settings, zones):
    settings.USE_TZ = zones
    bucket.put("site/uploads-staging/orphan", b"")
    bucket.put("site/uploads-staging/known", b"")
    bucket.put("site/uploads-staging-of-others/a", b"")
    upload_of(staging="uploads-staging/known", expires=timezone.now() + datetime.timedelta(days=9))
    assert sweep().orphans == 0
    assert sweep(now=timezone.now() + datetime.timedelta(days=2)).orphans == 1
    assert {*bucket.objects()} == {"site/uploads-staging/known", "site/uploads-staging-of-others/a"}


@pytest.mark.threat("T-30")
def test_form_that_is_sent_again_after_its_file_was_taken_leaves_nothing(cloud):
    taken = upload_of(kind="post", name="clips/final", staging="clips/signed", state=State.CLAIMED)
    young = upload_of(
        kind="post", name="clips/new", staging="clips/again", state=State.CLAIMED, expires=timezone.now() + HOUR
    )
    for name in ("clips/final", "clips/signed", "clips/new", "clips/again"):
        cloud.save(name, ContentFile(b"8 bytes "))
    assert sweep(dry_run=True).objects == 1
    assert len(cloud.client) == 4
    report = sweep()
    assert (report.objects, report.problems) == (1, [])
    assert {*cloud.client} == {"clips/final", "clips/new", "clips/again"}
    assert {*Upload.objects.values_list("pk", "staging")} == {(taken.pk, ""), (young.pk, "clips/again")}
    assert sweep().objects == 0


def test_objects_are_deleted_by_few_requests(seaweedfs, wire, cloud, monkeypatch):
    with WiredBucket(seaweedfs, wire) as bucket:
        monkeypatch.setattr(Clip._meta.get_field("file"), "storage", bucket.storage())
        monkeypatch.setattr(Clip._meta.get_field("cover"), "storage", cloud)
        for number in range(50):
            bucket.put(f"clips/{number}", b"")
            upload_of(name=f"clips/{number}")
        before = len(wire.requests)
        assert sweep().objects == 50
        assert len(wire.requests) - before <= 4
        assert bucket.objects() == {}


# What stays


def test_upload_under_way_is_left_alone(browser, cloud):
    for kind in KINDS:
        abandon(browser, State.FINISHED, kind)
    objects = dict(cloud.client)
    assert sweep().rows == 0
    assert cloud.client == objects
    assert Upload.objects.count() == len(KINDS)


def test_upload_that_is_just_finished_is_left_alone(cloud):
    busy = upload_of(busy=timezone.now() + datetime.timedelta(minutes=1))
    cloud.save("clips/a", ContentFile(b"8 bytes "))
    assert sweep().rows == 0
    assert "clips/a" in cloud.client
    Upload.objects.filter(pk=busy.pk).update(busy=timezone.now() - datetime.timedelta(minutes=1))
    assert sweep().rows == 1
    assert cloud.client == {}


def test_claim_between_look_and_deed_wins(cloud, monkeypatch):
    upload = upload_of(state=State.FINISHED)
    cloud.save("clips/a", ContentFile(b"8 bytes "))
    storage_of = kinds.storage_of

    def claim(row: Upload) -> Any:
        Upload.objects.filter(pk=upload.pk).update(state=State.CLAIMED)
        return storage_of(row)

    monkeypatch.setattr(kinds, "storage_of", claim)
    assert sweep().rows == 0
    assert "clips/a" in cloud.client
    assert Upload.objects.get().state == State.CLAIMED


def test_claim_after_the_sweep_has_begun_loses(cloud, monkeypatch):
    upload = upload_of(state=State.FINISHED)
    delete = cloud._delete

    def claim(key: str) -> None:
        assert Upload.objects.get(pk=upload.pk).state == State.EXPIRED
        assert not Upload.objects.filter(pk=upload.pk, state=State.FINISHED).update(state=State.CLAIMED)
        delete(key)

    cloud.save("clips/a", ContentFile(b"8 bytes "))
    monkeypatch.setattr(cloud, "_delete", claim)
    assert sweep().rows == 1
    assert cloud.client == {}


def test_two_sweeps_share_the_work(cloud, monkeypatch):
    for number in range(20):
        cloud.save(f"clips/{number}", ContentFile(b"8 bytes "))
        upload_of(name=f"clips/{number}")
    inner = []
    delete = cloud._delete

    def meet(key: str) -> None:
        monkeypatch.setattr(cloud, "_delete", delete)
        inner.append(sweep())
        delete(key)

    monkeypatch.setattr(cloud, "_delete", meet)
    outer = sweep()
    assert outer.problems == inner[0].problems == []
    assert outer.rows + inner[0].rows == 20
    assert (cloud.client, Upload.objects.count()) == ({}, 0)


def test_objects_named_after_their_content_may_be_somebody_elses(cloud, monkeypatch):
    storage = MemoryStorage()
    storage.save("bafy", ContentFile(b"8 bytes "))
    monkeypatch.setattr(MemoryStorage, "capabilities", type(storage).capabilities.__class__(content_addressed=True))
    monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
    upload_of(NOTE, name="bafy", kind="tus", offset=8, state=State.FINISHED)
    report = sweep()
    assert (report.rows, report.kept, list(storage.client)) == (1, 1, ["bafy"])


# What goes wrong


def test_storage_that_is_down_is_told_and_its_rows_stay(cloud):
    cloud.save("clips/a", ContentFile(b"8 bytes "))
    proxied.save("notes/a", ContentFile(b"8 bytes "))
    for _ in range(3):
        upload_of()
    upload_of(NOTE, name="notes/a", kind="tus", offset=8)
    cloud.failing["delete"] = ConnectionError("no route to the host")
    report = sweep()
    assert len(report.problems) == 1
    assert "3 uploads stay" in report.problems[0]
    assert (report.rows, Upload.objects.count(), proxied.client) == (1, 3, {})
    cloud.failing.clear()
    assert (sweep().rows, cloud.client) == (3, {})


def test_storage_that_is_down_is_asked_once(cloud, monkeypatch):
    monkeypatch.setattr("storages.uploads.sweep.BATCH", 2)
    for number in range(10):
        upload_of(name=f"clips/{number}")
    cloud.failing["delete"] = TimeoutError("no answer")
    cloud.calls.clear()
    sweep()
    assert cloud.calls.count("delete") == 1
    assert Upload.objects.count() == 10


def test_object_that_is_not_deleted_keeps_its_row(cloud, monkeypatch):
    kept, gone = upload_of(name="clips/kept"), upload_of(name="clips/gone")

    def refuse(names: Any) -> None:
        assert {*names} == {"clips/kept", "clips/gone"}
        raise DeleteError({"clips/kept": PermissionError("a lock is on it")})

    monkeypatch.setattr(cloud, "delete_many", refuse)
    cloud.failing["delete"] = PermissionError("a lock is on it")  # of what hangs on it, too
    report = sweep()
    assert "clips/kept" in report.problems[0]
    assert [upload.pk for upload in Upload.objects.all()] == [kept.pk] != [gone.pk]


def test_parts_that_are_not_given_up_keep_their_row(browser, cloud, clock):
    upload = abandon(browser, State.BEGUN, "multipart")
    clock.forward(2 * DAY)
    cloud.failing["abandon_upload"] = PermissionError("may not abort")
    assert str(upload.pk) in sweep().problems[0]
    cloud.failing.clear()
    assert (sweep().parts, cloud.opened) == (1, {})


def test_rows_of_a_field_that_is_gone_stay_and_are_told():
    upload_of("tests_uploads.Gone.file")
    report = sweep()
    assert "tests_uploads.Gone.file" in report.problems[0]
    assert Upload.objects.count() == 1


def test_storage_of_somebody_else_is_swept_one_by_one(cloud, monkeypatch, tmp_path):
    from django.core.files.storage import FileSystemStorage

    storage = FileSystemStorage(tmp_path / "files")
    monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
    for number in range(3):
        storage.save(f"notes/{number}", ContentFile(b"8 bytes "))
        upload_of(NOTE, name=f"notes/{number}", kind="tus", offset=8)
    assert (sweep().rows, [*(tmp_path / "files/notes").iterdir()]) == (3, [])


# The spool


@pytest.mark.threat("T-30")
def test_spool_files_of_nobody_go(tmp_path):
    ones = [upload_of(NOTE, kind="tus", expires=timezone.now() + datetime.timedelta(1)) for _ in "1234"]
    gone, foreign, over, open_ = ones
    for upload in ones:
        spool.receive(upload, io.BytesIO(b"8 by"), 0, 4)
    paths = dict(spool.files())
    # That of another site, with a table of its own, is as unknown as what nobody needs; time tells them apart.
    Upload.objects.filter(pk__in=[gone.pk, foreign.pk]).delete()
    os.utime(paths[gone.pk], (1, 1))
    os.utime(paths[foreign.pk], (time.time() - DAY,) * 2)
    Upload.objects.filter(pk=over.pk).update(state=State.FINISHED)
    assert (sweep(dry_run=True).files, len([*spool.files()])) == (2, 4)
    assert sweep().files == 2
    assert {number for number, _ in spool.files()} == {open_.pk, foreign.pk}


# The command


def told(**options: Any) -> str:
    out = io.StringIO()
    call_command("uploads_sweep", stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def test_dry_run_says_what_would_go_and_touches_nothing(browser, cloud, clock):
    for kind in KINDS:
        abandon(browser, State.BEGUN, kind)
    abandon(browser, State.CLAIMED, "put")
    clock.forward(2 * DAY)
    before = {**cloud.client}, {**cloud.opened}, [*Upload.objects.values()]
    would = told(dry_run=True)
    assert ({**cloud.client}, {**cloud.opened}, [*Upload.objects.values()]) == before
    assert told() == would.replace("to remove", "removed")
    assert would.startswith("6 uploads, ")


def test_problems_are_an_error_after_all_was_tried(cloud):
    upload_of(), upload_of(NOTE, kind="tus")
    cloud.failing["delete"] = ConnectionError("no route to the host")
    errors = io.StringIO()
    with pytest.raises(CommandError, match="next sweep"):
        call_command("uploads_sweep", stdout=io.StringIO(), stderr=errors)
    assert "no route to the host" in errors.getvalue()
    assert Upload.objects.count() == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals(cloud, monkeypatch):
    monkeypatch.setattr("storages.uploads.sweep.BATCH", 2)
    for number in range(3):
        upload_of(name=f"clips/{number}")
    terminal = Terminal()
    call_command("uploads_sweep", stdout=terminal, dry_run=True)
    assert "\r2 of 3 uploads\r3 of 3 uploads\n" in terminal.getvalue()
    assert "\r" not in told()
