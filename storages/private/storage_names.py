"""What a link calls a storage: its name in the settings."""

from __future__ import annotations

import contextlib
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.utils.module_loading import import_string

from storages.private import settings

SINGLETON = "private_storage"  # the storage of PRIVATE_STORAGE_CLASS; no alias of STORAGES hides it


def storage_called(name: str) -> Any:
    """Return the storage of this name. Raises ImproperlyConfigured (InvalidStorageError is one)."""
    if name == SINGLETON:
        from storages.private.storage import private_storage

        return private_storage
    registered = settings.get("PRIVATE_STORAGE_LINK_STORAGES")
    return _imported(registered[name]) if name in registered else storages[name]


def name_of(storage: Any) -> str:
    """Return the name of ``storage``. Raises ImproperlyConfigured if the settings know no such storage."""
    for name in [SINGLETON, *settings.get("PRIVATE_STORAGE_LINK_STORAGES"), *storages.backends]:
        with contextlib.suppress(ImproperlyConfigured):  # another storage, whose settings are nobody's concern here
            if storage_called(name) == storage:  # == sees through lazy objects
                return name
    raise ImproperlyConfigured(
        f"A link cannot say in which storage its file is: {type(storage).__name__} is neither in STORAGES nor "
        "private_storage. Put it into STORAGES and use storages[alias], or give PRIVATE_STORAGE_LINK_STORAGES a name "
        "for the dotted path of the object."
    )


def _imported(dotted: str) -> Any:
    try:
        return import_string(dotted)
    except ImportError as error:
        raise ImproperlyConfigured(f"PRIVATE_STORAGE_LINK_STORAGES: there is no {dotted}") from error
