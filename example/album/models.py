"""A photo in the album."""

from django.db import models


class Photo(models.Model):
    """One photo; its dimensions are read from the upload, so that no page has to fetch the object for them."""

    title = models.CharField(max_length=80, blank=True)
    image = models.ImageField(upload_to="photos", width_field="width", height_field="height")
    width = models.PositiveIntegerField(editable=False)  # pixels
    height = models.PositiveIntegerField(editable=False)  # pixels
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-added", "-pk"]

    def __str__(self):
        return self.title
