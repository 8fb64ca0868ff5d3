"""Storages whose files are served behind a permission."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.core.files.storage import FileSystemStorage
from django.urls import reverse
from django.utils.deconstruct import deconstructible
from django.utils.functional import SimpleLazyObject

from storages.private import settings


class PrivateStorageMixin:
    """Make the URLs of a storage those of the view that guards it."""

    view_name = "serve_private_file"

    def url(self, name: str | None, *args: Any, **kwargs: Any) -> str:
        """Return the URL of the view for ``name``."""
        return reverse(self.view_name, kwargs={"path": quote(str(name))})


@deconstructible
class PrivateFileSystemStorage(PrivateStorageMixin, FileSystemStorage):
    """Keep private files on disk, outside of MEDIA_ROOT."""

    def __init__(self, location: str | None = None, base_url: str | None = None, **options: Any):
        super().__init__(location or settings.get("PRIVATE_STORAGE_ROOT"), base_url, **options)


def _private_storage() -> Any:
    return settings.resolve(settings.get("PRIVATE_STORAGE_CLASS"))()


private_storage: Any = SimpleLazyObject(_private_storage)
