"""One upload, from the first request to the form that takes it."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    """Where an upload is; every step is one conditional UPDATE."""

    BEGUN = "begun", _("begun")
    UPLOADED = "uploaded", _("uploaded")
    QUARANTINED = "quarantined", _("quarantined")
    FINISHED = "finished", _("finished")
    CLAIMED = "claimed", _("claimed")
    ABORTED = "aborted", _("aborted")
    EXPIRED = "expired", _("expired")
    REJECTED = "rejected", _("rejected")


class Upload(models.Model):
    """A file that somebody uploads past the application."""

    id = models.UUIDField(_("number"), primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    session = models.CharField(_("session"), max_length=64, blank=True)  # a salted hash
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
    secret = models.TextField(_("state at the service"), blank=True)  # encrypted: it opens the upload
    pin = models.CharField(_("version"), max_length=255, blank=True)  # etag when it was checked
    offset = models.PositiveBigIntegerField(_("offset"), default=0)  # bytes received by ourselves
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.BEGUN)
    error = models.CharField(_("error"), max_length=64, blank=True)  # code of the protocol
    created = models.DateTimeField(_("created"), auto_now_add=True)
    expires = models.DateTimeField(_("expires"), db_index=True)

    class Meta:
        app_label = "storages_uploads"
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        ordering = ("-created",)

    def __str__(self) -> str:
        return self.filename

    def move(self, to: str, *, since: tuple[str, ...], **changes: Any) -> bool:
        """Go to the state ``to`` if it is in one of ``since`` now; whether that was so. One conditional UPDATE."""
        rows = type(self)._default_manager.filter(pk=self.pk, state__in=since)
        if not rows.update(state=to, **changes):
            return False
        for name, value in {"state": to, **changes}.items():
            setattr(self, name, value)
        return True
