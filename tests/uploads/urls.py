"""The URLs of direct uploads, alone."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("uploads/", include("storages.uploads.urls"))]
