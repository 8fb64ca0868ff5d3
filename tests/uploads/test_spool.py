"""The spool: what is kept of an upload that breaks off, and who may write to it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from storages.backends.memory import MemoryStorage
from storages.uploads import spool
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload

pytestmark = pytest.mark.django_db

MIB = 1024**2


@pytest.fixture(autouse=True)
def directory(settings: Any, tmp_path: Any) -> Any:
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    return settings.UPLOADS_SPOOL


def upload_of(size: int, **fields: Any) -> Upload:
    fields = {"kind": "tus", "name": "prefix/random.bin", "expires": timezone.now() + timedelta(hours=1), **fields}
    return Upload.objects.create(field="tests.Model.file", filename="a.bin", size=size, **fields)


def send(upload: Upload, content: bytes, start: int = 0, **options: Any) -> int:
    return spool.receive(Upload.objects.get(pk=upload.pk), io.BytesIO(content), start, len(content), **options)


def content_of(upload: Upload) -> bytes:
    return (spool.directory() / f"{upload.pk.hex}.part").read_bytes()


def told(upload: Upload) -> int:
    return spool.offset(Upload.objects.get(pk=upload.pk))


class Breaking(io.BytesIO):
    """A body of which the rest does not come."""

    def read(self, size: int | None = -1) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise OSError("the client went away")
        return chunk


def refused(code: str) -> Any:
    return pytest.raises(UploadError, match=code)


def test_pieces_make_the_whole():
    upload = upload_of(10)
    assert send(upload, b"01234") == told(upload) == 5
    assert send(upload, b"56789", 5) == told(upload) == 10
    upload.refresh_from_db()
    with spool.reading(upload) as file:
        assert (file.read(), file.size) == (b"0123456789", 10)


@pytest.mark.threat("T-38")
def test_nobody_else_can_read_the_spool(directory):
    old = os.umask(0)
    try:
        send(upload_of(3), b"abc")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())]
    assert modes == [0o700, 0o600]


@pytest.mark.threat("T-38")
@pytest.mark.parametrize("prepare", [lambda path: path.mkdir(mode=0o755), lambda path: path.symlink_to(path.parent)])
def test_directory_that_others_can_look_into_is_refused(directory, prepare):
    prepare(directory)
    with pytest.raises(ImproperlyConfigured, match="chmod 700"):
        spool.directory()


def test_link_in_place_of_a_file_is_not_followed(directory, tmp_path):
    upload, victim = upload_of(3), tmp_path / "victim"
    spool.directory()
    (directory / f"{upload.pk.hex}.part").symlink_to(victim)
    with refused("storage_unavailable"):
        send(upload, b"abc")
    assert not victim.exists()


@pytest.mark.threat("T-38")
def test_second_writer_is_refused_while_one_writes():
    upload = upload_of(2 * spool.CHUNK_SIZE)
    codes = []

    class Racing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            with pytest.raises(UploadError) as caught:
                send(upload, b"other bytes")
            codes.append(caught.value.code)
            return super().read(size)

    content = os.urandom(upload.size)
    spool.receive(Upload.objects.get(pk=upload.pk), Racing(content), 0, len(content))
    assert codes == ["offset_conflict"] * len(codes) != []
    assert content_of(upload) == content


@pytest.mark.threat("T-38")
@pytest.mark.parametrize("start", [0, 4, 6])
def test_bytes_for_another_offset_are_refused(start):
    upload = upload_of(10)
    send(upload, b"01234")
    with refused("offset_conflict"):
        send(upload, b"abc", start)
    assert content_of(upload) == b"01234"


@pytest.mark.threat("T-38")
def test_nothing_is_kept_past_the_size():
    upload = upload_of(10)
    send(upload, b"01234")
    with refused("too_large"):
        send(upload, b"567890", 5)
    assert (content_of(upload), told(upload)) == (b"01234", 5)


def test_short_writes_are_no_end(monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: write(descriptor, view[:3]))
    upload = upload_of(10)
    assert send(upload, b"0123456789") == 10
    assert content_of(upload) == b"0123456789"


def test_body_longer_than_its_length_is_cut():
    upload = upload_of(10)
    assert spool.receive(upload, io.BytesIO(b"0123456789and more"), 0, 10) == 10
    assert content_of(upload) == b"0123456789"


@pytest.mark.parametrize("body", [io.BytesIO, Breaking])
def test_what_came_of_a_broken_request_is_kept(body):
    upload = upload_of(10)
    assert spool.receive(upload, body(b"0123"), 0, 10) == told(upload) == 4
    send(upload, b"456789", 4)
    assert content_of(upload) == b"0123456789"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.threat("T-35")
def test_checksum_guards_one_request(algorithm):
    upload = upload_of(10)
    checksum = spool.Checksum(algorithm, hashlib.new(algorithm, b"01234").digest())
    with pytest.raises(spool.ChecksumMismatch):
        send(upload, b"0123X", checksum=checksum)
    assert (content_of(upload), told(upload)) == (b"", 0)
    assert send(upload, b"01234", checksum=checksum) == 5


@pytest.mark.threat("T-35")
def test_broken_request_with_a_checksum_keeps_nothing(monkeypatch):
    monkeypatch.setattr(spool, "SYNC_EVERY", 1)
    upload = upload_of(10)
    with pytest.raises(spool.ChecksumMismatch):
        spool.receive(
            upload, Breaking(b"0123"), 0, 10, spool.Checksum("sha256", hashlib.sha256(b"0123456789").digest())
        )
    assert (content_of(upload), told(upload)) == (b"", 0)


def test_offset_is_told_only_of_what_is_on_the_disk(monkeypatch):
    events: list[Any] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(("disk", os.fstat(fd).st_size)), sync(fd)))
    commit = spool._Writer.commit
    monkeypatch.setattr(spool._Writer, "commit", lambda self: (commit(self), events.append(("row", self.position))))
    monkeypatch.setattr(spool, "SYNC_EVERY", 2 * spool.CHUNK_SIZE)
    upload = upload_of(5 * spool.CHUNK_SIZE)
    send(upload, bytes(upload.size))
    steps = [2 * spool.CHUNK_SIZE, 4 * spool.CHUNK_SIZE, 5 * spool.CHUNK_SIZE]
    assert events[1:] == [(place, size) for size in steps for place in ("disk", "row")]


def test_bytes_that_the_row_was_not_told_of_are_sent_again():
    upload = upload_of(10)
    send(upload, b"01234")
    with (spool.directory() / f"{upload.pk.hex}.part").open("ab") as file:
        file.write(b"left by a process that died")
    assert told(upload) == 5
    send(upload, b"56789", 5)
    assert content_of(upload) == b"0123456789"


@pytest.mark.parametrize(("left", "offset"), [(b"012", 3), (None, 0)])
def test_lost_bytes_are_asked_for_again(left, offset):
    upload = upload_of(10)
    send(upload, b"01234")
    path = spool.directory() / f"{upload.pk.hex}.part"
    path.unlink() if left is None else path.write_bytes(left)
    assert told(upload) == offset
    send(upload, b"0123456789"[offset:], offset)
    assert content_of(upload) == b"0123456789"


@pytest.mark.threat("T-38")
def test_full_disk_loses_nothing_that_was_acknowledged(monkeypatch):
    upload = upload_of(3 * spool.CHUNK_SIZE)
    content = os.urandom(upload.size)
    send(upload, content[: spool.CHUNK_SIZE])
    write, count = os.write, iter(range(9))

    def filling(descriptor: int, view: Any) -> int:
        if next(count):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, view[:1000])

    with monkeypatch.context() as patched, refused("storage_unavailable"):
        patched.setattr(os, "write", filling)
        send(upload, content[spool.CHUNK_SIZE :], spool.CHUNK_SIZE)
    assert content_of(upload) == content[: spool.CHUNK_SIZE]
    send(upload, content[spool.CHUNK_SIZE :], spool.CHUNK_SIZE)
    assert content_of(upload) == content


@pytest.mark.parametrize("state", [State.ABORTED, State.EXPIRED, State.FINISHED, State.CLAIMED, None])
def test_upload_that_has_ended_takes_no_bytes_and_leaves_no_file(state):
    upload = upload_of(10)
    rows = Upload.objects.filter(pk=upload.pk)
    rows.update(state=state) if state else rows.delete()
    with refused("state_conflict"):
        spool.receive(upload, io.BytesIO(b"0123"), 0, 4)
    assert list(spool.files()) == []


def test_upload_that_is_aborted_while_it_comes_leaves_no_file():
    upload = upload_of(10)

    class Aborted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            Upload.objects.filter(pk=upload.pk).update(state=State.ABORTED)
            spool.discard(upload)
            return super().read(size)

    with refused("state_conflict"):
        spool.receive(upload, Aborted(b"0123456789"), 0, 10)
    assert list(spool.files()) == []


@pytest.mark.parametrize("content", [b"", b"01234"])
def test_part_of_a_file_is_not_read(content):
    upload = upload_of(10)
    if content:
        send(upload, content)
    with refused("parts_missing"), spool.reading(upload):
        pass


def test_two_finishes_do_not_meet():
    upload = upload_of(4)
    send(upload, b"0123")
    with spool.reading(upload), refused("state_conflict"), spool.reading(upload):
        pass


class Plain(FileSystemStorage):
    """A storage of somebody else, who reads from where a file is."""

    def _save(self, name: str, content: Any) -> str:
        return super()._save(name, ContentFile(content.read()))


@pytest.mark.parametrize("state", [State.BEGUN, State.UPLOADED, State.QUARANTINED])
@pytest.mark.parametrize("make", [MemoryStorage, lambda: FileSystemStorage("files"), lambda: Plain("files")])
def test_stored_file_replaces_none_and_leaves_none(make, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage, upload = make(), upload_of(4)
    send(upload, b"0123")
    Upload.objects.update(state=state)
    storage.save(upload.name, ContentFile(b"of a finish that broke off"))
    with spool.reading(upload) as file:
        file.read()
        saved = spool.store(upload, storage, file)
    assert (saved != upload.name, storage.exists(upload.name)) == (True, False)
    with storage.open(saved) as stored:
        assert stored.read() == b"0123"


@pytest.mark.threat("T-38")
def test_quota_counts_uploads_that_are_open(settings):
    settings.UPLOADS_SPOOL_QUOTA = 100
    upload_of(30)
    upload_of(30, state=State.UPLOADED)
    upload_of(60, state=State.FINISHED)
    upload_of(60, kind="multipart")
    upload_of(40)
    spool.check_room()
    upload_of(1)
    with refused("quota_exceeded") as caught:
        spool.check_room()
    assert caught.value.retry_after


@pytest.mark.threat("T-38")
def test_disk_is_never_filled_to_the_last_tenth(monkeypatch):
    usage = type("Usage", (), {"total": 1000, "free": 400})
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda path: usage)
    upload_of(200, offset=150)
    upload_of(250)
    spool.check_room()
    upload_of(1)
    with refused("quota_exceeded"):
        spool.check_room()


def test_files_tell_whose_they_are():
    upload = upload_of(4)
    send(upload, b"01")
    (spool.directory() / "of somebody else.part").touch()
    assert [number for number, _ in spool.files()] == [upload.pk]
    spool.discard(upload)
    spool.discard(upload)
    assert list(spool.files()) == []
