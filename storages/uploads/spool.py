"""The spool: one private file for each upload that comes through this server, until the storage takes it.

Several servers behind one address need one directory: UPLOADS_SPOOL on a disk that they share and that has locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.core.files import locks
from django.core.files.base import File
from django.db.models import F, Sum

from storages.uploads import settings
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload

KIND = "tus"
RECEIVING: tuple[Any, ...] = (State.BEGUN,)
WAITING: tuple[Any, ...] = (State.BEGUN, State.UPLOADED, State.QUARANTINED)  # of which there are files
SUFFIX = ".part"
CHUNK_SIZE = 64 * 1024  # bytes that one request holds in memory
# An offset is told only after its bytes are on the disk, which takes a while: within one request this often. What came
# since is sent again after a crash of the machine.
SYNC_EVERY = 16 * 1024**2  # bytes
RETRY = 60  # seconds; a full disk has to be emptied by other uploads that end
SPARE = 10  # of the disk, one part in this many is not for the spool


class Checksum(NamedTuple):
    """What the bytes of one request have to sum up to."""

    algorithm: str  # of hashlib
    value: bytes


class ChecksumMismatch(Exception):
    """The bytes of one request are not those that its checksum is of; none of them was kept."""


def directory() -> Path:
    """Return the spool's directory, made if need be. Raises ImproperlyConfigured for one that others can look into."""
    path = Path(settings.get("UPLOADS_SPOOL") or Path(tempfile.gettempdir()) / f"storages-uploads-{_owner()}")
    path.mkdir(0o700, parents=True, exist_ok=True)
    status = path.lstat()
    # In a directory for everybody, such as /tmp, somebody else may have been there first.
    own = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
    if not stat.S_ISDIR(status.st_mode) or not own:
        raise ImproperlyConfigured(
            f"UPLOADS_SPOOL: {path} has to be a directory of this process's user alone (chmod 700), not a link"
        )
    return path


def check_room() -> None:
    """Raise UploadError (quota_exceeded) if the uploads that are open are too much, with the one just begun."""
    rows = Upload._default_manager.filter(kind=KIND, state__in=WAITING)
    quota = settings.get("UPLOADS_SPOOL_QUOTA")
    if quota is not None:
        left = quota - (rows.aggregate(sum=Sum("size"))["sum"] or 0)
    else:
        disk = shutil.disk_usage(directory())
        left = disk.free - disk.total // SPARE - (rows.aggregate(sum=Sum(F("size") - F("offset")))["sum"] or 0)
    if left < 0:
        raise UploadError("quota_exceeded", "There is no room for this upload now.", field="size", retry_after=RETRY)


def offset(upload: Upload) -> int:
    """Return how many bytes have arrived for good; after the loss of a disk fewer than were told before."""
    if upload.state not in RECEIVING:
        return upload.size
    try:
        return min(upload.offset, _path(upload.pk).stat().st_size)
    except FileNotFoundError:
        return 0


def receive(upload: Upload, body: Any, start: int, length: int, checksum: Checksum | None = None) -> int:
    """Append ``length`` bytes of ``body`` and return the offset then: it is less where the body ends before.

    One request at a time writes. Raises UploadError: offset_conflict where the upload is not at ``start`` or another
    request writes, state_conflict where it has ended, too_large past its size; ChecksumMismatch.
    """
    with _locked(upload, create=True) as descriptor:
        writer = _Writer(upload, descriptor, start, early=checksum is None)
        if start + length > upload.size:
            raise UploadError("too_large", "The body goes beyond Upload-Length.")
        try:
            _write(writer, _chunks(body, length), checksum)
        except ChecksumMismatch:
            writer.cut()
            raise
        except OSError as error:
            writer.cut()
            raise UploadError("storage_unavailable", "The upload could not be kept.", retry_after=RETRY) from error
        return writer.position


@contextlib.contextmanager
def reading(upload: Upload) -> Iterator[File]:
    """Open the whole of an upload for reading, and keep every other request away from it.

    Raises UploadError: state_conflict where another request works on it, parts_missing where it is not whole,
    upload_expired where it was, and is gone.
    """
    if upload.state not in RECEIVING and not _path(upload.pk).exists():
        raise UploadError("upload_expired", "The file is gone; begin again.")
    with _locked(upload, create=not upload.size) as descriptor:  # nobody sends a file that is empty
        if os.fstat(descriptor).st_size != upload.size or upload.offset != upload.size:
            raise UploadError("parts_missing", "The upload is not complete.")
        with open(descriptor, "rb", closefd=False) as content:
            file: Any = File(content, upload.name)
            file.content_type = upload.content_type
            yield file


def store(upload: Upload, storage: Any, file: File) -> str:
    """Save what reading() opened under the upload's name, and return the name that the storage gave it.

    That is another one where the storage names files after their content. Raises what the storage raises.
    """
    file.seek(0)
    saved: str = storage.save(upload.name, file)
    if saved != upload.name:
        # Nobody else knows the name: what has it is of a request that broke off before it could write that down.
        storage.delete(upload.name)
    return saved


def discard(upload: Upload) -> None:
    """Remove the file of an upload; silent where there is none."""
    remove(_path(upload.pk))


def remove(path: Path) -> None:
    """Remove a file of the spool. One that Windows keeps because it is open is left for the sweep."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        path.unlink()


def files() -> Iterator[tuple[uuid.UUID, Path]]:
    """Yield the files of the spool, each with the number of its upload."""
    for path in directory().glob(f"*{SUFFIX}"):
        with contextlib.suppress(ValueError):
            yield uuid.UUID(path.stem), path


def written(path: Path) -> float:
    """Return when a file of the spool was last written, in seconds since 1970; now for one that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


# Below this, one file


def _owner() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")


def _path(number: uuid.UUID) -> Path:
    return directory() / f"{number.hex}{SUFFIX}"


@contextlib.contextmanager
def _locked(upload: Upload, *, create: bool = False) -> Iterator[int]:
    """Open a file, lock it, and read the row again: what it says then holds. Raises UploadError.

    The lock is the system's: it ends with the process that has it.
    """
    path = _path(upload.pk)
    descriptor = _opened(path, create)
    try:
        if not locks.lock(descriptor, locks.LOCK_EX | locks.LOCK_NB):
            code = "offset_conflict" if create else "state_conflict"
            raise UploadError(code, "Another request works on this upload.", retry_after=1)
        if not _is_open(upload):
            if create and not os.fstat(descriptor).st_size:
                remove(path)  # it was removed with the upload, and made again here
            raise UploadError("state_conflict", "The upload has ended.")
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path, create: bool) -> int:
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | (os.O_CREAT if create else 0)
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError as error:
        raise UploadError("parts_missing", "Nothing has been uploaded.") from error
    except OSError as error:
        raise UploadError("storage_unavailable", "The upload cannot be kept.", retry_after=RETRY) from error


def _is_open(upload: Upload) -> bool:
    try:
        upload.refresh_from_db(fields=["state", "offset"])
    except Upload.DoesNotExist:
        return False
    return upload.state in WAITING


def _chunks(body: Any, length: int) -> Iterator[bytes]:
    """Yield ``length`` bytes; fewer where the client goes away, which is how uploads are resumed."""
    while length > 0:
        try:
            chunk = body.read(min(CHUNK_SIZE, length))
        except OSError:
            return
        if not chunk:
            return
        length -= len(chunk)
        yield chunk


def _write(writer: _Writer, chunks: Iterator[bytes], checksum: Checksum | None) -> None:
    digest = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
    for chunk in chunks:
        if digest:
            digest.update(chunk)
        writer.write(chunk)
    if digest and checksum and digest.digest() != checksum.value:
        raise ChecksumMismatch
    writer.commit()


class _Writer:
    """Appends to an open file; the row's offset follows what is on the disk."""

    def __init__(self, upload: Upload, descriptor: int, start: int, *, early: bool):
        self._upload, self._descriptor = upload, descriptor
        self._early = early  # False: nothing is kept before the end
        size = os.fstat(descriptor).st_size
        if upload.state not in RECEIVING or start != min(upload.offset, size):
            raise UploadError("offset_conflict", "The upload is at another offset.")
        if size > start:  # left by a request that died before the row was told
            os.ftruncate(descriptor, start)
        if not size:
            _sync_directory()
        self._safe = self.position = start
        os.lseek(descriptor, start, os.SEEK_SET)

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.position += len(chunk)
        if self._early and self.position - self._safe >= SYNC_EVERY:
            self.commit()

    def commit(self) -> None:
        """Make sure that the bytes outlast a crash, then tell the row. Raises UploadError if the upload has ended."""
        os.fsync(self._descriptor)
        rows = Upload._default_manager.filter(pk=self._upload.pk, state=State.BEGUN, offset=self._upload.offset)
        if not rows.update(offset=self.position):
            raise UploadError("state_conflict", "The upload has ended.")
        self._upload.offset = self._safe = self.position

    def cut(self) -> None:
        """Take back what the row was not told."""
        os.ftruncate(self._descriptor, self._safe)
        self.position = self._safe


def _sync_directory() -> None:
    """Make sure that the name of a new file outlasts a crash too."""
    if os.name != "posix":  # elsewhere a directory cannot be opened
        return
    descriptor = os.open(directory(), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
