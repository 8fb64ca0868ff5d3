"""A file that was sent straight to the storage."""

from django.conf import settings
from django.core.files.storage import storages
from django.db import models

from storages.uploads.fields import DirectUploadField

MAX_SIZE = 256 * 1024**2  # bytes


def uploads_storage():
    """Return where the files go."""
    return storages["uploads"]


class Parcel(models.Model):
    """One file, and how it came."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    file = DirectUploadField(upload_to="parcels", storage=uploads_storage, max_size=MAX_SIZE)
    note = models.CharField(max_length=80)
    filename = models.CharField(max_length=255)  # what its owner calls it; that of the object is made by the server
    size = models.PositiveBigIntegerField()  # bytes
    kind = models.CharField(max_length=16, blank=True)  # of the upload; empty where a form brought the file
    upload = models.UUIDField(null=True)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-added", "-pk"]

    def __str__(self):
        return self.filename


class Spent(models.Model):
    """What the site itself sent to the server of the files for one upload, beside the browser."""

    upload = models.UUIDField(primary_key=True)
    requests = models.PositiveIntegerField(default=0)
    sent = models.PositiveBigIntegerField(default=0)  # bytes
