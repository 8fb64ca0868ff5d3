"""The Django app: direct uploads."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class StoragesUploadsConfig(AppConfig):
    """Direct uploads; ``manage.py check`` looks at what fields promise and storages can keep."""

    name = "storages.uploads"
    label = "storages_uploads"
    verbose_name = _("Direct uploads")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from storages.uploads import s3_checks
        from storages.uploads.checks import CHECKS, DEPLOY_CHECKS, TAG

        for check in (*CHECKS, *s3_checks.CHECKS):
            register(check, TAG)
        for check in DEPLOY_CHECKS:
            register(check, TAG, deploy=True)
