"""Models with the field of django-buckets."""

from __future__ import annotations

from django.db import models

from storages.uploads.fields import S3FileField


def by_owner(instance, filename):
    return f"people/{instance.name or 'nobody'}/{filename}"


class Report(models.Model):
    name = models.CharField(max_length=20, blank=True)
    file = S3FileField(upload_to="reports", accepted_types=["text/plain", "image/png"], blank=True, null=True)

    class Meta:
        app_label = "seed_site"


class Picture(models.Model):
    file = S3FileField(upload_to="pictures", blank=True)

    class Meta:
        app_label = "seed_site"


class Loose(models.Model):
    """Fields whose directory is made for each file."""

    name = models.CharField(max_length=20, blank=True)
    dated = S3FileField(upload_to="dated/%Y/%m", blank=True)
    owned = S3FileField(upload_to=by_owner, blank=True)

    class Meta:
        app_label = "seed_site"
