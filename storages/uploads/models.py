"""One upload, from the first request to the form that takes it."""

from __future__ import annotations

import datetime
import secrets
import uuid
from typing import Any

from django.conf import settings
from django.db import connections, models, router
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from storages.uploads.errors import UploadError

TURN = 600  # seconds that one finish may have an upload alone; a copy of many gigabytes takes its time


def _nonce() -> str:
    return secrets.token_hex(16)


class State(models.TextChoices):
    """Where an upload is; every step is one conditional UPDATE."""

    BEGUN = "begun"
    UPLOADED = "uploaded"
    QUARANTINED = "quarantined"
    FINISHED = "finished"
    CLAIMED = "claimed"
    ABORTED = "aborted"
    EXPIRED = "expired"
    REJECTED = "rejected"


# Beside the states, not in them: type checkers take such a pair for the value.
LABELS = {
    "begun": _("begun"),
    "uploaded": _("uploaded"),
    "quarantined": _("quarantined"),
    "finished": _("finished"),
    "claimed": _("claimed"),
    "aborted": _("aborted"),
    "expired": _("expired"),
    "rejected": _("rejected"),
}


def free(now: datetime.datetime) -> models.Q:
    """Return what says that no request has a row alone; a turn beyond measure is of a clock that was put back."""
    return models.Q(busy=None) | models.Q(busy__lt=now) | models.Q(busy__gt=now + 2 * datetime.timedelta(seconds=TURN))


class Upload(models.Model):
    """A file that somebody uploads past the application."""

    id = models.UUIDField(_("number"), primary_key=True, default=uuid.uuid4, editable=False)
    # Of a user who is gone the row stays, for nobody: by it the sweep finds the object.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    session = models.CharField(_("session"), max_length=64, blank=True, db_index=True)  # a salted hash
    slot = models.CharField(_("slot"), max_length=32, blank=True, db_index=True)  # of the form it was begun from
    nonce = models.CharField(max_length=32, default=_nonce, editable=False)  # another one ends the token
    field = models.CharField(_("field"), max_length=255)  # app.Model.field
    storage = models.CharField(_("storage"), max_length=255, blank=True)  # alias; empty: what the field has
    kind = models.CharField(_("kind"), max_length=16)
    staging = models.CharField(_("staging name"), max_length=1024, blank=True)  # where the client writes, if not name
    name = models.CharField(_("name"), max_length=1024)  # of the file that a form takes
    filename = models.CharField(_("original file name"), max_length=255)
    size = models.PositiveBigIntegerField(_("size"))  # bytes, declared
    part_size = models.PositiveBigIntegerField(_("part size"), default=0)  # bytes
    content_type = models.CharField(_("content type"), max_length=255)
    checksum = models.CharField(_("checksum"), max_length=64, blank=True)  # SHA-256, base64
    part_checksums = models.BooleanField(default=False, editable=False)  # whether every part is signed with its own
    secret = models.TextField(_("state at the service"), blank=True)  # encrypted: it opens the upload
    pin = models.CharField(_("version"), max_length=255, blank=True)  # etag when it was checked
    offset = models.PositiveBigIntegerField(_("offset"), default=0)  # bytes received by ourselves
    state = models.CharField(_("state"), max_length=16, choices=list(LABELS.items()), default=State.BEGUN)
    error = models.CharField(_("error"), max_length=64, blank=True)  # code of the protocol
    busy = models.DateTimeField(null=True, editable=False)  # until when a request that finishes it has it alone
    created = models.DateTimeField(_("created"), auto_now_add=True)
    expires = models.DateTimeField(_("expires"), db_index=True)

    class Meta:
        app_label = "storages_uploads"
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        ordering = ("-created",)

    _turn: datetime.datetime | None = None

    def __str__(self) -> str:
        return self.filename

    @property
    def target(self) -> str:
        """The name that the client writes to."""
        return self.staging or self.name

    @property
    def part_count(self) -> int:
        """The number of parts; 1 where it goes in one piece."""
        return max(1, -(-self.size // self.part_size)) if self.part_size else 1

    def size_of(self, number: int) -> int:
        """Return the bytes of part ``number``, counted from 1."""
        return self.size - self.part_size * (number - 1) if number == self.part_count else self.part_size

    def move(self, to: str, *, since: tuple[str, ...], **changes: Any) -> bool:
        """Go to the state ``to`` if it is in one of ``since`` now; whether that was so. One conditional UPDATE."""
        rows = type(self)._base_manager.filter(pk=self.pk, state__in=since)
        if not rows.update(state=to, **changes):
            return False
        for name, value in {"state": to, **changes}.items():
            setattr(self, name, value)
        return True

    def read_again(self) -> None:
        """Read what the row says now, where it is written. Raises UploadError upload_not_found if it is gone."""
        using = router.db_for_write(type(self))
        rows = type(self)._base_manager.using(using).filter(pk=self.pk)
        if connections[using].in_atomic_block:  # whose snapshot may be older than what an UPDATE has just found
            rows = rows.select_for_update()
        if (found := rows.first()) is None:
            raise UploadError("upload_not_found", "There is no such upload.")
        for field in self._meta.concrete_fields:
            setattr(self, field.attname, getattr(found, field.attname))

    def take_turn(self, seconds: int) -> bool:
        """Have the row alone for ``seconds``, unless another request has it; what it says now is read again."""
        now = timezone.now()
        until = now + datetime.timedelta(seconds=seconds)
        if not type(self)._base_manager.filter(free(now), pk=self.pk).update(busy=until):
            return False
        self.read_again()
        self._turn = self.busy
        return True

    def end_turn(self) -> None:
        """Let the next request have the row; a turn that ran out, and which another has by now, does not end here."""
        type(self)._base_manager.filter(pk=self.pk, busy=self._turn).update(busy=None)


class PartChecksum(models.Model):
    """What a part of an upload was signed with; the service compares, and may want to be told again at the end."""

    # The constraint has the index.
    upload = models.ForeignKey(Upload, models.CASCADE, related_name="+", db_index=False)
    number = models.PositiveIntegerField()  # from 1
    checksum = models.CharField(max_length=44)  # SHA-256, base64

    class Meta:
        app_label = "storages_uploads"
        constraints = (models.UniqueConstraint(fields=("upload", "number"), name="storages_uploads_one_checksum"),)

    def __str__(self) -> str:
        return f"{self.upload_id}: {self.number}"
