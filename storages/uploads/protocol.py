"""The protocol without HTTP: begin, parts, status, finish, abort, slot. Each takes the request and what it says.

All raise UploadError. The request is only asked who makes it, and from which origin.
"""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from storages import sniffing
from storages.contract import Enforced
from storages.terms import PART_KINDS
from storages.uploads import (
    audience,
    finishing,
    kinds,
    limits,
    naming,
    permissions,
    registry,
    schema,
    settings,
    signals,
    tokens,
)
from storages.uploads.errors import UploadError
from storages.uploads.limits import OPEN, OVER, UNCLAIMED
from storages.uploads.models import TURN, State, Upload

GRACE = 3600  # seconds after which a signature is surely of no use, whatever the clocks say

# What ends an upload for good: the bytes are deleted.
REJECTING = frozenset({"size_mismatch", "checksum_mismatch", "type_mismatch", "content_rejected", "key_exists"})

ANY = tuple(State.values)
_ENDED: dict[str, tuple[str, str]] = {
    State.ABORTED: ("upload_aborted", "This upload was cancelled; begin again."),
    State.EXPIRED: ("upload_expired", "This upload took too long; begin again."),
}


def slot(request: HttpRequest, data: object, *, files: int | None = None) -> dict[str, Any]:
    """Return a slot for a field, for whom its policy lets upload; it is good for ``files`` uploads."""
    field = registry.field_called(schema.field(data))
    permissions.check(request, field)
    most = settings.get("UPLOADS_SLOT_FILES") if files is None else files
    return {"slot": tokens.slot_token(registry.label_of(field), registry.policy_of(field), _audience(request), most)}


def begin(request: HttpRequest, data: object) -> dict[str, Any]:
    """Begin an upload, and return how the bytes are to be sent."""
    said = schema.begin(data)
    slot, field = _slot_and_field(request, said.slot)
    permissions.check(request, field)
    if not constant_time_compare(slot.policy, registry.policy_of(field)):
        raise UploadError("slot_expired", "This form is older than its rules; reload it.", field="slot")
    limits.check_rate(request, field)
    _check_size(field, said.size)
    _check_type(field, said)
    if field.checksum and not said.checksum:
        raise UploadError("bad_request", "A checksum is required.", field="checksum")
    choice = kinds.choose(field, said)
    if "checksum" in field.enforce and not (said.checksum or choice.part_checksums):
        raise UploadError("bad_request", "A checksum is required.", field="checksum")
    upload = _row(_audience(request), slot, field, said, choice)
    upload.save(force_insert=True)
    try:
        limits.check_room(request, field, _audience(request), slot.number, slot.files)
        kinds.check_room(upload)
        how = kinds.open_upload(request, upload, field.storage)
    except BaseException as error:
        _take_back(upload, error)
        raise
    signals.upload_begun.send(Upload, upload=upload, request=request)
    return _begun(upload, field, choice.enforced, how)


def parts(request: HttpRequest, data: object) -> dict[str, Any]:
    """Sign the requests for some parts, which may be signed again for as long as the upload is open."""
    said = schema.parts(data)
    upload = opened(request, said.upload)
    if upload.kind not in PART_KINDS:
        raise UploadError("bad_request", "This upload is not sent in signed parts.", field="upload")
    if any(number > upload.part_count for number in said.numbers):
        raise UploadError("bad_request", f"The parts have numbers up to {upload.part_count}.", field="numbers")
    storage, origin = kinds.storage_of(upload), kinds.origin_of(request)
    kinds.check_part_checksums(upload, said.numbers, said.checksums)
    signed = [kinds.sign_part(upload, storage, n, said.checksums.get(n, ""), origin) for n in said.numbers]
    return {"parts": signed}


def status(request: HttpRequest, data: object) -> dict[str, Any]:
    """Return how far an upload is, with all that a client needs to go on that has only kept its token."""
    upload = opened(request, schema.upload(data), states=ANY)
    received: list[Any] = []
    if upload.state == State.BEGUN:
        try:
            received = kinds.received(upload, kinds.storage_of(upload))
        except FileNotFoundError:  # closed by a finish whose answer was lost; the next one finds the object
            received = []
    said = {"state": str(upload.state), "kind": upload.kind, "size": upload.size, "expires": kinds.iso(upload.expires)}
    offset = received[-1].size if received and upload.kind in kinds.ONE_BY_ONE else sum(one.size for one in received)
    said |= {"received": [{"number": one.number, "size": one.size} for one in received], "offset": offset}
    return said | kinds.described(upload)


def finish(request: HttpRequest, data: object) -> dict[str, Any]:
    """Complete an upload, look at it, and return the token that a form takes; again and again the same.

    While a scanner is at work the answer has a ``state`` and no token.
    """
    upload = opened(request, schema.upload(data), states=ANY)
    if answer := _answer_of(upload):
        return answer
    if not upload.take_turn(TURN):
        raise UploadError("state_conflict", "This upload is being finished; ask again.", retry_after=1)
    try:
        return _answer_of(upload) or _finish(request, upload)
    finally:
        upload.end_turn()


def abort(request: HttpRequest, data: object) -> None:
    """Give an upload up, and what the storage has of it; once more does nothing more. A taken file stays."""
    upload = opened(request, schema.upload(data), states=ANY, alive=False)
    if upload.move(State.ABORTED, since=UNCLAIMED, expires=over()):
        signals.upload_aborted.send(Upload, upload=upload, request=request)
    else:
        upload.read_again()
    if upload.state == State.CLAIMED:
        raise UploadError("already_claimed", "This file has been used; it is not deleted.")
    if upload.take_turn(TURN):  # else the request that finishes it finds out, and deletes
        try:
            discard(upload)
        finally:
            upload.end_turn()


def opened(
    request: HttpRequest, token: object, *, states: tuple[str, ...] = (State.BEGUN,), alive: bool = True
) -> Upload:
    """Return the upload that a token is for, if it is whose request this is, and in one of ``states``.

    Raises UploadError: upload_not_found also for that of another user; upload_expired (but with ``alive`` False),
    upload_aborted, state_conflict.
    """
    said = tokens.read_upload(token)
    upload = Upload._base_manager.filter(pk=said.row).first() if said else None
    if said is None or upload is None or not constant_time_compare(said.nonce, upload.nonce):
        raise UploadError("upload_not_found", "There is no such upload.")
    if not audience.has(request, upload):
        raise UploadError("upload_not_found", "There is no such upload.")
    if alive and upload.state in UNCLAIMED and upload.expires <= (now := timezone.now()):
        # Its time may be another one by now: another request has just finished it.
        Upload._base_manager.filter(pk=upload.pk, state__in=UNCLAIMED, expires__lte=now).update(state=State.EXPIRED)
        upload.read_again()
    if upload.state not in states or (alive and upload.state == State.EXPIRED):
        raise UploadError(*_ENDED.get(upload.state, ("state_conflict", "This upload is over already.")))
    return upload


def discard(upload: Upload) -> None:
    """Delete what the storage has of an upload that is over, by its own row alone. Raises UploadError storage_*."""
    if upload.state == State.CLAIMED:
        raise UploadError("already_claimed", "This file has been used; it is not deleted.")
    kinds.discard(upload)


def over() -> datetime.datetime:
    """Return when a row that is over is swept: once more after its last signature, for what came late."""
    seconds = settings.get("UPLOADS_LINK_EXPIRE") + GRACE
    return timezone.now() + datetime.timedelta(seconds=seconds)


# Beginning


def _audience(request: HttpRequest) -> audience.Audience:
    try:
        return audience.of(request)
    except ValueError as error:
        raise UploadError("not_authenticated", "Log in to upload files.") from error


def _slot_and_field(request: HttpRequest, token: str) -> tuple[tokens.Slot, Any]:
    slot = tokens.read_slot(token)
    if not audience.is_it(request, slot.user, slot.session):
        raise UploadError("slot_invalid", "The slot token is not yours.", field="slot")
    return slot, registry.field_called(slot.field)


def _check_size(field: Any, size: int) -> None:
    if field.max_size is not None and size > field.max_size:
        raise UploadError("too_large", f"The file is larger than {field.max_size} bytes.", field="size")
    if size < max(field.min_size or 0, 0):
        raise UploadError("too_small", f"The file is smaller than {field.min_size} bytes.", field="size")


def _check_type(field: Any, said: schema.Begin) -> None:
    """Refuse a type, or an extension that says another one, that the field does not list."""
    if not field.content_types:
        return
    guess, encoding = sniffing.type_of(said.filename)
    types = [said.content_type, *([guess] if guess and not encoding else [])]
    if not all(sniffing.is_allowed(kind, field.content_types) for kind in types):
        raise UploadError("type_not_allowed", "Files of this type are not taken.", field="content_type")


def _row(
    owner: audience.Audience,
    slot: tokens.Slot,
    field: Any,
    said: schema.Begin,
    choice: kinds.Choice,
) -> Upload:
    return Upload(
        user_id=owner.user or None,
        session=owner.session,
        slot=slot.number,
        field=registry.label_of(field),
        kind=choice.kind,
        staging=naming.staging_name() if choice.enforced.overwrite == "promote" else "",
        name=naming.final_name(field, said.filename),
        filename=said.filename,
        size=said.size,
        part_size=choice.part_size,
        part_checksums=choice.part_checksums,
        content_type=said.content_type,
        checksum=said.checksum,
        expires=timezone.now() + datetime.timedelta(seconds=settings.get("UPLOADS_EXPIRE")),
    )


def _begun(upload: Upload, field: Any, enforced: Enforced, how: dict[str, Any]) -> dict[str, Any]:
    checksum = "none"
    if enforced.checksum == "signed" and (upload.checksum or upload.part_checksums):
        checksum = "signed"
    elif kinds.checks_checksum(field, upload, enforced):
        checksum = "finish"
    return {
        "upload": tokens.upload_token(upload),
        "kind": upload.kind,
        "expires": kinds.iso(upload.expires),
        **how,
        "enforced": {
            "key": "signed",
            "size": enforced.size,
            "type": enforced.type,
            "checksum": checksum,
            "overwrite": enforced.overwrite,
        },
        "limits": {
            "min_size": field.min_size or 0,
            "max_size": field.max_size,
            "types": list(field.content_types or ["*/*"]),
        },
    }


def _take_back(upload: Upload, error: BaseException) -> None:
    """Remove the row of an upload that did not begin, but where the service may have opened it all the same."""
    if upload.kind not in PART_KINDS or (isinstance(error, UploadError) and error.code != "storage_unavailable"):
        upload.delete()
        return
    upload.move(State.ABORTED, since=OPEN, expires=over())
    if not isinstance(error, UploadError):  # the service answers
        with contextlib.suppress(UploadError):  # logged; the sweep comes again
            discard(upload)
            upload.delete()


# Finishing


def _answer_of(upload: Upload) -> dict[str, Any] | None:
    """Return the answer of an upload that was finished before, None where that is still to be done."""
    if upload.state in (State.FINISHED, State.CLAIMED):
        return _file(upload)
    if upload.state == State.REJECTED:
        raise UploadError(upload.error or "content_rejected", "This file was refused.")
    if upload.state in _ENDED:
        raise UploadError(*_ENDED[upload.state])
    return None


def _file(upload: Upload) -> dict[str, Any]:
    return {
        "token": tokens.file_token(upload),
        "name": upload.filename,
        "size": upload.size,
        "content_type": upload.content_type,
        "checksum": {"algorithm": "sha256", "value": upload.checksum} if upload.checksum else None,
        "expires": kinds.iso(upload.expires),
    }


def _finish(request: HttpRequest, upload: Upload) -> dict[str, Any]:
    field = registry.field_called(upload.field)
    try:
        waiting = finishing.settle(upload, field)
        if waiting is not None:
            return waiting
        expires = timezone.now() + datetime.timedelta(seconds=settings.get("UPLOADS_EXPIRE"))
        if not upload.move(State.FINISHED, since=OPEN, expires=expires):
            raise UploadError("state_conflict", "Another request has changed this upload; ask for its status.")
    except UploadError as error:
        _settle_failure(request, upload, error)
        raise
    if upload.kind == kinds.TUS:
        from storages.uploads import spool

        spool.discard(upload)
    else:
        finishing.sweep_staging(upload, field.storage)
    signals.upload_finished.send(Upload, upload=upload, request=request)
    return _file(upload)


def _settle_failure(request: HttpRequest, upload: Upload, error: UploadError) -> None:
    """Reject what is not what it was said to be; delete what was given up while it was being finished."""
    if error.code in REJECTING and upload.move(State.REJECTED, since=OPEN, error=error.code, expires=over()):
        signals.upload_rejected.send(Upload, upload=upload, request=request, code=error.code)
    elif error.code == "upload_expired":  # at the service
        upload.move(State.EXPIRED, since=OPEN, expires=over())
    elif error.code == "state_conflict":
        upload.read_again()
    if upload.state in OVER:
        try:
            discard(upload)
        except UploadError:  # logged; the sweep comes again
            return
