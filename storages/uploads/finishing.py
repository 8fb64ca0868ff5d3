"""The end of an upload: the server counts, completes and looks at what has come, and only then calls it a file.

Where a client could still write, the object is copied first, and it is the copy that is looked at: nothing that comes
later changes it. An etag says that it is the same object from the first look to the last.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from typing import Any

from storages import sniffing
from storages.contract import ObjectChanged, PartsMissing, Received, Stat
from storages.terms import PART_KINDS
from storages.uploads import additions, kinds, part_checksums, scanning, sealing
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload

CHUNK = 64 * 1024  # bytes

_CHANGED = ("key_exists", "The file was changed after it had arrived.")


def settle(upload: Upload, field: Any) -> dict[str, Any] | None:
    """Bring a begun upload to where it is a file; return None then, or the scanner's waiting answer.

    On the way the row goes from begun over uploaded (closed, and copied) to quarantined where a scanner looks at it.
    Raises UploadError.
    """
    if upload.kind == kinds.TUS:
        return _settle_spooled(upload, field)
    storage = field.storage
    if upload.state == State.BEGUN:
        if measure := getattr(field, "measure", None):  # of a form that was signed before anybody knew the size
            measure(upload)
        _close(upload, storage)
        stat = _promoted(upload, storage)
        _step(upload, State.UPLOADED, (State.BEGUN,), pin=stat.etag or "")
        part_checksums.forget(upload)
    else:
        stat = _stat(upload, storage)
    with _object(upload, storage) as file:
        _look(upload, field, file, stat)
        waiting = _scan(upload, field, file)
    if waiting is None:
        _stat(upload, storage)  # once more: no byte was changed while it was looked at
    return waiting


def sweep_staging(upload: Upload, storage: Any) -> None:
    """Delete what was copied; where that fails the bucket's own rule does it later."""
    if upload.staging:
        with contextlib.suppress(UploadError), kinds.storage_errors(upload):
            kinds.delete(storage, upload.staging)


def compare(upload: Upload, parts: list[Received]) -> None:
    """Compare what has arrived with what was announced. Raises UploadError parts_missing, size_mismatch."""
    sizes = {part.number: part.size for part in parts}
    resumable = upload.kind == "resumable"
    expected = {1: upload.size} if resumable else {n: upload.size_of(n) for n in sizes if n <= upload.part_count}
    if sizes.keys() - expected.keys() or any(sizes[number] > expected[number] for number in sizes):
        raise UploadError("size_mismatch", "More has arrived than was announced.", field="size")
    count = 1 if resumable else upload.part_count
    if len(sizes) < count or sum(sizes.values()) < upload.size:
        raise UploadError("parts_missing", "Not all parts have arrived; send the rest.")


def _close(upload: Upload, storage: Any) -> None:
    if upload.kind not in PART_KINDS:
        return
    try:
        compare(upload, kinds.received(upload, storage))
        with kinds.storage_errors(upload, FileNotFoundError, FileExistsError, PartsMissing):
            terms, state = kinds.terms_of(upload, storage), sealing.unseal(upload.kind, upload.secret)
            storage.close_upload(upload.target, upload.kind, state, terms, part_checksums.of(upload))
    except PartsMissing as error:
        part_checksums.forget(upload, error.numbers)
        raise UploadError("parts_missing", "Not all parts have arrived; send the rest.") from error
    except (FileNotFoundError, FileExistsError):
        # An earlier finish closed it, and its answer was lost; the name is random, so that the object is this one.
        with kinds.storage_errors(upload):
            if not storage.exists(upload.target):
                raise UploadError("upload_expired", "The storage has given this upload up; begin again.") from None


def _promoted(upload: Upload, storage: Any) -> Stat:
    """Return the Stat of the object under its final name, to which it is copied if that is not where it is."""
    if upload.staging:
        try:
            _arrived(upload, storage, upload.staging)
        except UploadError as error:
            # Or a finish whose transaction came to nothing has moved it: only this server writes to the final name.
            if error.code != "parts_missing":
                raise
        else:
            with kinds.storage_errors(upload):
                storage.copy(upload.staging, upload.name)
    return _arrived(upload, storage, upload.name)


def _arrived(upload: Upload, storage: Any, name: str) -> Stat:
    try:
        with kinds.storage_errors(upload, FileNotFoundError):
            stat = storage.stat(name)
    except FileNotFoundError as error:
        raise UploadError("parts_missing", "The file has not arrived; send it.") from error
    _check(upload, stat)
    _check_additions(upload, storage, stat)
    return stat


def _stat(upload: Upload, storage: Any) -> Stat:
    """Return the Stat of the object that was pinned, and refuse any other."""
    try:
        with kinds.storage_errors(upload, FileNotFoundError):
            stat = storage.stat(upload.name)
    except FileNotFoundError as error:
        raise UploadError("upload_expired", "The file is gone; begin again.") from error
    _check(upload, stat)
    _check_additions(upload, storage, stat)
    if upload.pin and stat.etag != upload.pin:
        raise UploadError(*_CHANGED)
    return stat


def _check(upload: Upload, stat: Stat) -> None:
    """Compare what one request tells. Raises UploadError size_mismatch, type_mismatch."""
    if stat.size != upload.size:
        detail = f"{stat.size} bytes have arrived, not the {upload.size} that were announced."
        raise UploadError("size_mismatch", detail, field="size")
    if stat.content_type and sniffing.essence(stat.content_type) != sniffing.essence(upload.content_type):
        raise UploadError("type_mismatch", "The file was sent as another type than announced.", field="content_type")
    if (stat.content_encoding or "identity") not in ("identity", "aws-chunked"):
        # Its first bytes would not be those that a browser then sees.
        raise UploadError("type_mismatch", "The file was sent compressed.", field="content_type")


def _check_additions(upload: Upload, storage: Any, stat: Stat) -> None:
    """Refuse an object that has more than it was granted, and its copy as well. Raises UploadError type_mismatch."""
    with kinds.storage_errors(upload):
        added = additions.of(stat, storage, upload.target, upload.name)
    if added:
        kinds.logger.warning("Upload %s has headers that it was not granted: %s", upload.pk, ", ".join(added))
        raise UploadError("type_mismatch", f"The file was sent with more than was granted: {', '.join(added)}.")


@contextlib.contextmanager
def _object(upload: Upload, storage: Any) -> Any:
    with kinds.storage_errors(upload), contextlib.closing(_Pinned(upload, storage)) as file:
        yield file


class _Pinned:
    """The bytes of an object as long as it is the one that was pinned; opened at the first read."""

    def __init__(self, upload: Upload, storage: Any):
        self._upload, self._storage, self.size = upload, storage, upload.size
        self._body: Any = None

    def head(self) -> bytes:
        """Return the first bytes, and no more are fetched."""
        end = min(self.size, sniffing.HEAD)
        with contextlib.closing(self._range(0, end)) as body:
            return _exactly(body, end)

    def read(self, size: int = -1) -> bytes:
        self._body = self._body or self._range(0, None)
        return self._body.read(size)

    def rewind(self) -> None:
        """Begin again at the start."""
        self.close()

    def chunks(self, chunk_size: int = CHUNK) -> Any:
        """Yield all of the bytes."""
        self.rewind()
        while chunk := self.read(chunk_size):
            yield chunk

    __iter__ = chunks

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None

    def _range(self, start: int, end: int | None) -> Any:
        try:
            return self._storage.open_range(self._upload.name, start, end, self._upload.pin or None)
        except ObjectChanged as error:
            raise UploadError(*_CHANGED) from error


class _Spooled:
    """The bytes of an upload through this server, which is a file here."""

    def __init__(self, file: Any):
        self._file, self.size = file, file.size

    def head(self) -> bytes:
        self.rewind()
        return _exactly(self._file, min(self.size, sniffing.HEAD))

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def rewind(self) -> None:
        self._file.seek(0)

    def chunks(self, chunk_size: int = CHUNK) -> Any:
        self.rewind()
        while chunk := self._file.read(chunk_size):
            yield chunk

    __iter__ = chunks


def _settle_spooled(upload: Upload, field: Any) -> dict[str, Any] | None:
    """Look at a file of ours, and hand it to the storage only when nothing is wrong with it."""
    from storages.uploads import spool

    if upload.pin:  # an earlier finish stored it
        return None
    with spool.reading(upload) as file:
        if upload.state == State.BEGUN:
            _step(upload, State.UPLOADED, (State.BEGUN,))
        spooled = _Spooled(file)
        _look(upload, field, spooled, Stat(spooled.size))
        waiting = _scan(upload, field, spooled)
        if waiting is not None:
            return waiting
        spooled.rewind()
        with kinds.storage_errors(upload):
            name = spool.store(upload, field.storage, file)
            stat = field.storage.stat(name) if hasattr(field.storage, "stat") else None
        _step(upload, upload.state, (upload.state,), name=name, pin=(stat and stat.etag) or "stored")
    return None


def _look(upload: Upload, field: Any, file: Any, stat: Stat) -> None:
    """Look at the first bytes, and where nobody else did at the checksum; all of it once, before the scanner."""
    if upload.state == State.QUARANTINED:
        return
    _check(upload, stat)
    allowed = field.content_types or ("*/*",)
    if not sniffing.fits(upload.filename, upload.content_type, file.head(), allowed):
        raise UploadError("type_mismatch", "The file is not what its type says.", field="content_type")
    if kinds.checks_checksum(field, upload, kinds.enforced_of(upload, field.storage)):
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        if base64.b64encode(digest.digest()).decode() != upload.checksum:
            raise UploadError("checksum_mismatch", "The file was changed on its way.", field="checksum")


def _scan(upload: Upload, field: Any, file: Any) -> dict[str, Any] | None:
    scanner = scanning.scanner_of(field)
    if scanner is None:
        return None
    _step(upload, State.QUARANTINED, (State.UPLOADED, State.QUARANTINED))
    file.rewind()
    if scanning.scan(scanner, upload, file):
        return None
    return {"state": str(State.QUARANTINED), "retry_after": scanning.AGAIN}


def _step(upload: Upload, to: str, since: tuple[str, ...], **changes: Any) -> None:
    if not upload.move(to, since=since, **changes):
        raise UploadError("state_conflict", "Another request has changed this upload; ask for its status.")


def _exactly(body: Any, size: int) -> bytes:
    """Read ``size`` bytes of what may give fewer at a time."""
    found = b""
    while len(found) < size and (chunk := body.read(size - len(found))):
        found += chunk
    return found
