"""The fake S3 and the URL that signs for it: ``path("", include("storages.uploads.testing.urls"))``."""

from __future__ import annotations

from django.conf import settings
from django.conf.urls.static import static
from django.urls import include, path

from storages.uploads.testing.storage import UPLOADS, FakeS3Storage
from storages.uploads.testing.views import fake_s3_upload

urlpatterns = [
    path("", include("storages.uploads.s3_urls")),
    path(f"media/{UPLOADS}", fake_s3_upload),
    path(f"media/{UPLOADS}/", fake_s3_upload, name="fake_s3_upload"),
]
if settings.MEDIA_ROOT:  # with DEBUG, Django shows the files
    urlpatterns += static(f"/media/{UPLOADS}/", document_root=FakeS3Storage().location)
