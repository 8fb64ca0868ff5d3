"""Models whose files come through forms, the admin and serializers."""

from __future__ import annotations

from django.db import models

from storages.backends.memory import MemoryStorage
from storages.uploads.fields import DirectUploadField


class PaperStorage(MemoryStorage):
    """In memory, with URLs."""

    def url(self, name, parameters=None, expire=None, http_method=None):
        return f"/paper/{name}"


paper = PaperStorage()
nameless = MemoryStorage()  # without URLs


class Letter(models.Model):
    title = models.CharField(max_length=20, unique=True)
    scan = DirectUploadField(
        upload_to="letters", storage=paper, max_size=1000, content_types=["image/*", "application/pdf"], blank=True
    )

    class Meta:
        app_label = "tests_uploads"


class Enclosure(models.Model):
    letter = models.ForeignKey(Letter, models.CASCADE)
    file = DirectUploadField(upload_to="enclosures", storage=nameless, max_size=1000, delete_replaced=True)

    class Meta:
        app_label = "tests_uploads"
