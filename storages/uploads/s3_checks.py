"""System checks of what is kept from django-buckets: who may sign, and what is uploaded to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice
from django.core.files.storage import storages

from storages.uploads import settings


def check_open(app_configs: Any = None, **options: Any) -> Iterable[CheckMessage]:
    """Report that everybody may have forms signed."""
    if settings.get("UPLOADS_S3_OPEN"):
        yield Advice(
            "UPLOADS_S3_OPEN: everybody who can open a page of this site may put files into the bucket",
            "Leave it out, and say who may in UPLOADS_PERMISSION.",
            id="storages_uploads.W032",
        )


def check_storages(app_configs: Any = None, **options: Any) -> Iterable[CheckMessage]:
    """Report a fake S3 that takes nothing, being out of development: T-39."""
    if django_settings.DEBUG or settings.get("UPLOADS_FAKE"):
        return
    for alias in _fakes():
        yield Error(
            f"STORAGES[{alias!r}] is the fake S3 without DEBUG: nothing can be uploaded to it",
            "Name storages.uploads.storage.S3DirectStorage.",
            id="storages_uploads.E035",
        )


def _fakes() -> list[str]:
    fake = "storages.uploads.testing."
    return [alias for alias, said in _backends().items() if str(said.get("BACKEND", "")).startswith(fake)]


def _backends() -> dict[str, dict[str, Any]]:
    return storages.backends  # type: ignore[return-value]


CHECKS = (check_open, check_storages)
