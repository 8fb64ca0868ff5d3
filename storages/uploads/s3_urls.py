"""The URL of django-buckets, at the root of the project: ``path("", include("storages.uploads.s3_urls"))``."""

from __future__ import annotations

from django.urls import path

from storages.uploads.s3_views import s3_signed_url

urlpatterns = [path("s3/signed-url/", s3_signed_url, name="s3_signed_url")]
