"""The Django app: system checks, links and translations of private files."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class StoragesPrivateConfig(AppConfig):
    """Private files; ``manage.py check`` looks at how they are kept and served."""

    name = "storages.private"
    label = "storages_private"
    verbose_name = _("Private files")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from storages.private.checks import CHECKS, TAG

        for check in CHECKS:
            register(check, TAG)
