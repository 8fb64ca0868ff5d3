"""Storages whose files are served behind a permission."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, storages
from django.core.signals import setting_changed
from django.urls import reverse
from django.utils.deconstruct import deconstructible
from django.utils.functional import LazyObject, empty

from storages.mixin import with_query
from storages.names import clean_name
from storages.private.settings import get, resolve
from storages.settings import Setting, SettingsMixin

ALIAS = "private"  # in STORAGES

# Ready-made storages of services, each in a module that is imported when the storage is asked for.
_CLOUDS = {
    "PrivateAzureStorage": "azure",
    "PrivateEncryptedS3BotoStorage": "s3",
    "PrivateEncryptedS3Storage": "s3",
    "PrivateGoogleCloudStorage": "gcloud",
    "PrivateMinioStorage": "s3",
    "PrivateS3BotoStorage": "s3",
    "PrivateS3Storage": "s3",
}

_OPTIONS = ("view_name", "base_url", "server", "internal_url")


class PrivateStorageMixin:
    """Make any storage private: its URLs are those of the view that asks for a permission.

    Options: ``view_name``, ``base_url``, ``server``, ``internal_url``. They may be given as keywords, in ``OPTIONS`` or
    as class attributes.
    """

    view_name = Setting("serve_private_file", help="Name of the URL under which the view of this storage is found.")
    base_url = Setting("", help="Start of all URLs, instead of that of the view.")
    server = Setting(
        type=(str, callable),
        help="Delivery of the files of this storage: a name such as 'nginx', or a class. None: PRIVATE_STORAGE_SERVER.",
    )
    internal_url = Setting(
        "", help="Where nginx finds the files of this storage. Empty: below PRIVATE_STORAGE_INTERNAL_URL."
    )

    def __init__(self, *args: Any, **options: Any):
        if isinstance(self, SettingsMixin):  # which looks after them
            super().__init__(*args, **options)
            return
        given = {name: options.pop(name, None) for name in _OPTIONS}
        super().__init__(*args, **options)
        for name, value in given.items():
            inherited = getattr(type(self), name)
            setattr(self, name, value or (inherited.default if isinstance(inherited, Setting) else inherited))
        # Django's own storage forgets its base_url when MEDIA_URL changes, but not this one.
        self._base_url = given["base_url"] or getattr(self, "_base_url", None)

    def url(
        self,
        name: str | None,
        parameters: Mapping[str, Any] | None = None,
        expire: Any = None,
        http_method: str | None = None,
    ) -> str:
        """Return the URL at which the view serves ``name``; ``parameters`` go into its query.

        ``expire`` and ``http_method`` are for storages whose URLs are signed. Raises ValueError for an empty name,
        SuspiciousFileOperation for one that leaves the storage, NoReverseMatch where the view is not in the URLs.
        """
        if not self._is_served():
            return self.signed_url(name, parameters=parameters, expire=expire, http_method=http_method)
        clean = clean_name(name or "").strip("/")
        if not clean:
            raise ValueError("This file has no name, so it has no URL")
        base = self.base_url or getattr(self, "_base_url", None)
        if base:
            return with_query(f"{str(base).rstrip('/')}/{quote(clean)}", parameters or {})
        # Each time anew: who asks decides about the script's prefix and the language.
        return with_query(reverse(self.view_name, kwargs={"path": clean}), parameters or {})

    def signed_url(self, name: str | None, **options: Any) -> str:
        """Return the URL that the storage itself gives, past the view; ``options`` are those of its ``url()``."""
        return super().url(name, **options)  # type: ignore[misc]

    def _is_served(self) -> bool:
        """Whether URLs lead to the view; hook."""
        return True


@deconstructible(path="storages.private.storage.PrivateFileSystemStorage")
class PrivateFileSystemStorage(PrivateStorageMixin, FileSystemStorage):
    """Private files on disk: under ``location``, or else under PRIVATE_STORAGE_ROOT, never under MEDIA_ROOT.

    Symbolic links that lead out of there are refused.
    """

    def __init__(self, location: Any = None, base_url: str | None = None, **options: Any):
        super().__init__(location=location, base_url=base_url, **options)

    @property
    def base_location(self) -> Any:
        """Return the directory as it was given. Raises ImproperlyConfigured where it was not."""
        root = self._location or get("PRIVATE_STORAGE_ROOT")  # type: ignore[attr-defined]
        if not root:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: set PRIVATE_STORAGE_ROOT to a directory outside of MEDIA_ROOT, or give the "
                "storage a 'location'"
            )
        return root

    @property
    def location(self) -> str:
        """Return the directory as an absolute path. Raises ImproperlyConfigured."""
        return os.path.abspath(self.base_location)  # noqa: PTH100 -- links are left to path()

    def path(self, name: str) -> str:
        """Return the path of ``name``. Raises SuspiciousFileOperation for one that leads out of the directory."""
        path = super().path(name)
        real = os.path.realpath(path) if name else path
        if real == path:  # no link on the way: it is below the directory, as Django has made sure
            return path
        root = os.path.realpath(self.location)
        if os.path.commonpath((root, real)) != root:
            raise SuspiciousFileOperation(f"{name!r} leads out of the directory of private files")
        return path


class PrivateStorage(LazyObject):
    """The storage of private files, found at its first use, and again when settings change.

    It is ``STORAGES["private"]``; without that, an instance of PRIVATE_STORAGE_CLASS.
    """

    def __init__(self) -> None:
        super().__init__()

        def forget(**kwargs: Any) -> None:
            self._wrapped = empty

        self.__dict__["_forget"] = forget  # the signal holds it weakly
        setting_changed.connect(forget)

    def _setup(self) -> None:
        if ALIAS in settings.STORAGES:
            self._wrapped = storages[ALIAS]
        else:
            chosen = get("PRIVATE_STORAGE_CLASS")
            self._wrapped = (resolve(chosen) if isinstance(chosen, str) else chosen)()


private_storage: Any = PrivateStorage()


def get_private_storage() -> Any:
    """Return ``private_storage``; what migrations say of fields that have no storage of their own."""
    return private_storage


def __getattr__(name: str) -> Any:
    if name in _CLOUDS:
        return getattr(importlib.import_module(f"storages.private.clouds.{_CLOUDS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
