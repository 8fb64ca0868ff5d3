"""The kinds of upload: which one it is to be, and what the storage is asked for it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone

from storages.contract import Enforced, Received, SignedRequest, UploadTerms
from storages.terms import PART_KINDS, SINGLE_KINDS
from storages.uploads import part_checksums, registry, sealing, settings, tokens
from storages.uploads.errors import UploadError
from storages.uploads.models import Upload
from storages.uploads.schema import Begin

TUS = "tus"
# We are the service of a tus upload: no byte gets past, and none is stored before all was looked at.
OURS = Enforced(size="exact", type="finish", checksum="finish", overwrite="denied")

MIB = 2**20
BATCH, CONCURRENCY = 16, 4  # parts that a client asks for and sends at a time
ONE_BY_ONE = frozenset({"resumable", TUS})  # kinds whose bytes come in their order
LARGEST_SUMMED = 256 * MIB  # bytes of a part; browsers sum up only what is in memory
DOWN = 5  # seconds after which a client tries a storage again that could not be reached

logger = logging.getLogger("storages.uploads")


class Choice(NamedTuple):
    """A kind of upload, as one client has it."""

    kind: str
    enforced: Enforced
    part_size: int  # bytes
    part_checksums: bool


def offered(storage: Any) -> dict[str, Enforced]:
    """Return the kinds that ``storage`` can have, the best first; what goes through this server is last."""
    kinds = dict(getattr(storage, "upload_kinds", {}))
    if not sealing.is_possible():
        kinds = {kind: enforced for kind, enforced in kinds.items() if kind not in sealing.SECRET_KINDS}
    return {**kinds, TUS: OURS}


def choose(field: Any, said: Begin) -> Choice:
    """Return the first kind that the storage offers, the field permits and the client accepts.

    Those in parts come first for a large file, last for a small one. Raises UploadError kind_not_supported.
    """
    is_large = said.size > settings.get("UPLOADS_PARTS_ABOVE")
    kinds = offered(field.storage).items()
    for kind, enforced in sorted(kinds, key=lambda one: (one[0] in SINGLE_KINDS) == is_large):
        part_size = 0 if kind in SINGLE_KINDS else part_size_for(said.size, enforced)
        if kind not in said.accepts or part_size is None or not _fits(enforced, said.size):
            continue
        choice = _choice(said, kind, enforced, part_size)
        if field.keeps(choice.enforced):
            return choice
    raise UploadError("kind_not_supported", "The storage takes no upload that this client can send.", field="accepts")


def _choice(said: Begin, kind: str, enforced: Enforced, part_size: int) -> Choice:
    """Return what a kind is to a client, which gives checksums of parts or does not."""
    if enforced.checksum != "parts":
        return Choice(kind, enforced, part_size, False)
    gives = said.part_checksums and part_size <= LARGEST_SUMMED
    return Choice(kind, dataclasses.replace(enforced, checksum="signed" if gives else "none"), part_size, gives)


def part_size_for(size: int, enforced: Enforced) -> int | None:
    """Return the bytes of a part within the limits of the service, or None where ``size`` cannot be had in parts."""
    if not size and enforced is not OURS:
        return None
    limits = enforced.limits
    least = max(settings.get("UPLOADS_PART_SIZE"), limits.smallest_part, -(-size // (limits.most_parts or size or 1)))
    step = limits.part_multiple
    if least > settings.get("UPLOADS_PART_SIZE"):
        step = step * -(-MIB // step)  # a round number, where it is ours to choose
    part_size = -(-least // step) * step
    return None if limits.largest_part and part_size > limits.largest_part else part_size


def _fits(enforced: Enforced, size: int) -> bool:
    return enforced.limits.largest is None or size <= enforced.limits.largest


def check_room(upload: Upload) -> None:
    """Look whether this server can take an upload that goes through it. Raises UploadError quota_exceeded."""
    if upload.kind == TUS:
        from storages.uploads import spool

        spool.check_room()


def storage_of(upload: Upload) -> Any:
    """Return the storage of an upload: its own if the row names one, else its field's.

    Raises UploadError unknown_field where the field is gone.
    """
    if upload.storage:
        return storages[upload.storage]
    return registry.field_called(upload.field).storage


def enforced_of(upload: Upload, storage: Any) -> Enforced:
    """Return what the service refuses; of a kind that it no longer offers, nothing."""
    return offered(storage).get(upload.kind, Enforced())


def checks_checksum(field: Any, upload: Upload, enforced: Enforced) -> bool:
    """Whether the object is read at the end for its checksum: where nobody else compares it, and it is not too long.

    A client that gives one for a gigabyte does not make this server read one, unless the field says so.
    """
    if not upload.checksum or enforced.checksum == "signed":
        return False
    return upload.kind == TUS or field.checksum or upload.size <= settings.get("UPLOADS_PARTS_ABOVE")


def terms_of(upload: Upload, storage: Any, origin: str = "") -> UploadTerms:
    """Return the terms of an upload; a signature ends with the row."""
    left = (upload.expires - timezone.now()).total_seconds()
    most = [settings.get("UPLOADS_LINK_EXPIRE"), getattr(storage, "longest_expire", None) or 2**31, int(left)]
    part_size = 0 if upload.kind in SINGLE_KINDS else upload.part_size
    checksums = (upload.checksum, origin, upload.part_checksums)
    return UploadTerms(upload.size, upload.content_type, max(1, min(most)), part_size, *checksums)


def open_upload(request: HttpRequest, upload: Upload, storage: Any) -> dict[str, Any]:
    """Begin it at the service, and return what begin answers of it: ``request``, ``parts`` or both."""
    if upload.kind == TUS:
        return described(upload)
    terms = terms_of(upload, storage, origin_of(request))
    with storage_errors(upload):
        if upload.kind in SINGLE_KINDS:
            return {"request": as_json(storage.presign_upload(upload.target, upload.kind, terms))}
        state = storage.open_upload(upload.target, upload.kind, terms)
    upload.secret = sealing.seal(upload.kind, state)
    upload.save(update_fields=["secret"])
    return described(upload)


def described(upload: Upload) -> dict[str, Any]:
    """Return how the bytes are to be sent, as far as that can be told at any time."""
    if upload.kind in SINGLE_KINDS:
        return {}
    alone = upload.kind in ONE_BY_ONE
    parts: dict[str, Any] = {"size": upload.part_size, "count": upload.part_count}
    parts |= {"concurrency": 1 if alone else CONCURRENCY, "batch": 1 if alone else BATCH}
    if upload.part_checksums:
        parts["checksums"] = True
    if upload.kind != TUS:
        return {"parts": parts}
    from storages.uploads import tus

    return {"request": as_json(tus.request_of(upload, tokens.upload_token(upload))), "parts": parts}


def check_part_checksums(upload: Upload, numbers: Iterable[int], checksums: Mapping[int, str]) -> None:
    """Have a checksum of every part that is to be signed, where that was agreed on.

    Raises UploadError bad_request, checksum_mismatch, state_conflict.
    """
    if not upload.part_checksums:
        return
    if missing := [number for number in numbers if number not in checksums]:
        raise UploadError("bad_request", f"Part {missing[0]} has no checksum.", field="checksums")
    part_checksums.keep(upload, checksums)


def sign_part(upload: Upload, storage: Any, number: int, checksum: str, origin: str) -> dict[str, Any]:
    """Return one of the ``parts`` that parts answers."""
    terms = terms_of(upload, storage, origin)
    state = sealing.unseal(upload.kind, upload.secret)
    with storage_errors(upload):
        signed = storage.presign_part(upload.target, upload.kind, state, number, terms, checksum)
    expires = timezone.now() + datetime.timedelta(seconds=terms.seconds)
    size = upload.size_of(number) if upload.kind != "resumable" else upload.size
    said = {"number": number, "method": signed.method, "url": signed.url, "headers": dict(signed.headers)}
    return {**said, "size": size, "expires": iso(expires)}


def received(upload: Upload, storage: Any) -> list[Received]:
    """Return what has arrived. Raises FileNotFoundError where an upload in parts is gone, or was closed."""
    if upload.kind == TUS:
        from storages.uploads import spool

        return [Received(1, spool.offset(upload))]
    with storage_errors(upload, FileNotFoundError):
        if upload.kind in PART_KINDS:
            state = sealing.unseal(upload.kind, upload.secret)
            return _as_signed(upload, storage.received_parts(upload.target, upload.kind, state))
        with contextlib.suppress(FileNotFoundError):
            return [Received(1, storage.stat(upload.target).size)]
    return []


def _as_signed(upload: Upload, parts: list[Received]) -> list[Received]:
    """Leave out parts that are to come again, because the service has them otherwise than they were signed."""
    if not upload.part_checksums:
        return parts
    signed = part_checksums.of(upload)
    return [part for part in parts if part.number in signed]


def discard(upload: Upload) -> None:
    """Delete what the storage has of an upload that no form has taken. Raises UploadError storage_*."""
    if upload.kind == TUS:
        from storages.uploads import spool

        spool.discard(upload)
        if not upload.pin and upload.offset < upload.size:  # nothing was stored
            return
    storage = storage_of(upload)
    capabilities = getattr(storage, "capabilities", None)
    with storage_errors(upload):
        if upload.kind in PART_KINDS:
            storage.abandon_upload(upload.target, upload.kind, state_of(upload))
        if capabilities is not None and capabilities.content_addressed:
            return  # the same bytes may be somebody else's file too
        for name in {upload.target, upload.name}:
            delete(storage, name)


def delete(storage: Any, name: str) -> None:
    """Delete an object that a client has made, and what it could hang on it, where the storage knows of such."""
    getattr(storage, "discard_upload", storage.delete)(name)


def state_of(upload: Upload) -> str:
    """Return the state at the service of an upload in parts; empty where the process died that was to keep it."""
    return sealing.unseal(upload.kind, upload.secret) if upload.secret else ""


def origin_of(request: HttpRequest) -> str:
    """Return the origin of the page that asks; Django's CSRF check has compared what the browser says."""
    said = request.headers.get("Origin", "null")
    return said if said != "null" else f"{request.scheme}://{request.get_host()}"


def iso(moment: datetime.datetime) -> str:
    """Return a time as clients read it, whether the project has time zones or not: in UTC."""
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.astimezone(datetime.timezone.utc).isoformat(timespec="seconds")


def as_json(signed: SignedRequest) -> dict[str, Any]:
    """Return a signed request as begin answers it."""
    said: dict[str, Any] = {"method": signed.method, "url": signed.url, "headers": dict(signed.headers)}
    return {**said, "fields": dict(signed.fields), "file_field": signed.file_field}


@contextlib.contextmanager
def storage_errors(upload: Upload, *through: type[Exception]) -> Iterator[None]:
    """Answer what a storage raises by a code: what the service says is logged, and never handed on.

    Classes in ``through`` are the caller's to understand.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (UploadError, ImproperlyConfigured, DatabaseError, *through)):
            raise
        if isinstance(error, (ConnectionError, TimeoutError)):
            logger.exception("The storage could not be reached for upload %s", upload.pk)
            detail = f"The storage cannot be reached; try again. ({upload.pk})"
            raise UploadError("storage_unavailable", detail, retry_after=DOWN) from error
        logger.exception("The storage refused upload %s", upload.pk)
        raise UploadError("storage_error", f"The storage could not do that. ({upload.pk})") from error
