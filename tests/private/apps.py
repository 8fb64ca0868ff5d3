"""The project whose files the tests of storages.private serve."""

from __future__ import annotations

from django.apps import AppConfig


class TestsPrivateConfig(AppConfig):
    name = "tests.private"
    label = "tests_private"
    default_auto_field = "django.db.models.BigAutoField"
