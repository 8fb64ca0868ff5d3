"""A form takes a file: its token is looked at when the form is cleaned, and taken when the object is saved."""

from __future__ import annotations

from typing import Any

from django.db import router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from storages.uploads import audience, tokens
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from storages.uploads.registry import label_of
from storages.uploads.signals import upload_claimed

_UNREADY = {
    State.CLAIMED: ("already_claimed", "This file has been used already; upload it again."),
    State.EXPIRED: ("upload_expired", "This file was uploaded too long ago; upload it again."),
    State.ABORTED: ("upload_aborted", "This upload was cancelled; upload the file again."),
    State.REJECTED: ("content_rejected", "This file was refused."),
}
_GONE = "This file is not there; upload it again."
_LATER = "This file is not uploaded yet."


def look(token: object, field: Any, request: HttpRequest | None) -> Upload:
    """Return the finished upload that ``token`` is for, of this field and by whoever makes the request.

    Nothing changes, so that a form may be sent again. Raises UploadError: upload_not_found for every token that is not
    this user's for this field, already_claimed, upload_expired, state_conflict where it is not finished.
    """
    said = tokens.read_file(token)
    upload = Upload._base_manager.filter(pk=said.row).first() if said else None
    if said is None or upload is None or request is None:
        raise UploadError("upload_not_found", _GONE)
    if not audience.is_it(request, str(upload.user_id or ""), upload.session) or upload.field != label_of(field):
        raise UploadError("upload_not_found", _GONE)
    if not constant_time_compare(said.pin, tokens.pin_of(upload)):
        raise UploadError("upload_not_found", _GONE)
    _check_ready(upload)
    return upload


def take(upload: Upload) -> None:
    """Take the file for good: one conditional UPDATE, so that of two who save at once one gets it.

    Call it in the transaction that saves the object; what rolls that back gives the file back. Raises UploadError.
    """
    alive = Upload._base_manager.filter(pk=upload.pk, state=State.FINISHED, expires__gt=timezone.now())
    if not alive.update(state=State.CLAIMED):
        upload.refresh_from_db()
        _check_ready(upload)
        raise UploadError("state_conflict", _LATER)
    upload.state = State.CLAIMED
    using = router.db_for_write(Upload)
    transaction.on_commit(lambda: upload_claimed.send(Upload, upload=upload), using=using)


def give_back(upload: Upload) -> bool:
    """Let another form take the file, where saving failed outside a transaction; whether it was taken."""
    return upload.move(State.FINISHED, since=(State.CLAIMED,))


def _check_ready(upload: Upload) -> None:
    state = upload.state
    if state == State.FINISHED and upload.expires <= timezone.now():
        state = State.EXPIRED
    if state in _UNREADY:
        raise UploadError(*_UNREADY[state])
    if state != State.FINISHED:
        raise UploadError("state_conflict", _LATER)
