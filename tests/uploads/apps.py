"""An app whose models have files that are uploaded directly."""

from __future__ import annotations

from django.apps import AppConfig


class UploadsTestsConfig(AppConfig):
    name = "tests.uploads"
    label = "tests_uploads"
    default_auto_field = "django.db.models.BigAutoField"
