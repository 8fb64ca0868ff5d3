"""Where nginx finds the files of each private storage: one internal location apiece."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InMemoryStorage, Storage, storages
from django.db.models import FileField

from storages.lazy import unwrapped
from storages.private.settings import get
from storages.private.storage import ALIAS, PrivateStorageMixin, private_storage

# A storage that cannot be made breaks where it is used, and not the others.
_BROKEN = (ImproperlyConfigured, ImportError)


def internal_url(storage: Storage) -> str:
    """Return the path below which nginx has the files of ``storage``; it begins and ends with a slash.

    That is the storage's own ``internal_url``, or PRIVATE_STORAGE_INTERNAL_URL with the storage's label.
    """
    own = getattr(storage, "internal_url", None)
    start = str(own or get("PRIVATE_STORAGE_INTERNAL_URL")).strip("/")
    label = None if own else label_of(storage)
    # Beside each other, not one in the other: a name could lead from the outer one to the inner one.
    return f"/{start}-{label}/" if label and label != ALIAS else f"/{start}/"


def label_of(storage: Storage) -> str | None:
    """Return the alias of ``storage``, or where it has none a digest of its directory, or None without one."""
    storage = unwrapped(storage)
    for label, known in _labelled():
        if known is storage:
            return label
    return hashlib.sha256(os.fsencode(storage.path(""))).hexdigest()[:8] if is_on_disk(storage) else None


def is_on_disk(storage: Storage) -> bool:
    """Whether a storage keeps its files on a disk of this machine."""
    if isinstance(storage, InMemoryStorage):  # it has paths all the same
        return False
    try:
        return Path(storage.path("")).is_absolute()
    except NotImplementedError:
        return False


def configured() -> dict[str, Storage]:
    """Return the storages of the settings by label: ``private_storage`` and all that STORAGES has."""
    found: dict[str, Storage] = {}
    for label, storage in _labelled():
        found.setdefault(label, storage)
    return found


def _labelled() -> Iterator[tuple[str, Storage]]:
    """Yield each storage of the settings with its label; a label may come twice, and the first counts."""
    with contextlib.suppress(*_BROKEN):
        yield ALIAS, unwrapped(private_storage)
    for alias in storages.backends:
        with contextlib.suppress(*_BROKEN):
            yield alias, unwrapped(storages[alias])


def private_storages() -> dict[str, Storage]:
    """Return the private storages of the project by label: those of the settings, then those of model fields."""
    found = {label: storage for label, storage in configured().items() if label == ALIAS or is_private(storage)}
    fields = [field for model in apps.get_models() for field in model._meta.get_fields()]
    for field in fields:
        with contextlib.suppress(*_BROKEN):
            if isinstance(field, FileField) and is_private(field.storage):
                found.setdefault(label_of(field.storage) or f"{field.model._meta.label}.{field.name}", field.storage)
    return found


def is_private(storage: Storage) -> bool:
    return isinstance(unwrapped(storage), PrivateStorageMixin)


def named(alias: str) -> Storage:
    """Return the storage with a label. Raises ImproperlyConfigured."""
    try:
        return {**configured(), **private_storages()}[alias]
    except KeyError as error:
        raise ImproperlyConfigured(f"STORAGES has no {alias!r}") from error
