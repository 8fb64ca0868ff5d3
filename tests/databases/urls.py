"""The URLs of all that is raced."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("uploads/", include("storages.uploads.urls")),
    path("", include("storages.uploads.testing.urls")),
]
