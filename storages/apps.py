"""The Django app: system checks of the storages that a project uses."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class StoragesConfig(AppConfig):
    """Register the checks; the storages themselves work without the app."""

    name = "storages"
    verbose_name = "Storages"

    def ready(self) -> None:
        from storages.checks import CHECKS

        for check in CHECKS:
            register(check, "storages")
