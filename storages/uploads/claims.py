"""A form takes a file: its token is looked at when the form is cleaned, and taken when the object is saved."""

from __future__ import annotations

import functools
import logging
from typing import Any

from django.db import Error, connections, models, router, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from storages.uploads import audience, tokens
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from storages.uploads.registry import label_of
from storages.uploads.signals import upload_claimed

logger = logging.getLogger("storages.uploads")

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
    if not audience.has(request, upload) or upload.field != label_of(field):
        raise UploadError("upload_not_found", _GONE)
    if not constant_time_compare(said.pin, tokens.pin_of(upload)):
        raise UploadError("upload_not_found", _GONE)
    _check_ready(upload)
    return upload


def take(upload: Upload) -> None:
    """Take the file for good: one conditional UPDATE, so that of two who save at once one gets it.

    Call it in the transaction that saves the object; what rolls that back gives the file back. Raises UploadError.
    """
    _mark(upload)
    _tell(upload)


def give_back(upload: Upload) -> bool:
    """Let another form take the file, where saving failed outside a transaction; whether it was taken."""
    return upload.move(State.FINISHED, since=(State.CLAIMED,))


class Claim:
    """The claim of an upload by a row that is to be saved.

    What a transaction claims it gives back when it is rolled back. Outside of one, the claim waits for guard() to see
    whether the row was saved.
    """

    def __init__(self, upload: Upload):
        self.upload = upload
        self._is_over = False
        self.waits = False  # for the end of a save outside a transaction

    def make(self) -> None:
        """Take the upload, again where the transaction that took it was rolled back. Raises UploadError."""
        if self._is_over or self.waits or self._is_pending():
            return
        if self._connection.in_atomic_block:
            take(self.upload)
            transaction.on_commit(self._end, using=self._connection.alias)
        else:
            _mark(self.upload)
            self.waits = True

    def settle(self, is_saved: bool) -> None:
        """Keep what was claimed outside a transaction, or give it back, to be claimed by another save."""
        self.waits = False
        if is_saved:
            self._end()
            _tell(self.upload)
        else:
            give_back(self.upload)

    def for_another_row(self) -> Claim | None:
        """Return the claim of a copy of the file: none of its own, where this one is for good."""
        return None if self._is_over else Claim(self.upload)

    @property
    def _connection(self) -> Any:
        return connections[router.db_for_write(Upload)]

    def _is_pending(self) -> bool:
        """Whether the claim is part of a transaction that goes on: a rollback forgets what was to be done after it."""
        return any(entry[1] == self._end for entry in self._connection.run_on_commit)

    def _end(self) -> None:
        self._is_over = True


def guard(cls: Any) -> None:
    """Have every save of the model ``cls`` that fails outside a transaction give back what it has claimed.

    Django tells nobody of a save that fails, and a claim that is only made after the INSERT would come too late for a
    row that another has beaten: so the method is wrapped, of the classes alone that have such a field.
    """
    save_base = cls.save_base
    if getattr(save_base, "guards_claims", False):  # of a parent, or for another field
        return

    @functools.wraps(save_base)
    def guarded(self: models.Model, *args: Any, **options: Any) -> None:
        try:
            save_base(self, *args, **options)
        except BaseException:
            for field, claim in _waiting(self):
                _settle_failed(claim, field, self, options.get("using"))
            raise
        for _, claim in _waiting(self):
            claim.settle(True)

    guarded.guards_claims = True  # type: ignore[attr-defined]
    cls.save_base = guarded


def _waiting(instance: models.Model) -> list[tuple[Any, Claim]]:
    fields = [field for field in instance._meta.concrete_fields if getattr(field, "uploads_directly", False)]
    claims = [(field, getattr(instance.__dict__.get(field.attname), "claim", None)) for field in fields]
    return [(field, claim) for field, claim in claims if claim is not None and claim.waits]


def _settle_failed(claim: Claim, field: Any, instance: models.Model, using: str | None) -> None:
    """Give back, unless the row was saved and it was something after that which failed."""
    value = field.get_prep_value(instance.__dict__[field.attname])
    rows = field.model._base_manager.using(using or router.db_for_write(field.model, instance=instance))
    try:
        claim.settle(rows.filter(**{field.attname: value}).exists())
    except Error:  # not to be known: a file that is taken by no row is better than one that a row has and the sweep
        return


def _mark(upload: Upload) -> None:
    alive = Upload._base_manager.filter(pk=upload.pk, state=State.FINISHED, expires__gt=timezone.now())
    if not alive.update(state=State.CLAIMED):
        upload.read_again()
        _check_ready(upload)
        raise UploadError("state_conflict", _LATER)
    upload.state = State.CLAIMED


def _tell(upload: Upload) -> None:
    using = router.db_for_write(Upload)
    transaction.on_commit(lambda: upload_claimed.send(Upload, upload=upload), using=using)


def delete(storage: Any, name: str, rows: Any) -> None:
    """Delete a taken file that nobody has any more; what the storage does not do now, the sweep does.

    ``rows`` are its uploads: they stay until their last signature is of no use, and the sweep finds what is sent late.
    The change that took the file away is committed, so that nothing is raised.
    """
    from storages.uploads import kinds, protocol

    rows.update(state=State.EXPIRED, expires=protocol.over())
    try:
        kinds.delete(storage, name)
    except Exception:
        logger.exception("A file that was replaced is not deleted yet: %s", name)


def _check_ready(upload: Upload) -> None:
    state = upload.state
    if state == State.FINISHED and upload.expires <= timezone.now():
        state = State.EXPIRED
    if state in _UNREADY:
        raise UploadError(*_UNREADY[state])
    if state != State.FINISHED:
        raise UploadError("state_conflict", _LATER)
