"""One file, either way."""

from __future__ import annotations

from django.db import models

from storages.uploads.fields import DirectUploadField


class Clip(models.Model):
    """A file that a browser sends to the storage itself, or that a form brings."""

    direct = DirectUploadField(upload_to="direct", blank=True)
    posted = models.FileField(upload_to="posted", blank=True)
