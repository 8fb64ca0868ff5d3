"""A private file of a user."""

import posixpath

from django.conf import settings
from django.db import models

from storages.private.fields import PrivateFileField
from storages.private.models import PrivateFile
from storages.private.storage import private_storage

MAX_SIZE = 8 * 1024**2  # bytes


def folder_of_owner(document):
    """Return the directories that a file goes to, below documents/."""
    return [str(document.owner_id)]


class Document(models.Model):
    """One file, of any type."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    file = PrivateFileField(upload_to="documents", upload_subfolder=folder_of_owner, max_file_size=MAX_SIZE)
    size = models.PositiveIntegerField(editable=False)  # bytes; kept here, so that no page asks the storage for it
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-added", "-pk"]

    def __str__(self):
        return posixpath.basename(self.file.name)

    def save(self, *args, **kwargs):
        self.size = self.file.size
        super().save(*args, **kwargs)

    @property
    def kind(self):
        """Return as what a page can show the file: image, video, audio, text, or application for a download."""
        return self.as_asked_for(None).response_type.partition("/")[0]

    def as_asked_for(self, request):
        """Return the file together with who asks for it."""
        return PrivateFile(request, private_storage, self.file.name)
